"""Whether a region should go on: its job may have been stopped, or somebody else have done it.

Workers ask the store themselves, so that they also hear it when their driver is gone.
"""

import math
from dataclasses import dataclass
from time import monotonic

from daskmr.core.grid import Region
from daskmr.pipeline.job import Job

COMMITTED, CANCELED, DEADLINE = "COMMITTED", "CANCELED", "DEADLINE"
SOURCE_CHANGED, TAKEN_OVER = "SOURCE_CHANGED", "TAKEN_OVER"
_LOCAL_S, _REMOTE_S = 0.1, 2.0


class HaltedError(Exception):
    """A region that should not go on.

    Parameters
    ----------
    why
        `COMMITTED` when its part is there by now, else why the job was stopped.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Halt:
    """Asks for one region, as often as it is cheap."""

    job: Job
    region: Region
    _asked_at: float = -math.inf

    def check(self) -> None:
        """Go on.

        Raises
        ------
        HaltedError
            When the region should not.
        """
        now = monotonic()
        if now - self._asked_at < self._every_s:
            return
        self._asked_at = now
        why = self.job.folder.stopped(self.job.epoch)
        if why:
            raise HaltedError(why)
        if self.job.parts.exists(self.job.part_name(self.region)):
            raise HaltedError(COMMITTED)

    @property
    def _every_s(self) -> float:
        return _REMOTE_S if "://" in self.job.folder.url else _LOCAL_S
