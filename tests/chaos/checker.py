"""What was published, held against what the model was asked and what it answered.

Only documented files are read (see docs/jobs.md), with nothing of daskmr.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from daskmr.core.features import IMAGE_BOX
from tests.chaos.faults import REFUSED, TILE, Box
from tests.chaos.server import Call
from tests.chaos.snapshot import Stored

_CLOCK_S = 0.02
"""Seconds by which the clock of a file system is behind: it ticks less often."""
_BUCKET_S = 1.0
"""Buckets tell whole seconds."""

Feature = tuple[str, Box]
"""Label, and box in pixels of the full image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What is wrong with one job; all zero for a good one, but for the last three."""

    lost: int = 0
    """Features that were answered for tiles that succeeded, and are not in a result."""
    duplicated: int = 0
    """Features that are in a result more than once."""
    unexpected: int = 0
    """Features in a result that were not answered."""
    unaccounted: int = 0
    """Tiles that are in no part, or in more than one."""
    false_success: int = 0
    """Tiles that are said to have succeeded, and were never answered."""
    failed_otherwise: int = 0
    """Tiles that are said to have failed, or to have been skipped, and were not refused."""
    torn: int = 0
    """Results that are not there, or not of the length and hash in the manifest."""
    wrong_status: int = 0
    """Places in which a status or a number of tiles or features is not what it should be."""
    reinvoked: int = 0
    """Calls of tiles of regions that had been committed before."""
    extra_calls: int = 0
    """Calls that were answered beyond the first of each tile."""
    n_tiles: int = 0
    """Tiles of the job."""
    notes: Sequence[str] = ()
    """What was found, the first few."""

    @property
    def extra_percent(self) -> float:
        """Answers that were not needed, in percent of the tiles."""
        return 100.0 * self.extra_calls / max(1, self.n_tiles)

    @property
    def faults(self) -> dict[str, int]:
        """Everything that is to be zero."""
        said = asdict(self)
        return {n: v for n, v in said.items() if n not in {"extra_calls", "n_tiles", "notes"}}


@dataclass
class Checker:
    """One finished job.

    Parameters
    ----------
    calls
        Log of the model server.
    folder
        The job's folder in the store.
    out
        Where its results were asked for.
    shape
        Rows and columns of tiles.
    is_bucket
        Whether times of the folder are whole seconds.
    """

    calls: Sequence[Call]
    folder: Mapping[str, Stored]
    out: Mapping[str, Stored]
    shape: tuple[int, int]
    is_bucket: bool = False
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put together what was asked, what was answered, and what the parts say of it."""
        self.answered = {c.tile: c.boxes for c in self.calls if c.boxes is not None}
        self.refused = {c.tile for c in self.calls if c.kind == REFUSED}
        self.parts = {
            name: self._ledger(stored)
            for name, stored in self.folder.items()
            if name.startswith("regions/") and name.endswith(".parquet")
        }
        self.ended = {tile: said for part in self.parts.values() for tile, said in part.items()}
        self.succeeded = {t for t, (status, _) in self.ended.items() if status == "SUCCEEDED"}

    def check(self, exit_status: int) -> CheckResult:
        """Return all findings.

        Parameters
        ----------
        exit_status
            Of the last driver.
        """
        manifest = self._json("manifest.json")
        lost, duplicated, unexpected = self._features(manifest)
        answers = sum(call.boxes is not None for call in self.calls)
        return CheckResult(
            lost=lost,
            duplicated=duplicated,
            unexpected=unexpected,
            unaccounted=self.unaccounted(),
            false_success=self._count("never answered", self.succeeded - self.answered.keys()),
            failed_otherwise=self._failed_otherwise(),
            torn=self._count("torn", self.torn(manifest)),
            wrong_status=self._count("status", self._statuses(manifest, exit_status)),
            reinvoked=self._reinvoked(),
            extra_calls=answers - len(self.answered),
            n_tiles=self.shape[0] * self.shape[1],
            notes=self.notes,
        )

    def _ledger(self, stored: Stored) -> dict[int, tuple[str, str]]:
        """Status and reason of each tile of a part."""
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(io.BytesIO(stored.content)).metadata
        return {
            self._number(tile["row"], tile["col"]): (tile["status"], tile["reason"])
            for tile in json.loads(metadata[b"daskmr:tiles"])
        }

    def _number(self, row: float, col: float) -> int:
        return int(row // TILE) * self.shape[1] + int(col // TILE)

    def _json(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.folder[name].content) if name in self.folder else {}
        return found

    def _results(self, manifest: Mapping[str, Any]) -> Iterator[tuple[str, Stored | None, Any]]:
        """Yield name, file and what the manifest says of each result."""
        for name, said in manifest.get("results", {}).items():
            yield name, self.folder.get(name, self.out.get(name)), said

    def _features(self, manifest: Mapping[str, Any]) -> tuple[int, int, int]:
        """Lost, duplicated and unexpected features of the worst result."""
        wanted = Counter(feature for tile in self.succeeded for feature in self._expected(tile))
        found = [
            self._compared(wanted, Counter(published(stored)), name)
            for name, stored, _ in self._results(manifest)
            if name.endswith(".parquet") and not name.startswith("tiles-") and stored is not None
        ]
        if not found:
            self.notes.append("no result is published")
            return sum(wanted.values()), 0, 0
        return max(found)

    def _expected(self, tile: int) -> Iterator[Feature]:
        """Yield the features that were answered for a tile."""
        row, col = divmod(tile, self.shape[1])
        x, y = col * TILE, row * TILE
        for x_min, y_min, x_max, y_max in self.answered.get(tile) or ():
            yield str(tile), (x + x_min, y + y_min, x + x_max, y + y_max)

    def _compared(
        self, wanted: Counter[Feature], found: Counter[Feature], name: str
    ) -> tuple[int, int, int]:
        missing, more = wanted - found, found - wanted
        double = Counter({feature: n for feature, n in more.items() if feature in wanted})
        other = more - double
        for what, features in (("lost", missing), ("duplicated", double), ("unexpected", other)):
            self._count(f"{name}: {what}", features)
        return sum(missing.values()), sum(double.values()), sum(other.values())

    def unaccounted(self) -> int:
        """Return tiles that are in no part, or in more than one."""
        times = Counter(tile for part in self.parts.values() for tile in part)
        every = range(self.shape[0] * self.shape[1])
        wrong = {tile: times[tile] for tile in {*every, *times} if times[tile] != 1}
        stray = {tile for tile in times if tile not in every}
        return self._count("parts that name the tile", wrong.items() | {(t, 0) for t in stray})

    def _failed_otherwise(self) -> int:
        wrong = [
            f"{tile}: {status} {reason}"
            for tile, (status, reason) in sorted(self.ended.items())
            if status != "SUCCEEDED" and tile not in self.refused
        ]
        return self._count("failed without being refused", wrong)

    def torn(self, manifest: Mapping[str, Any]) -> list[str]:
        """Return results that are not there, or not of the length and hash in the manifest."""
        return [
            name
            for name, stored, said in self._results(manifest)
            if stored is None
            or len(stored.content) != said["bytes"]
            or hashlib.sha256(stored.content).hexdigest() != said["sha256"]
        ]

    def _statuses(self, manifest: Mapping[str, Any], exit_status: int) -> list[str]:
        """Everything that is said of the job as a whole, and is wrong."""
        tiles = dict(Counter(status for status, _ in self.ended.values()))
        report = self._json("report.json")
        n_features = sum(len(self.answered.get(tile) or ()) for tile in self.succeeded)
        partial = bool(self.refused)
        pairs = {
            "exit status": (exit_status, 3 if partial else 0),
            "manifest status": (manifest.get("status"), "PARTIAL" if partial else "SUCCESS"),
            "report status": (report.get("status"), "PARTIAL" if partial else "SUCCESS"),
            "manifest tiles": (manifest.get("tiles"), tiles),
            "report tiles": (report.get("outcomes"), tiles),
            "manifest features": (manifest.get("features"), n_features),
            "refused tiles": (
                {t for t, (s, _) in self.ended.items() if s == "FAILED"} & self.refused,
                self.refused,
            ),
        }
        return [f"{name}: {is_!r}, not {be!r}" for name, (is_, be) in pairs.items() if is_ != be]

    def _reinvoked(self) -> int:
        allowed = _BUCKET_S if self.is_bucket else _CLOCK_S
        at = {tile: self.folder[name].at for name, part in self.parts.items() for tile in part}
        late = [
            f"{call.tile} {call.t - at[call.tile]:.3f} s later ({call.kind})"
            for call in self.calls
            if call.t > at.get(call.tile, call.t) + allowed
        ]
        return self._count("asked after the commit", late)

    def _count(self, what: str, found: Any) -> int:
        """How many there are, keeping the first few."""
        if found:
            self.notes.append(f"{len(found)} x {what}: {list(found)[:5]}")
        return len(found)


def published(stored: Stored) -> list[Feature]:
    """Return the features of a GeoParquet result."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(stored.content), columns=["label", *IMAGE_BOX])
    labels, *sides = (table.column(name).to_pylist() for name in ("label", *IMAGE_BOX))
    return list(zip(labels, zip(*sides, strict=True), strict=True))
