"""How far a job of a store has come: read from the store alone, no cluster is needed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from daskmr.core.report import TileOutcome, TileStatus
from daskmr.errors import RequestError
from daskmr.pipeline.halt import CANCELED, SOURCE_CHANGED
from daskmr.store import JobFolder
from daskmr.store.lease import NAME, is_gone

RUNNING, INTERRUPTED = "IN_PROGRESS", "INTERRUPTED"
"""States of a job without a result: somebody runs it, or nobody does any more."""
Position = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job as its store knows it."""

    job_id: str
    """Name of the job."""
    state: str
    """SUCCESS, PARTIAL or FAILED once there is a result; IN_PROGRESS, INTERRUPTED or CANCELED
    before."""
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
    """How often failed tiles were asked about again."""
    why: str = ""
    """Why its last driver stopped before the end; empty when it did not."""
    owner: str = ""
    """Who runs it, or ran it last: host and process."""
    epoch: int = 0
    """How often it has changed hands."""

    @property
    def is_over(self) -> bool:
        """Whether nobody is at it."""
        return self.state != RUNNING

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """What to tell, as names and values."""
        told = ", ".join(f"{n:,} {status.lower()}" for status, n in sorted(self.outcomes.items()))
        return [
            ("job", f"{self.job_id}: {self.state}{f' ({self.why})' if self.why else ''}"),
            ("image", self.image),
            ("model", self.model),
            ("tiles", f"{sum(self.outcomes.values()):,} of {self.n_tiles:,}: {told or 'none'}"),
            ("regions", f"{self.n_done:,} of {self.n_regions:,}"),
            *(("reason", f"{n:,} x {reason}") for reason, n in sorted(self.reasons.items())),
            ("features", f"{self.n_features:,} before merging"),
            ("run by", f"{self.owner or 'nobody'}, take {self.epoch + 1}"),
        ]


@dataclass
class Watcher:
    """Looks at one job again and again; what is committed is read once only."""

    folder: JobFolder
    """The job."""
    _tiles: dict[str, dict[Position, TileOutcome]] = field(default_factory=dict)
    _n_features: dict[str, int] = field(default_factory=dict)

    def look(self) -> JobState:
        """The state of the job now.

        Raises
        ------
        RequestError
            When there is no such job.
        StoreError
            When it cannot be read.
        """
        folder = self.folder
        said = folder.request()
        if said is None:
            msg = f"job: {folder.url.rpartition('/jobs/')[0]} has no job {folder.job_id!r}"
            raise RequestError(msg)
        names = folder.committed()
        new = [name for name in names if name not in self._tiles]
        for name, header in zip(new, folder.parts.headers(new), strict=True):
            self._tiles[name] = {(o.row, o.col): o for o in header.outcomes}
            self._n_features[name] = header.n_features
        tiles = {place: o for name in names for place, o in self._tiles[name].items()}
        lease = json.loads(folder.place.read(NAME) or b"{}")
        manifest, plan = folder.manifest(), said["plan"]
        why = folder.stopped(lease.get("epoch", 0))
        return JobState(
            job_id=folder.job_id,
            state=manifest["status"] if manifest else _unfinished(lease, why),
            image=said["request"]["image"],
            model=said["request"]["model"],
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

    def errors(self) -> list[TileOutcome]:
        """The tiles that have failed, in grid order."""
        self.look()
        tiles = {p: o for name in sorted(self._tiles) for p, o in self._tiles[name].items()}
        return [tiles[p] for p in sorted(tiles) if tiles[p].status is TileStatus.FAILED]


def state_of(store: str, job_id: str) -> JobState:
    """The state of one job; raises as `Watcher.look`."""
    return Watcher(JobFolder.at(store, job_id)).look()


def _unfinished(lease: Mapping[str, Any], why: str) -> str:
    """What a job without a result is."""
    if lease and not lease.get("released") and not is_gone(lease):
        return RUNNING
    return {CANCELED: CANCELED, SOURCE_CHANGED: "FAILED"}.get(why, INTERRUPTED)
