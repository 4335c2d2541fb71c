"""The state of a running job, as a value."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of a running job."""

    n_tiles: int
    """Tiles to run."""
    n_done: int
    """Tiles that ended."""
    megapixels: float
    """Pixels of those tiles, in millions."""
    seconds: float
    """Since the job started."""
    place: str = ""
    """Where tiles are run, such as ``8 threads of this process``."""
    dashboard: str = ""
    """URL of the dashboard of the cluster; empty when there is none."""


OnProgress = Callable[[Progress], None]
"""Called with the state of the job, about once a second and at the end."""
