"""The folder of one job: what was asked for, what is done, and what came of it.

::

    STORE/jobs/JOB/request.json     created once: what decides the answers of the model
                   lease.json       who runs it
                   regions/*.parquet  created once each: features of a region, and its tiles
                   rounds/*.json    created once each: failed tiles that are asked about again
                   attempts/*.json  created once each: why an attempt at a region ended badly
                   stop/*.json      created once each: that a driver is to stop, by epoch
                   events/*.jsonl   created once each: what happened, in order
                   delivered/*.json created once each: that a place has got a result
                   outbox/*         created once each: what is said of the job, and who has heard it
                   result-*.parquet the features on the ground, named by their hash
                   report.json      created once: the account of the job
                   manifest.json    created once: the results, by name and hash
                   manifests/*.json results of later runs that merged in another way

A job whose failed tiles were asked about again has a ``report-N.json`` and a ``manifest-N.json``
for each such round; the last one is right.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daskmr.errors import RequestError, SourceChangedError, StoreError
from daskmr.store.lease import Lease
from daskmr.store.parts import PartStore
from daskmr.store.places import Bucket, Place, digest, place

_REQUEST = "request.json"
Position = tuple[int, int]
"""First pixel row and column of a tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFolder:
    """One job of a store."""

    url: str
    """Absolute path or ``s3://`` URL."""

    @classmethod
    def at(cls, store: str, job_id: str) -> "JobFolder":
        """The folder of a job, there or not."""
        root = place(store)
        return cls(url=f"{root.url}/jobs/{job_id}")

    @property
    def place(self) -> Place:
        """Where it is."""
        return place(self.url)

    @property
    def parts(self) -> PartStore:
        """Its regions."""
        return PartStore(url=f"{self.url}/regions")

    def begin(
        self,
        request: Mapping[str, Any],
        source: Mapping[str, Any],
        *,
        plan: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> bool:
        """Begin the job, or go on with it; True when it was there already.

        Parameters
        ----------
        request
            All that decides the answers of the model, as plain JSON values.
        source
            Identity of the image.
        plan
            How much work it is, for those who look on.
        options
            What a later call needs to go on with it by its name alone.

        Raises
        ------
        RequestError
            When a job of this id asked for something else; names the differences.
        SourceChangedError
            When the image is not the one that the job began with.
        StoreError
            When the store cannot be written, or would mix jobs.
        """
        where = self.place
        if isinstance(where, Bucket):
            where.check()
        said = {
            "request": dict(request),
            "source": dict(source),
            "plan": dict(plan or {}),
            "options": dict(options or {}),
        }
        content = json.dumps(said, indent=1, sort_keys=True).encode()
        is_there = where.read(_REQUEST) is not None
        if not where.create(_REQUEST, content):
            self._compare(said)
            return True
        return is_there

    def _compare(self, said: Mapping[str, Any]) -> None:
        before = self._json(_REQUEST) or {}
        old, new = before.get("request", {}), said["request"]
        differences = [
            f"{name}: {new.get(name)!r}, but the job {self.job_id} began with {old.get(name)!r}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        if differences:
            raise RequestError(*differences)
        if before.get("source") != said["source"]:
            msg = (
                f"{new.get('image')}: has changed since the job {self.job_id} began "
                f"({before.get('source')} then, {said['source']} now)"
            )
            raise SourceChangedError(msg)

    @property
    def job_id(self) -> str:
        """Name of the job."""
        return self.url.rpartition("/")[2]

    def lease(self) -> Lease:
        """The right to run it."""
        return Lease(self.place)

    def committed(self) -> list[str]:
        """Names of the parts that are there, sorted."""
        names = self.place.names("regions/")
        return [n.removeprefix("regions/").removesuffix(".parquet") for n in names
                if n.endswith(".parquet")]  # fmt: skip

    @property
    def n_rounds(self) -> int:
        """How often failed tiles were asked about again."""
        return len(self.place.names("rounds/"))

    def begin_round(self, tiles: Sequence[Position]) -> int:
        """Ask about some tiles again; the number of the round, from 1."""
        number = self.n_rounds + 1
        content = json.dumps([list(tile) for tile in sorted(tiles)]).encode()
        self.place.create(f"rounds/{number:04d}.json", content)
        return number

    def round(self, number: int) -> list[Position]:
        """The tiles of a round."""
        found = json.loads(self.place.read(f"rounds/{number:04d}.json") or b"[]")
        return [(int(row), int(col)) for row, col in found]

    def attempts(self) -> dict[str, list[str]]:
        """Causes by which attempts at regions ended badly, by name of the part."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.place.names("attempts/"):
            part, _, cause = name.removeprefix("attempts/").removesuffix(".json").split(".")
            found[part].append(cause)
        return dict(found)

    def attempted(self, part: str, number: int, said: Mapping[str, Any]) -> None:
        """Keep that an attempt at a region ended badly; ``cause`` is one word of what is said."""
        content = json.dumps(said, indent=1, sort_keys=True).encode()
        self.place.create(f"attempts/{part}.{number:04d}.{said['cause']}.json", content)

    def stop(self, epoch: int, why: str) -> None:
        """Tell the driver of that epoch, and its workers, to stop; the first reason stands."""
        self.place.create(f"stop/{epoch:06d}.json", json.dumps({"why": why}).encode())

    def stopped(self, epoch: int) -> str:
        """Why the driver of that epoch is to stop; empty when it is not."""
        content = self.place.read(f"stop/{epoch:06d}.json")
        return str(json.loads(content)["why"]) if content else ""

    def finish(self, report: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
        """Publish the account and the results of the last round; the first to do so is right.

        Raises
        ------
        StoreError
            When another result of this round was published before.
        """
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        number = self.n_rounds
        account = json.dumps(report, indent=1, sort_keys=True).encode()
        self.place.create(_numbered("report", number), account)
        if not self.place.create(_numbered("manifest", number), text):
            msg = f"{self.url}: another result of this job is published already"
            raise StoreError(msg)

    def add(self, manifest: Mapping[str, Any]) -> None:
        """Publish another result of the same answers, under the hash of its manifest."""
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        self.place.create(f"manifests/{digest(text)[:16]}.json", text)

    def keep(self, path: Path, sha256: str, *, kind: str = "result") -> str:
        """Keep a result under the name that its content gives it; that name."""
        name = f"{kind}-{sha256[:32]}{path.suffix}"
        if not self.place.exists(name):
            self.place.put(name, path)
        return name

    def manifest(self) -> dict[str, Any] | None:
        """What was published of the last round; None before."""
        return self._json(_numbered("manifest", self.n_rounds))

    def published(self) -> dict[str, Any] | None:
        """What was published of the last round that came so far; None before the job's end."""
        return self._last("manifest")

    def report(self) -> dict[str, Any] | None:
        """The job's account, of the last round that has one; None before the job's end."""
        return self._last("report")

    def request(self) -> dict[str, Any] | None:
        """What was asked for; None when there is no such job."""
        return self._json(_REQUEST)

    def _last(self, name: str) -> dict[str, Any] | None:
        rounds = range(self.n_rounds, -1, -1)
        found = (self._json(_numbered(name, number)) for number in rounds)
        return next((said for said in found if said is not None), None)

    def _json(self, name: str) -> dict[str, Any] | None:
        content = self.place.read(name)
        if content is None:
            return None
        try:
            found: dict[str, Any] = json.loads(content)
        except ValueError as error:
            msg = f"{self.url}/{name}: not JSON: {error}"
            raise StoreError(msg) from error
        return found


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number}.json" if number else f"{name}.json"


def jobs(store: str) -> list[str]:
    """Ids of all jobs of a store, sorted."""
    return place(store).folders("jobs/")
