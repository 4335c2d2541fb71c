"""The requests of the service in its store: enough for any listener to continue each of them.

::

    STORE/requests/JOB/request.json        created once: the request as it was accepted
                       begun/NNNN.json     created once each: an attempt began
                       failed/NNNN.json    created once each: an attempt failed, and why
                       left/NNNN.json      created once each: a listener released the request
                       messages/ID         created once each: a message brought the request
                       ended.json          created once: the final status
                       again/NNNN.json     created once each: a message after PARTIAL or FAILED
                       ended-N.json        created once: the final status of round N
                       outbox/*            events of a request that never became a job
    STORE/handed/JOB.json                  created once: detached, its message was deleted
                 JOB.ended                 created once: the detached request ended
                 JOB~N.*                   the same of round N
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
from daskmr.lifecycle.job_state import begin_retry_round
from daskmr.store import JobFolder
from daskmr.store.object_store import ObjectStore, object_store

TRIED_AGAIN = frozenset({"PARTIAL", "FAILED"})
"""Ends after which a new message runs the request again."""
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
        fields_now = json.loads(request.to_json())
        record = {"request": fields_now, "askedAt": requested_at}
        objects = self._objects(request.job_id)
        if objects.create("request.json", json.dumps(record, sort_keys=True).encode()):
            return False
        before = json.loads(objects.read("request.json") or b"{}").get("request", {})
        fields = sorted(
            name
            for name in {*before, *fields_now} - {"jobName"}
            if before.get(name) != fields_now.get(name)
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

    def attach(self, request: ImageRequest, message_id: str) -> bool:
        """Record a message of an accepted request; return True if it begins another round.

        That is a message that is new after the request has ended as PARTIAL or FAILED; a further
        delivery of a message that is known changes nothing.

        Parameters
        ----------
        request
            The request.
        message_id
            SQS message id, which is the same in each delivery of a message.
        """
        objects = self._objects(request.job_id)
        rounds = objects.names("again/")
        if self.has_message(request.job_id, message_id):
            return False
        record = self._end_record(request.job_id, len(rounds))
        is_again = record is not None and record["status"] in TRIED_AGAIN
        if is_again:
            folders = {name: JobFolder.at(self.store, name) for name in request.job_ids}
            images = (record or {}).get("images") or [{}] * len(folders)
            content = {
                "message": message_id,
                "rounds": {name: folder.n_rounds for name, folder in folders.items()},
                "kept": {
                    name: image
                    for name, image in zip(folders, images, strict=True)
                    if image and image["status"] not in TRIED_AGAIN
                },
            }
            text = json.dumps(content, sort_keys=True).encode()
            is_again = objects.create(f"again/{len(rounds) + 1:04d}.json", text)
        self.record_message(request.job_id, message_id)
        return is_again

    def record_message(self, job_id: str, message_id: str) -> None:
        """Record a message of a request, or of another one that came under its name."""
        self._objects(job_id).create(f"messages/{message_id}", b"\n")

    def has_message(self, job_id: str, message_id: str) -> bool:
        """Return True if a message of a request was recorded."""
        objects = self._objects(job_id)
        if objects.exists(f"messages/{message_id}"):
            return True
        records = (json.loads(objects.read(n) or b"{}") for n in objects.names("again/"))
        return any(record.get("message") == message_id for record in records)

    def round(self, job_id: str) -> "RequestRound":
        """Return the present round of a request."""
        objects = self._objects(job_id)
        names = objects.names("again/")
        record = json.loads(objects.read(names[-1]) or b"{}") if names else {}
        return RequestRound(
            number=len(names),
            job_rounds=record.get("rounds", {}),
            kept_ends=record.get("kept", {}),
        )

    def begin_round(self, job_id: str) -> "RequestRound":
        """Let the jobs of a request run their failed tiles, once; return the present round."""
        present = self.round(job_id)
        for name in present.job_rounds.keys() - present.kept_ends.keys():
            folder = JobFolder.at(self.store, name)
            if folder.n_rounds == present.job_rounds[name] and folder.request() is not None:
                begin_retry_round(folder)
        return present

    def begin_attempt(self, job_id: str, owner: str) -> "AttemptCounts":
        """Record that *owner* begins an attempt, and return the counts before it."""
        objects, place = self._objects(job_id), self._place(job_id)
        counts = AttemptCounts.of(objects, place)
        objects.create(
            f"begun/{counts.n:04d}-{owner}.json", json.dumps({"owner": owner, **place}).encode()
        )
        return counts

    def record_failure(self, job_id: str, owner: str, reason: str) -> "AttemptCounts":
        """Record a failed attempt of *owner*, and return the counts after it."""
        objects, place = self._objects(job_id), self._place(job_id)
        number = len(objects.names("failed/"))
        record = {"owner": owner, **place, "why": reason}
        objects.create(f"failed/{number:04d}-{owner}.json", json.dumps(record).encode())
        return AttemptCounts.of(objects, place)

    def record_release(self, job_id: str, owner: str) -> None:
        """Record that *owner* stopped its attempt for another listener to continue."""
        objects = self._objects(job_id)
        number = len(objects.names("left/"))
        record = {"owner": owner, **self._place(job_id)}
        objects.create(f"left/{number:04d}-{owner}.json", json.dumps(record).encode())

    def record_end(self, job_id: str, record: Mapping[str, Any]) -> None:
        """Record the final status of a request in its present round; the first writer wins."""
        content = json.dumps(dict(record), sort_keys=True).encode()
        number = self.round(job_id).number
        self._objects(job_id).create(_numbered("ended", number), content)
        if self._detached.exists(f"{_detached(job_id, number)}.json"):
            self._detached.create(f"{_detached(job_id, number)}.ended", b"\n")

    def end_record(self, job_id: str) -> dict[str, Any] | None:
        """Return the record of the end of a request's present round; None before it."""
        return self._end_record(job_id, self.round(job_id).number)

    def _end_record(self, job_id: str, number: int) -> dict[str, Any] | None:
        content = self._objects(job_id).read(_numbered("ended", number))
        return None if content is None else dict(json.loads(content))

    def detach(self, job_id: str) -> None:
        """Let any listener continue a request whose message will be deleted."""
        self._detached.create(f"{_detached(job_id, self.round(job_id).number)}.json", b"{}")

    def detached_names(self) -> list[str]:
        """Return the names of the requests without a message that have not ended."""
        files = self._detached.names("")
        ended = {name.removesuffix(".ended") for name in files if name.endswith(".ended")}
        names = [name.removesuffix(".json") for name in files if name.endswith(".json")]
        return [name.partition("~")[0] for name in names if name not in ended]

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

    def _place(self, job_id: str) -> dict[str, int]:
        """Return how far a request has come: its round, and committed regions of all images."""
        accepted = self.request(job_id)
        names = accepted[0].job_ids if accepted else (job_id,)
        n_committed = sum(len(JobFolder.at(self.store, name).part_names()) for name in names)
        return {"committed": n_committed, "round": self.round(job_id).number}


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number}.json" if number else f"{name}.json"


def _detached(job_id: str, number: int) -> str:
    return f"{job_id}~{number}" if number else job_id


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRound:
    """A run of a request: the first, or one of what failed before."""

    number: int
    """0 for the first."""
    job_rounds: Mapping[str, int]
    """Retry rounds of each of its jobs when it began; empty for the first."""
    kept_ends: Mapping[str, Mapping[str, Any]]
    """Ends of its jobs that are not run again, by name."""


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
    def of(cls, objects: ObjectStore, place: Mapping[str, int]) -> "AttemptCounts":
        """Count the attempts in a request's folder.

        Parameters
        ----------
        objects
            Folder of the request.
        place
            Round and committed regions now; attempts at another place count for `n` only.
        """
        records = {
            kind: [json.loads(objects.read(name) or b"{}") for name in objects.names(f"{kind}/")]
            for kind in ("begun", "failed", "left")
        }
        recent = {
            kind: [r for r in all_records if {name: r.get(name, 0) for name in place} == place]
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
