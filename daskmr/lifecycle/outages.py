"""Tiles of a supervised job that failed because something was away: run again, not published.

A published result is final for its subscribers and streams, so that an outage is looked for before.
"""

from collections.abc import Set

from daskmr.aws import EXPIRED
from daskmr.errors import UnreachableError
from daskmr.lifecycle.job_state import Watcher
from daskmr.lifecycle.open_job import OpenJob
from daskmr.worker.region import IMAGE_UNREACHABLE

AWAY = frozenset(
    {
        "CONNECT", "CONNECT_TIMEOUT", IMAGE_UNREACHABLE, "NO_CREDENTIALS",
        *(code.upper() for code in EXPIRED),
    }
)  # fmt: skip
"""Reasons of tiles that say nothing about the tile, the model or the image."""
BUSY = frozenset(
    {"HTTP_429", "HTTP_502", "HTTP_503", "HTTP_504", "RESET", "SERVICEUNAVAILABLE", "THROTTLED"}
)
"""Reasons that one tile may cause as well: a model that it brings down, a proxy that gives up."""
_MAX_BUSY_ROUNDS = 3


def raise_outages(job: OpenJob, known: Set[str]) -> None:
    """Raise if tiles of a supervised job failed by an outage; they are the next round.

    Parameters
    ----------
    job
        The job.
    known
        Reasons of its tiles; the tiles themselves are looked for only if one is an outage.

    Raises
    ------
    UnreachableError
        Names the number of tiles and the first error.
    """
    folder = job.workspace.folder
    if not (job.execution.is_supervised and job.workspace.is_kept) or folder.manifest() is not None:
        return
    reasons = AWAY | (BUSY if folder.n_rounds < _MAX_BUSY_ROUNDS else frozenset())
    if reasons.isdisjoint(known):
        return
    failed = [tile for tile in Watcher(folder).errors() if tile.reason in reasons]
    if failed:
        folder.begin_round([(tile.row, tile.col) for tile in failed])
        msg = f"{len(failed):,} tiles failed by an outage; the first: {failed[0].message}"
        raise UnreachableError(msg, reason=failed[0].reason)
