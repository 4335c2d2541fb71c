"""Cancellation of running regions: the job was stopped, or another worker committed the region.

Workers read the job folder themselves, so that a stop also reaches them when their driver is gone.
"""

import math
from dataclasses import dataclass
from time import monotonic

from daskmr.core.grid import Region
from daskmr.worker.task import JobContext

COMMITTED, CANCELED, DEADLINE = "COMMITTED", "CANCELED", "DEADLINE"
SOURCE_CHANGED, TAKEN_OVER = "SOURCE_CHANGED", "TAKEN_OVER"
_LOCAL_S, _REMOTE_S = 0.1, 2.0


class RegionStoppedError(Exception):
    """Raised inside a region that must not go on.

    Parameters
    ----------
    why
        `COMMITTED` when its part is there by now, else why the job was stopped.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class CancellationCheck:
    """Checks the job folder for one region, as often as that is cheap."""

    job: JobContext
    region: Region
    _checked_at: float = -math.inf

    def check(self) -> None:
        """Raise if the job was stopped or the region is already committed.

        Raises
        ------
        RegionStoppedError
            When the region should not.
        """
        now = monotonic()
        if now - self._checked_at < self._every_s:
            return
        self._checked_at = now
        why = self.job.folder.stop_reason(self.job.epoch)
        if why:
            raise RegionStoppedError(why)
        if self.job.parts.exists(self.job.part_name(self.region)):
            raise RegionStoppedError(COMMITTED)

    @property
    def _every_s(self) -> float:
        return _REMOTE_S if "://" in self.job.folder.url else _LOCAL_S
