"""What the service keeps of requests, beside their jobs: enough for any listener to go on.

::

    STORE/requests/JOB/request.json        created once: the request as it was accepted
                       begun/NNNN.json     created once each: somebody set about it
                       failed/NNNN.json    created once each: why that came to nothing
                       left/NNNN.json      created once each: it was left in good order
                       ended.json          created once: how it ended
                       outbox/*            events of what never became a job
    STORE/handed/JOB.json                  created once: its message is gone, any listener goes on
                 JOB.ended                 created once: nobody needs to any more
    STORE/unsaid/HASH.json                 created once: where events are that nobody has heard yet
                 HASH.said                 created once: by now somebody has
    STORE/rejected/HASH/message            created once: the body of a message that was refused
                        outbox/*           events of it
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskmr.core.request import ImageRequest
from daskmr.errors import ConflictError
from daskmr.store import JobFolder
from daskmr.store.places import Place, place

FAILURES, DEATHS = 3, 10
"""Attempts that fail, and that nobody lives to tell of, without a new region, until it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The requests of a store."""

    store: str
    """Folder or ``s3://`` URL."""

    def accept(self, request: ImageRequest, *, asked_at: float) -> bool:
        """Keep a request; True when it was there already.

        Raises
        ------
        ConflictError
            When another request has taken its name.
        StoreError
            When it cannot be kept.
        """
        said = {"request": json.loads(request.to_json()), "askedAt": asked_at}
        where = self._of(request.job_id)
        if where.create("request.json", json.dumps(said, sort_keys=True).encode()):
            return False
        before = json.loads(where.read("request.json") or b"{}").get("request", {})
        other = sorted(
            name
            for name in {*before, *said["request"]}
            if before.get(name) != said["request"].get(name)
        )
        if other:
            msg = f"jobId: {request.job_id!r} is taken by another request ({', '.join(other)})"
            raise ConflictError(msg)
        return True

    def request(self, job_id: str) -> tuple[ImageRequest, float] | None:
        """A request that was accepted, and when it was asked for; None when there is none."""
        content = self._of(job_id).read("request.json")
        if content is None:
            return None
        said = json.loads(content)
        return ImageRequest.from_json(said["request"]), float(said["askedAt"])

    def begin(self, job_id: str, owner: str) -> "Attempts":
        """Somebody sets about a request; what became of the attempts before."""
        where = self._of(job_id)
        committed = self._n_committed(job_id)
        found = Attempts.of(where, committed)
        where.create(
            f"begun/{found.n:04d}-{owner}.json",
            json.dumps({"owner": owner, "committed": committed}).encode(),
        )
        return found

    def fail(self, job_id: str, owner: str, why: str) -> "Attempts":
        """An attempt came to nothing; what became of all of them."""
        where = self._of(job_id)
        committed = self._n_committed(job_id)
        number = len(where.names("failed/"))
        said = {"owner": owner, "committed": committed, "why": why}
        where.create(f"failed/{number:04d}-{owner}.json", json.dumps(said).encode())
        return Attempts.of(where, committed)

    def leave(self, job_id: str, owner: str) -> None:
        """Whoever set about a request leaves it in good order."""
        where = self._of(job_id)
        number = len(where.names("left/"))
        said = {"owner": owner, "committed": self._n_committed(job_id)}
        where.create(f"left/{number:04d}-{owner}.json", json.dumps(said).encode())

    def end(self, job_id: str, said: Mapping[str, Any]) -> None:
        """A request has come to its end; the first word stands."""
        self._of(job_id).create("ended.json", json.dumps(dict(said), sort_keys=True).encode())
        if self._handed.exists(f"{job_id}.json"):
            self._handed.create(f"{job_id}.ended", b"\n")

    def ended(self, job_id: str) -> dict[str, Any] | None:
        """How a request ended; None when it has not."""
        content = self._of(job_id).read("ended.json")
        return None if content is None else dict(json.loads(content))

    def hand_over(self, job_id: str) -> None:
        """From now on any listener may go on with a request without a message."""
        self._handed.create(f"{job_id}.json", b"{}")

    def handed(self) -> list[str]:
        """Requests without a message that have not ended."""
        names = self._handed.names("")
        over = {name.removesuffix(".ended") for name in names if name.endswith(".ended")}
        found = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [name for name in found if name not in over]

    def owe(self, url: str) -> None:
        """Events at a place are still to be said, by this process or by another."""
        content = json.dumps({"url": url}).encode()
        self._unsaid.create(f"{_hash(url.encode())}.json", content)

    def owed(self) -> list[str]:
        """Places whose events are still to be said."""
        names = self._unsaid.names("")
        over = {name.removesuffix(".said") for name in names if name.endswith(".said")}
        left = [n for n in names if n.endswith(".json") and n.removesuffix(".json") not in over]
        return [json.loads(self._unsaid.read(name) or b"{}")["url"] for name in left]

    def settle(self, url: str) -> None:
        """Events at a place were said."""
        self._unsaid.create(f"{_hash(url.encode())}.said", b"\n")

    def refuse(self, body: str) -> Place:
        """Keep the body of a message that is refused; where events of it are kept."""
        content = body.encode("utf-8", "surrogatepass")
        where = place(f"{self.store}/rejected/{_hash(content)}")
        where.create("message", content)
        return where

    def _of(self, job_id: str) -> Place:
        return place(f"{self.store}/requests/{job_id}")

    @property
    def _handed(self) -> Place:
        return place(f"{self.store}/handed")

    @property
    def _unsaid(self) -> Place:
        return place(f"{self.store}/unsaid")

    def _n_committed(self, job_id: str) -> int:
        """Regions that are there, of all images of a request."""
        found = self.request(job_id)
        names = found[0].job_ids if found else (job_id,)
        return sum(len(JobFolder.at(self.store, name).committed()) for name in names)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Attempts at a request since it last got on."""

    n: int
    """All that were begun, also before that."""
    deaths: int
    """Begun, and nobody has told of their end."""
    failures: int
    """That failed."""
    why: str = ""
    """How the last one failed."""

    @classmethod
    def of(cls, where: Place, committed: int) -> "Attempts":
        """Those that are kept in a folder, since so many regions were committed."""
        kept = {
            kind: [json.loads(where.read(name) or b"{}") for name in where.names(f"{kind}/")]
            for kind in ("begun", "failed", "left")
        }
        since = {
            kind: [said for said in all_said if said.get("committed") == committed]
            for kind, all_said in kept.items()
        }
        told = since["failed"]
        return cls(
            n=len(kept["begun"]),
            deaths=max(0, len(since["begun"]) - len(told) - len(since["left"])),
            failures=len(told),
            why=str(told[-1].get("why", "")) if told else "",
        )

    @property
    def are_too_many(self) -> bool:
        """Whether there is no sense in another one."""
        return self.failures >= FAILURES or self.deaths >= DEATHS
