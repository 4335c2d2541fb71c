"""The folder of one job: its request, its committed regions and its results.

::

    STORE/jobs/JOB/request.json     created once: all options that the model's responses depend on
                   lease.json       the driver that runs it
                   regions/*.parquet  created once each: features and tile outcomes of a region
                   rounds/*.json    created once each: failed tiles of a retry round
                   attempts/*.json  created once each: why an attempt at a region failed
                   stop/*.json      created once each: stop request to the driver of an epoch
                   ends/*.json      created once each: end of a driver without a result, by epoch
                   events/*.jsonl   created once each: the event log, in order
                   delivered/*.json created once each: results were delivered to an output
                   replaced.json    created once: files of an earlier result that this one replaces
                   outbox/*         created once each: status events and their deliveries
                   result-*.parquet the georeferenced features, named by their hash
                   coverage-*.geojson, tiles-*.parquet   the map and the table of the tiles
                   report.json      created once: the report of the job
                   manifest.json    created once: names and hashes of the results
                   manifests/*.json results of later runs that merged in another way

A job whose failed tiles were retried has a ``report-N.json`` and a ``manifest-N.json`` for each
retry round; the last one is valid.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daskmr.core.grid import Position
from daskmr.errors import RequestError, SourceChangedError, StoreError
from daskmr.store.bucket import BucketStore
from daskmr.store.lease import Lease
from daskmr.store.object_store import ObjectStore, digest, object_store
from daskmr.store.parts import PartStore

REPLACED = "replaced.json"
"""Files of an earlier result, by place, that end when this job has published its own."""
_REQUEST = "request.json"
"""First pixel row and column of a tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFolder:
    """One job of a store."""

    url: str
    """Absolute path or ``s3://`` URL."""

    @classmethod
    def at(cls, store: str, job_id: str) -> "JobFolder":
        """Return the folder of a job, which need not exist."""
        root = object_store(store)
        return cls(url=f"{root.url}/jobs/{job_id}")

    @property
    def objects(self) -> ObjectStore:
        """Object store of the folder."""
        return object_store(self.url)

    @property
    def parts(self) -> PartStore:
        """Store of its regions' features."""
        return PartStore(url=f"{self.url}/regions")

    def begin(
        self,
        request: Mapping[str, Any],
        source: Mapping[str, Any],
        *,
        plan: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> bool:
        """Begin or continue the job; return True if it existed before.

        Parameters
        ----------
        request
            All options that the model's responses depend on, as plain JSON values.
        source
            Identity of the image.
        plan
            Numbers of tiles and regions, for `daskmr status`.
        options
            Options that a later call needs to continue the job by its name alone.
        result
            All that the result depends on, beside the image's content.

        Raises
        ------
        RequestError
            If the job has another request; names the differences.
        SourceChangedError
            If the image has changed since the job began.
        StoreError
            If the store cannot be written, or lacks conditional writes.
        """
        objects = self.objects
        if isinstance(objects, BucketStore):
            objects.check()
        record = {
            "request": dict(request),
            "source": dict(source),
            "plan": dict(plan or {}),
            "options": dict(options or {}),
            "result": dict(result or {}),
        }
        content = json.dumps(record, indent=1, sort_keys=True).encode()
        exists = objects.read(_REQUEST) is not None
        if not objects.create(_REQUEST, content):
            self._compare(record)
            return True
        return exists

    def _compare(self, record: Mapping[str, Any]) -> None:
        before = self._json(_REQUEST) or {}
        new = record["request"]
        problems = differences(before.get("request", {}), new, f"the job {self.job_id} began with")
        if problems:
            raise RequestError(*problems)
        if before.get("source") != record["source"]:
            msg = (
                f"{new.get('image')}: has changed since the job {self.job_id} began "
                f"({before.get('source')} then, {record['source']} now)"
            )
            raise SourceChangedError(msg)

    @property
    def job_id(self) -> str:
        """Name of the job."""
        return self.url.rpartition("/")[2]

    def lease(self) -> Lease:
        """Return a lease of the job; it is not acquired."""
        return Lease(self.objects)

    def part_names(self) -> list[str]:
        """Return the names of the committed parts, sorted."""
        names = self.objects.names("regions/")
        return [n.removeprefix("regions/").removesuffix(".parquet") for n in names
                if n.endswith(".parquet")]  # fmt: skip

    @property
    def n_rounds(self) -> int:
        """Number of retry rounds."""
        return len(self.objects.names("rounds/"))

    def begin_round(self, tiles: Sequence[Position]) -> int:
        """Begin a retry round of tiles and return its number, from 1."""
        number = self.n_rounds + 1
        content = json.dumps([list(tile) for tile in sorted(tiles)]).encode()
        self.objects.create(f"rounds/{number:04d}.json", content)
        return number

    def round_tiles(self, number: int) -> list[Position]:
        """Return the tiles of a retry round."""
        tiles = json.loads(self.objects.read(f"rounds/{number:04d}.json") or b"[]")
        return [(int(row), int(col)) for row, col in tiles]

    def attempts(self) -> dict[str, list[str]]:
        """Return the causes of failed attempts at regions, by name of the part."""
        causes: dict[str, list[str]] = defaultdict(list)
        for name in self.objects.names("attempts/"):
            part, _, cause = name.removeprefix("attempts/").removesuffix(".json").split(".")
            causes[part].append(cause)
        return dict(causes)

    def record_attempt(self, part: str, number: int, record: Mapping[str, Any]) -> None:
        """Record a failed attempt at a region.

        Parameters
        ----------
        part
            Name of the part.
        number
            Number of the attempt.
        record
            Plain JSON values; ``cause`` is one word.
        """
        content = json.dumps(record, indent=1, sort_keys=True).encode()
        self.objects.create(f"attempts/{part}.{number:04d}.{record['cause']}.json", content)

    def request_stop(self, epoch: int, reason: str) -> None:
        """Request the driver of an epoch and its workers to stop; the first reason counts."""
        self.objects.create(f"stop/{epoch:06d}.json", json.dumps({"why": reason}).encode())

    def stop_reason(self, epoch: int) -> str:
        """Return why the driver of an epoch must stop; empty if it need not."""
        content = self.objects.read(f"stop/{epoch:06d}.json")
        return str(json.loads(content)["why"]) if content else ""

    def record_end(self, epoch: int, end: Mapping[str, Any]) -> None:
        """Record the end of an epoch's driver without a result; the first record counts.

        Parameters
        ----------
        epoch
            Number of the driver.
        end
            Plain JSON values; see `daskmr.results.job_end.EndRecorder`.
        """
        content = json.dumps(dict(end), indent=1, sort_keys=True).encode()
        self.objects.create(f"ends/{epoch:06d}.json", content)

    def end_of(self, epoch: int) -> dict[str, Any] | None:
        """Return the record of an epoch's driver that ended without a result; None without one."""
        return self._json(f"ends/{epoch:06d}.json")

    def last_end(self) -> dict[str, Any] | None:
        """Return the newest record of a driver that ended without a result; None without any."""
        names = self.objects.names("ends/")
        return self._json(names[-1]) if names else None

    def finish(self, report: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
        """Publish the report and the results of the last round; the first writer wins.

        Raises
        ------
        StoreError
            If another result of this round was published before.
        """
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        number = self.n_rounds
        content = json.dumps(report, indent=1, sort_keys=True).encode()
        self.objects.create(_numbered("report", number), content)
        if not self.objects.create(_numbered("manifest", number), text):
            msg = f"{self.url}: another result of this job is published already"
            raise StoreError(msg)

    def add_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Publish another result of the same regions, under the hash of its manifest."""
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        self.objects.create(f"manifests/{digest(text)[:16]}.json", text)

    def add_result(self, path: Path, sha256: str, *, kind: str = "result") -> str:
        """Copy a result file into the folder and return its name, derived from its hash."""
        name = f"{kind}-{sha256[:32]}{path.suffix}"
        if not self.objects.exists(name):
            self.objects.put(name, path)
        return name

    def manifest(self) -> dict[str, Any] | None:
        """Return the manifest of the last round; None before it is published."""
        return self._json(_numbered("manifest", self.n_rounds))

    def last_manifest(self) -> dict[str, Any] | None:
        """Return the newest manifest of all rounds; None before the job's end."""
        return self._last("manifest")

    def report(self) -> dict[str, Any] | None:
        """Return the job's report, of the last round that has one; None before the job's end.

        In a round without a result it is the one that the last driver recorded at its end.
        """
        end = self.last_end() if self.manifest() is None else None
        if end is not None and end["report"] is not None and end["round"] == self.n_rounds:
            return dict(end["report"])
        return self._last("report")

    def request(self) -> dict[str, Any] | None:
        """Return the record of the job's request; None if the job does not exist."""
        return self._json(_REQUEST)

    def _last(self, name: str) -> dict[str, Any] | None:
        rounds = range(self.n_rounds, -1, -1)
        records = (self._json(_numbered(name, number)) for number in rounds)
        return next((record for record in records if record is not None), None)

    def _json(self, name: str) -> dict[str, Any] | None:
        content = self.objects.read(name)
        if content is None:
            return None
        try:
            record: dict[str, Any] = json.loads(content)
        except ValueError as error:
            msg = f"{self.url}/{name}: not JSON: {error}"
            raise StoreError(msg) from error
        return record


def differences(before: Mapping[str, Any], now: Mapping[str, Any], owner: str) -> list[str]:
    """Return a sentence for each value in which two records differ.

    Parameters
    ----------
    before, now
        Plain values by name.
    owner
        Whose the value before is, such as ``the job harbour had``.
    """
    return [
        f"{name}: {now.get(name)!r}, but {owner} {before.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number}.json" if number else f"{name}.json"


def jobs(store: str) -> list[str]:
    """Return the names of all jobs of a store, sorted."""
    return object_store(store).folders("jobs/")
