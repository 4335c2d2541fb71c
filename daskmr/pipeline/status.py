"""How far a job of a store has come: read from the store alone, no cluster is needed."""

import json
import os
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from daskmr.core.report import TileStatus
from daskmr.errors import RequestError
from daskmr.store import JobFolder
from daskmr.store.lease import NAME

RUNNING, INTERRUPTED = "IN_PROGRESS", "INTERRUPTED"
"""States of a job without a result: somebody runs it, or nobody does any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job as its store knows it."""

    job_id: str
    """Name of the job."""
    state: str
    """SUCCESS, PARTIAL or FAILED once there is a result; IN_PROGRESS or INTERRUPTED before."""
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
    owner: str = ""
    """Who runs it, or ran it last: host and process."""
    epoch: int = 0
    """How often it has changed hands."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """What to tell, as names and values."""
        told = ", ".join(f"{n:,} {status.lower()}" for status, n in sorted(self.outcomes.items()))
        return [
            ("job", f"{self.job_id}: {self.state}"),
            ("image", self.image),
            ("model", self.model),
            ("tiles", f"{sum(self.outcomes.values()):,} of {self.n_tiles:,}: {told or 'none'}"),
            ("regions", f"{self.n_done:,} of {self.n_regions:,}"),
            *(("reason", f"{n:,} x {reason}") for reason, n in sorted(self.reasons.items())),
            ("features", f"{self.n_features:,} before merging"),
            ("run by", f"{self.owner or 'nobody'}, take {self.epoch + 1}"),
        ]


def state_of(store: str, job_id: str) -> JobState:
    """The state of one job.

    Raises
    ------
    RequestError
        When the store has no such job.
    StoreError
        When it cannot be read.
    """
    folder = JobFolder.at(store, job_id)
    said = folder.request()
    if said is None:
        msg = f"job: {store} has no job {job_id!r}"
        raise RequestError(msg)
    names = folder.committed()
    parts = list(folder.parts.read_all(names))
    outcomes: Counter[str] = Counter(str(o.status) for part in parts for o in part.outcomes)
    reasons = Counter(
        o.reason for part in parts for o in part.outcomes if o.status is not TileStatus.SUCCEEDED
    )
    lease = json.loads(folder.place.read(NAME) or b"{}")
    manifest = folder.manifest()
    plan = said.get("plan", {})
    return JobState(
        job_id=job_id,
        state=manifest["status"] if manifest else _unfinished(lease),
        image=said["request"].get("image", ""),
        model=said["request"].get("model", ""),
        n_tiles=plan.get("tiles", 0),
        n_regions=plan.get("regions", 0),
        n_done=len(names),
        outcomes=dict(outcomes),
        reasons=dict(reasons),
        n_features=sum(len(part.features) for part in parts),
        owner=lease.get("owner", ""),
        epoch=lease.get("epoch", 0),
    )


def _unfinished(lease: Mapping[str, Any]) -> str:
    """Whether anybody may still be at it: a process of this machine can be looked up."""
    host, _, pid = str(lease.get("owner", "")).rpartition(":")
    if not lease or lease.get("released"):
        return INTERRUPTED
    if host == socket.gethostname() and pid.isdecimal() and not _is_alive(int(pid)):
        return INTERRUPTED
    return RUNNING


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
