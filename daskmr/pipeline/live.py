"""Progress that shows itself in notebooks, below the cell that runs the job."""

import sys
import threading
from html import escape
from time import monotonic
from typing import Any

from daskmr.pipeline.describe import duration
from daskmr.pipeline.progress import OnProgress, Progress

_EVERY_S = 0.25


def live() -> OnProgress:
    """What shows progress where there is a notebook, and nothing elsewhere.

    It is switched off by ``daskmr.progress: false`` of `dask.config`.
    """
    import dask

    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    is_wanted = dask.config.get("daskmr.progress", True)
    return _Bar().show if is_wanted and getattr(shell, "kernel", None) is not None else _quiet


def html(progress: Progress) -> str:
    """A bar, and how far the job has come, as HTML."""
    link = escape(progress.dashboard, quote=True)
    dashboard = f' <a href="{link}" target="_blank">dashboard</a>' if link else ""
    return (
        f'<div><progress max="{progress.n_tiles}" value="{progress.n_done}" '
        f'style="width: 20em; vertical-align: middle"></progress> {escape(text(progress))}'
        f"{dashboard}</div>"
    )


def text(progress: Progress) -> str:
    """How far the job has come, in words.

    Examples
    --------
    >>> text(Progress(n_tiles=400, n_done=100, megapixels=100.0, seconds=20.0))
    '100 of 400 tiles, 5.0 Mpx/s, 1 min 0 s left'
    >>> text(Progress(n_tiles=400, n_done=400, megapixels=400.0, seconds=80.0))
    '400 of 400 tiles, 5.0 Mpx/s, in 1 min 20 s'
    """
    told = f"{progress.n_done:,} of {progress.n_tiles:,} tiles"
    if not progress.n_done:
        return told
    speed = progress.megapixels / max(progress.seconds, 1e-9)
    left = progress.seconds * (progress.n_tiles - progress.n_done) / progress.n_done
    when = f"{duration(left)} left" if left else f"in {duration(progress.seconds)}"
    return f"{told}, {speed:,.1f} Mpx/s, {when}"


class _Bar:
    """One output of a cell, painted over as the job comes along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: Any = None
        self._shown_at = 0.0

    def show(self, progress: Progress) -> None:
        """Paint it, at most a few times a second, and at the end."""
        from IPython.display import HTML, display

        with self._lock:
            now = monotonic()
            if progress.n_done < progress.n_tiles and now - self._shown_at < _EVERY_S:
                return
            self._shown_at = now
            page = HTML(html(progress))
            if self._handle is None:
                self._handle = display(page, display_id=True)
            else:
                self._handle.update(page)


def _quiet(_progress: Progress) -> None:
    pass
