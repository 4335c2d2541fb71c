"""The requests of the service in its store: enough for any listener to continue each of them.

::

    STORE/requests/JOB/request.json        created once: the request as it was accepted
                       begun/NNNN.json     created once each: an attempt began
                       failed/NNNN.json    created once each: an attempt failed, and why
                       left/NNNN.json      created once each: a listener released the request
                       ended.json          created once: the final status
                       outbox/*            events of a request that never became a job
    STORE/handed/JOB.json                  created once: detached, its message was deleted
                 JOB.ended                 created once: the detached request ended
    STORE/unsaid/HASH.json                 created once: a folder with undelivered events
                 HASH.said                 created once: its events were delivered
    STORE/rejected/HASH/message            created once: the body of a rejected message
                        outbox/*           its events
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskmr.core.request import ImageRequest
from daskmr.errors import ConflictError
from daskmr.store import JobFolder
from daskmr.store.object_store import ObjectStore, object_store

FAILURES, DEATHS = 3, 10
"""Attempts without a newly committed region after which a request fails: those that failed, and
those whose process ended without a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStore:
    """The requests of a store."""

    store: str
    """Folder or ``s3://`` URL."""

    def accept(self, request: ImageRequest, *, requested_at: float) -> bool:
        """Record a request; return True if it was recorded before.

        Parameters
        ----------
        request
            The request.
        requested_at
            Time of its message, seconds since 1970 (UTC).

        Raises
        ------
        ConflictError
            If a different request has the same job id.
        StoreError
            If the store cannot be written.
        """
        record = {"request": json.loads(request.to_json()), "askedAt": requested_at}
        objects = self._objects(request.job_id)
        if objects.create("request.json", json.dumps(record, sort_keys=True).encode()):
            return False
        before = json.loads(objects.read("request.json") or b"{}").get("request", {})
        fields = sorted(
            name
            for name in {*before, *record["request"]}
            if before.get(name) != record["request"].get(name)
        )
        if fields:
            msg = f"jobId: {request.job_id!r} is taken by another request ({', '.join(fields)})"
            raise ConflictError(msg)
        return True

    def request(self, job_id: str) -> tuple[ImageRequest, float] | None:
        """Return an accepted request and its time, seconds since 1970; None without one."""
        content = self._objects(job_id).read("request.json")
        if content is None:
            return None
        record = json.loads(content)
        return ImageRequest.from_json(record["request"]), float(record["askedAt"])

    def names(self) -> list[str]:
        """Return the names of all accepted requests, sorted."""
        return object_store(self.store).folders("requests/")

    def begin_attempt(self, job_id: str, owner: str) -> "AttemptCounts":
        """Record that *owner* begins an attempt, and return the counts before it."""
        objects = self._objects(job_id)
        n_committed = self._n_committed(job_id)
        counts = AttemptCounts.of(objects, n_committed)
        objects.create(
            f"begun/{counts.n:04d}-{owner}.json",
            json.dumps({"owner": owner, "committed": n_committed}).encode(),
        )
        return counts

    def record_failure(self, job_id: str, owner: str, reason: str) -> "AttemptCounts":
        """Record a failed attempt of *owner*, and return the counts after it."""
        objects = self._objects(job_id)
        n_committed = self._n_committed(job_id)
        number = len(objects.names("failed/"))
        record = {"owner": owner, "committed": n_committed, "why": reason}
        objects.create(f"failed/{number:04d}-{owner}.json", json.dumps(record).encode())
        return AttemptCounts.of(objects, n_committed)

    def record_release(self, job_id: str, owner: str) -> None:
        """Record that *owner* stopped its attempt for another listener to continue."""
        objects = self._objects(job_id)
        number = len(objects.names("left/"))
        record = {"owner": owner, "committed": self._n_committed(job_id)}
        objects.create(f"left/{number:04d}-{owner}.json", json.dumps(record).encode())

    def record_end(self, job_id: str, record: Mapping[str, Any]) -> None:
        """Record the final status of a request; the first writer wins."""
        content = json.dumps(dict(record), sort_keys=True).encode()
        self._objects(job_id).create("ended.json", content)
        if self._detached.exists(f"{job_id}.json"):
            self._detached.create(f"{job_id}.ended", b"\n")

    def end_record(self, job_id: str) -> dict[str, Any] | None:
        """Return the record of a request's end; None before it."""
        content = self._objects(job_id).read("ended.json")
        return None if content is None else dict(json.loads(content))

    def detach(self, job_id: str) -> None:
        """Let any listener continue a request whose message will be deleted."""
        self._detached.create(f"{job_id}.json", b"{}")

    def detached_names(self) -> list[str]:
        """Return the names of the requests without a message that have not ended."""
        files = self._detached.names("")
        ended = {name.removesuffix(".ended") for name in files if name.endswith(".ended")}
        names = [name.removesuffix(".json") for name in files if name.endswith(".json")]
        return [name for name in names if name not in ended]

    def add_pending_events(self, url: str) -> None:
        """Record that the folder at *url* has events that were not delivered."""
        content = json.dumps({"url": url}).encode()
        self._pending.create(f"{_hash(url.encode())}.json", content)

    def pending_events(self) -> list[str]:
        """Return the URLs of the folders with events that were not delivered."""
        files = self._pending.names("")
        done = {name.removesuffix(".said") for name in files if name.endswith(".said")}
        pending = [n for n in files if n.endswith(".json") and n.removesuffix(".json") not in done]
        return [json.loads(self._pending.read(name) or b"{}")["url"] for name in pending]

    def clear_pending_events(self, url: str) -> None:
        """Record that the events of the folder at *url* were delivered."""
        self._pending.create(f"{_hash(url.encode())}.said", b"\n")

    def reject(self, body: str) -> ObjectStore:
        """Record the body of a rejected message, and return the folder for its events."""
        content = body.encode("utf-8", "surrogatepass")
        objects = object_store(f"{self.store}/rejected/{_hash(content)}")
        objects.create("message", content)
        return objects

    def _objects(self, job_id: str) -> ObjectStore:
        return object_store(f"{self.store}/requests/{job_id}")

    @property
    def _detached(self) -> ObjectStore:
        return object_store(f"{self.store}/handed")

    @property
    def _pending(self) -> ObjectStore:
        return object_store(f"{self.store}/unsaid")

    def _n_committed(self, job_id: str) -> int:
        """Return the number of committed regions of all images of a request."""
        accepted = self.request(job_id)
        names = accepted[0].job_ids if accepted else (job_id,)
        return sum(len(JobFolder.at(self.store, name).part_names()) for name in names)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCounts:
    """Numbers of attempts at a request since a region was last committed."""

    n: int
    """All attempts that began, earlier ones included."""
    deaths: int
    """Attempts that began and have no record of their end."""
    failures: int
    """Attempts that failed."""
    why: str = ""
    """Reason of the last failure."""

    @classmethod
    def of(cls, objects: ObjectStore, n_committed: int) -> "AttemptCounts":
        """Count the attempts in a request's folder.

        Parameters
        ----------
        objects
            Folder of the request.
        n_committed
            Committed regions now; attempts at another number count for `n` only.
        """
        records = {
            kind: [json.loads(objects.read(name) or b"{}") for name in objects.names(f"{kind}/")]
            for kind in ("begun", "failed", "left")
        }
        recent = {
            kind: [record for record in all_records if record.get("committed") == n_committed]
            for kind, all_records in records.items()
        }
        failed = recent["failed"]
        return cls(
            n=len(records["begun"]),
            deaths=max(0, len(recent["begun"]) - len(failed) - len(recent["left"])),
            failures=len(failed),
            why=str(failed[-1].get("why", "")) if failed else "",
        )

    @property
    def are_too_many(self) -> bool:
        """True if no further attempt is to be made."""
        return self.failures >= FAILURES or self.deaths >= DEATHS
