"""A progress bar in notebooks, below the cell that runs the job.

Our own: tqdm's needs ipywidgets, and leaves nothing in a notebook that is saved and opened later.
"""

import sys
import threading
from html import escape
from time import monotonic
from typing import Any

from daskmr.configuration import configuration
from daskmr.core.progress import OnProgress, Progress
from daskmr.views.text import duration

_INTERVAL_S = 0.25


def live() -> OnProgress:
    """Return a callback that shows progress in a notebook and does nothing elsewhere.

    ``daskmr.progress: false`` of `dask.config` switches it off.
    """
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    is_enabled = configuration().progress
    is_notebook = getattr(shell, "kernel", None) is not None
    return _Bar().show if is_enabled and is_notebook else _ignore


def html(progress: Progress) -> str:
    """Return a progress bar and its text as HTML."""
    link = escape(progress.dashboard, quote=True)
    dashboard = f' <a href="{link}" target="_blank">dashboard</a>' if link else ""
    return (
        f'<div><progress max="{progress.n_tiles}" value="{progress.n_done}" '
        f'style="width: 20em; vertical-align: middle"></progress> {escape(text(progress))}'
        f"{dashboard}</div>"
    )


def text(progress: Progress) -> str:
    """Return tiles done, speed and remaining time as text.

    Examples
    --------
    >>> text(Progress(n_tiles=400, n_done=100, megapixels=100.0, seconds=20.0))
    '100 of 400 tiles, 5.0 Mpx/s, 1 min 0 s left'
    >>> text(Progress(n_tiles=400, n_done=400, megapixels=400.0, seconds=80.0))
    '400 of 400 tiles, 5.0 Mpx/s, in 1 min 20 s'
    """
    counts = f"{progress.n_done:,} of {progress.n_tiles:,} tiles"
    if not progress.n_done:
        return counts
    speed = progress.megapixels / max(progress.seconds, 1e-9)
    left_s = progress.seconds * (progress.n_tiles - progress.n_done) / progress.n_done
    time = f"{duration(left_s)} left" if left_s else f"in {duration(progress.seconds)}"
    return f"{counts}, {speed:,.1f} Mpx/s, {time}"


class _Bar:
    """The output of a cell that is updated while the job runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: Any = None
        self._shown_at = 0.0

    def show(self, progress: Progress) -> None:
        """Update the output, at most four times a second, and at the end."""
        from IPython.display import HTML, display

        with self._lock:
            now = monotonic()
            if progress.n_done < progress.n_tiles and now - self._shown_at < _INTERVAL_S:
                return
            self._shown_at = now
            page = HTML(html(progress))
            if self._handle is None:
                self._handle = display(page, display_id=True)
            else:
                self._handle.update(page)


def _ignore(_progress: Progress) -> None:
    pass
