"""The folder of one job: what was asked for, what is done, and what came of it.

::

    STORE/jobs/JOB/request.json     created once: what decides the answers of the model
                   lease.json       who runs it
                   regions/*.parquet  created once each: features of a region, and its tiles
                   report.json      created once: the account of the job
                   manifest.json    created once: the results, by name and hash
                   manifests/*.json results of later runs that merged in another way
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskmr.errors import RequestError, SourceChangedError, StoreError
from daskmr.store.lease import Lease
from daskmr.store.parts import PartStore
from daskmr.store.places import Bucket, Place, digest, place

_REQUEST, _REPORT, _MANIFEST = "request.json", "report.json", "manifest.json"


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
        plan: Mapping[str, Any] | None = None,
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
        said = {"request": dict(request), "source": dict(source), "plan": dict(plan or {})}
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
        """Names of the regions that are done, sorted."""
        names = self.place.names("regions/")
        return [n.removeprefix("regions/").removesuffix(".parquet") for n in names
                if n.endswith(".parquet")]  # fmt: skip

    def finish(self, report: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
        """Publish the account and the results; the first to do so is right.

        Raises
        ------
        StoreError
            When another result of this job was published before.
        """
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        self.place.create(_REPORT, json.dumps(report, indent=1, sort_keys=True).encode())
        if not self.place.create(_MANIFEST, text):
            msg = f"{self.url}/{_MANIFEST}: another result of this job is published already"
            raise StoreError(msg)

    def add(self, manifest: Mapping[str, Any]) -> None:
        """Publish another result of the same answers, under the hash of its manifest."""
        text = json.dumps(manifest, indent=1, sort_keys=True).encode()
        self.place.create(f"manifests/{digest(text)[:16]}.json", text)

    def manifest(self) -> dict[str, Any] | None:
        """What was published; None before."""
        return self._json(_MANIFEST)

    def report(self) -> dict[str, Any] | None:
        """The job's account; None before its end."""
        return self._json(_REPORT)

    def request(self) -> dict[str, Any] | None:
        """What was asked for; None when there is no such job."""
        return self._json(_REQUEST)

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


def jobs(store: str) -> list[str]:
    """Ids of all jobs of a store, sorted."""
    names = place(store).names("jobs/")
    return sorted({name.split("/")[1] for name in names if name.count("/") > 1})
