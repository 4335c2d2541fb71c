"""State of a job, read from its store alone; no cluster is needed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from daskmr.core.events import Status
from daskmr.core.grid import Position
from daskmr.core.report import TileOutcome, TileStatus
from daskmr.errors import (
    CanceledError,
    ClusterError,
    HandedBackError,
    RequestError,
    StoreError,
    UnreachableError,
)
from daskmr.store import JobFolder
from daskmr.store.lease import NAME, is_gone
from daskmr.worker.cancellation import CANCELED, SOURCE_CHANGED

RUNNING, INTERRUPTED = "IN_PROGRESS", "INTERRUPTED"
"""States of a job without a result: a driver runs it, or none does any more."""
_OF_THE_DEPLOYMENT = (StoreError, ClusterError, UnreachableError, HandedBackError)
"""Errors that say nothing about the job: the same call goes on once they are mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job as its store knows it."""

    job_id: str
    """Name of the job."""
    state: str
    """SUCCESS or PARTIAL once there is a result; before, IN_PROGRESS while a driver runs it, FAILED
    or CANCELED when its last driver ended so, INTERRUPTED when that can simply be run again."""
    image: str
    """URL of the image."""
    model: str
    """Name of the model."""
    n_tiles: int
    """Tiles to run."""
    n_regions: int
    """Regions to run."""
    n_done: int
    """Regions that are committed."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Tiles of those regions by status."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Failed and skipped tiles by reason."""
    n_features: int = 0
    """Features before merging."""
    n_rounds: int = 0
    """Retry rounds of failed tiles so far."""
    job_name: str = ""
    """Name of the job for people, of the request that it came with; empty without one."""
    why: str = ""
    """Why its last driver stopped before there was a result; empty when it did not."""
    owner: str = ""
    """Driver that runs it, or ran it last: host and process."""
    epoch: int = 0
    """How often it has changed hands."""

    @property
    def is_over(self) -> bool:
        """Whether no driver is running it."""
        return self.state != RUNNING

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Return the state as names and values."""
        counts = ", ".join(f"{n:,} {status.lower()}" for status, n in sorted(self.outcomes.items()))
        return [
            ("job", f"{self.job_id}: {self.state}{f' ({self.why})' if self.why else ''}"),
            *([("name", self.job_name)] if self.job_name else []),
            ("image", self.image),
            ("model", self.model),
            ("tiles", f"{sum(self.outcomes.values()):,} of {self.n_tiles:,}: {counts or 'none'}"),
            ("regions", f"{self.n_done:,} of {self.n_regions:,}"),
            *(("reason", f"{n:,} x {reason}") for reason, n in sorted(self.reasons.items())),
            ("features", f"{self.n_features:,} before merging"),
            ("run by", f"{self.owner or 'nobody'}, take {self.epoch + 1}"),
        ]


@dataclass
class Watcher:
    """Reads the state of one job repeatedly; committed parts are read once only."""

    folder: JobFolder
    """The job."""
    _tiles: dict[str, dict[Position, TileOutcome]] = field(default_factory=dict)
    _n_features: dict[str, int] = field(default_factory=dict)

    def look(self) -> JobState:
        """Return the state of the job now.

        Raises
        ------
        RequestError
            When there is no such job.
        StoreError
            When it cannot be read.
        """
        folder = self.folder
        record = folder.request()
        if record is None:
            msg = f"job: {folder.url.rpartition('/jobs/')[0]} has no job {folder.job_id!r}"
            raise RequestError(msg)
        names = folder.part_names()
        new = [name for name in names if name not in self._tiles]
        for name, header in zip(new, folder.parts.headers(new), strict=True):
            self._tiles[name] = {(o.row, o.col): o for o in header.outcomes}
            self._n_features[name] = header.n_features
        tiles = {place: o for name in names for place, o in self._tiles[name].items()}
        lease = json.loads(folder.objects.read(NAME) or b"{}")
        manifest, plan = folder.manifest(), record["plan"]
        state, why = _state(folder, lease, manifest)
        by_parts = JobState(
            job_id=folder.job_id,
            job_name=plan.get("name", ""),
            state=state,
            image=record["request"]["image"],
            model=record["request"]["model"],
            n_tiles=plan["tiles"],
            n_regions=plan["regions"],
            n_done=len({name.partition("~")[0] for name in names}),
            outcomes=dict(Counter(str(o.status) for o in tiles.values())),
            reasons=dict(
                Counter(o.reason for o in tiles.values() if o.status is not TileStatus.SUCCEEDED)
            ),
            n_features=sum(self._n_features.values()),
            n_rounds=folder.n_rounds,
            why=why,
            owner=lease.get("owner", ""),
            epoch=lease.get("epoch", 0),
        )
        return by_parts if names or manifest is None else _as_reported(by_parts, folder)

    def errors(self) -> list[TileOutcome]:
        """Return the failed tiles, in grid order."""
        self.look()
        tiles = {p: o for name in sorted(self._tiles) for p, o in self._tiles[name].items()}
        return [tiles[p] for p in sorted(tiles) if tiles[p].status is TileStatus.FAILED]


def _as_reported(state: JobState, folder: JobFolder) -> JobState:
    """Return the state of a job whose parts have ended with its result."""
    report = folder.report() or {}
    planned_skips = report["n_tiles"] - state.n_tiles
    outcomes = Counter(report["outcomes"]) - Counter({TileStatus.SKIPPED: planned_skips})
    return replace(
        state,
        n_done=state.n_regions,
        outcomes={str(status): n for status, n in outcomes.items()},
        reasons=report["reasons"],
        n_features=report["n_features"],
    )


def _state(
    folder: JobFolder, lease: Mapping[str, Any], manifest: Mapping[str, Any] | None
) -> tuple[str, str]:
    """Return the state of a job, and why its last driver stopped."""
    if manifest is not None:
        return str(manifest["status"]), ""
    epoch = lease.get("epoch", 0)
    if lease and not lease.get("released") and not is_gone(lease):
        return RUNNING, folder.stop_reason(epoch)
    end = folder.end_of(epoch)
    if end is not None:
        return str(end["status"]), str(end["why"])
    why = folder.stop_reason(epoch)
    return {CANCELED: CANCELED, SOURCE_CHANGED: "FAILED"}.get(why, INTERRUPTED), why


def final_status(error: BaseException) -> Status | None:
    """Return the state in which an error leaves its job; None when the job was interrupted.

    Examples
    --------
    >>> final_status(ValueError("a merge that raises"))
    <Status.FAILED: 'FAILED'>
    >>> final_status(KeyboardInterrupt()) is None
    True
    """
    if isinstance(error, CanceledError):
        return Status.CANCELED
    if isinstance(error, _OF_THE_DEPLOYMENT) or not isinstance(error, Exception):
        return None
    return Status.FAILED


def begin_retry_round(folder: JobFolder) -> None:
    """Begin a round of the failed tiles of a job that is over, but not a success."""
    end, manifest = folder.last_end(), folder.manifest()
    has_failed = manifest is None and end is not None and end["is_failed_whole"]
    is_partial = manifest is not None and manifest["status"] == Status.PARTIAL
    if is_partial or (has_failed and end is not None and end["round"] == folder.n_rounds):
        folder.begin_round([(tile.row, tile.col) for tile in Watcher(folder).errors()])
