"""Kinesis: one record for each feature, none lost when the stream takes only some of them."""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from daskmr import aws
from daskmr.aws.policies import sending
from daskmr.errors import AuthError, EndpointError, PermanentError, SinkError
from daskmr.registry import plugin
from daskmr.sinks._features import features
from daskmr.sinks.base import Provenance, Rows, Sent

MOST_RECORDS, MOST_BYTES, MOST_RECORD_BYTES = 500, 5_242_880, 1_048_576
"""Limits of PutRecords: records and bytes of a call, bytes of a record; keys count."""
_PATIENCE_S, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 120.0, 0.1, 5.0


@plugin
class Kinesis:
    """Sends features to a stream, each a GeoJSON FeatureCollection of one, keyed by its id.

    Records that the stream refuses are sent again, and no others, for two minutes without any
    being taken. A feature may come twice when an answer was lost: its id is the same.
    """

    stream: str
    """Name of the stream."""
    region: str | None = None
    """Its region; None for the configured one."""
    role: str = ""
    """ARN of a role to send with; empty for our own."""
    external_id: str = ""
    """What the role's owner asks for; empty for nothing."""
    session: str = "daskmr"
    """What the session of the role is called."""
    batch_size: Annotated[int, Field(ge=1)] = MOST_RECORDS
    """Most records in one call, at most 500."""
    spill: str = ""
    """``s3://`` URL for features that no record can hold; a record then points to each."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return f"kinesis:{self.stream}"

    def send(self, rows: Rows, provenance: Provenance) -> Sent:
        """Send all features.

        Raises
        ------
        SinkError
            When some could not be sent; says how many.
        """
        batch, total = _Batch(self), Sent()
        for text in features(rows, provenance):
            record = self._record(text)
            if record is None:
                total += Sent(n_failed=1)
                continue
            total += Sent(n_spilled=int(record.is_pointer))
            if not batch.has_room(record):
                total += batch.send()
            batch.records.append(record)
        total += batch.send()
        if total.n_failed:
            msg = (
                f"{self.name}: {total.n_failed:,} of {total.n_sent + total.n_failed:,} features "
                f"were not sent: {batch.trouble or 'they are larger than a record may be'}"
            )
            raise SinkError(msg)
        return total

    def _record(self, text: str) -> "_Record | None":
        """The record of a feature; None for one that is too large and cannot be spilled."""
        key = str(json.loads(text[: text.index(',"geometry"')] + "}")["id"])
        data = _collection(text)
        if len(data) + len(key) <= MOST_RECORD_BYTES:
            return _Record(key, data)
        if not self.spill:
            return None
        pointer = {"type": "FeatureCollection", "features": [], "id": key}
        pointer["location"] = self._put(data)
        return _Record(key, json.dumps(pointer).encode(), is_pointer=True)

    def _put(self, data: bytes) -> str:
        """Put what no record can hold into a bucket, under the name that its content gives it."""
        parts = urlsplit(f"{self.spill.rstrip('/')}/{sha256(data).hexdigest()[:32]}.geojson")
        url = parts.geturl()
        try:
            with aws.translated(url):
                aws.client("s3").put_object(
                    Bucket=parts.netloc, Key=parts.path.lstrip("/"), Body=data
                )
        except EndpointError as error:
            msg = f"{self.name}: {error}"
            raise SinkError(msg) from error
        return url


def _collection(text: str) -> bytes:
    return f'{{"type":"FeatureCollection","features":[{text}]}}'.encode()


@dataclass(frozen=True, slots=True)
class _Record:
    key: str
    data: bytes
    is_pointer: bool = False

    @property
    def n_bytes(self) -> int:
        return len(self.data) + len(self.key)


@dataclass
class _Batch:
    """Records of one call."""

    sink: Kinesis
    records: list[_Record] = field(default_factory=list)
    trouble: str = ""

    def has_room(self, record: _Record) -> bool:
        """Whether one more fits in."""
        n_most = min(self.sink.batch_size, MOST_RECORDS)
        n_bytes = sum(held.n_bytes for held in self.records)
        return len(self.records) < n_most and n_bytes + record.n_bytes <= MOST_BYTES

    def send(self) -> Sent:
        """Send what is held, and again what was refused of it."""
        left, self.records = self.records, []
        n, n_retried = len(left), 0
        pauses, deadline = _pauses(), time.monotonic() + _PATIENCE_S
        while left:
            refused = self._refused(left)
            if len(refused) < len(left):
                pauses, deadline = _pauses(), time.monotonic() + _PATIENCE_S
            left = refused
            if left and time.monotonic() > deadline:
                break
            if left:
                n_retried += len(left)
                time.sleep(next(pauses))
        return Sent(n_sent=n - len(left), n_retried=n_retried, n_failed=len(left))

    def _refused(self, records: list[_Record]) -> list[_Record]:
        """Send records; those that were not taken."""
        sink = self.sink
        identity = aws.Identity(
            role=sink.role,
            region=sink.region,
            external_id=sink.external_id,
            session=sink.session,
            policy=sending(sink.role, sink.stream) if sink.role else "",
        )
        try:
            with aws.translated(self.sink.name):
                answer: Any = aws.client("kinesis", identity).put_records(
                    StreamName=self.sink.stream,
                    Records=[{"Data": r.data, "PartitionKey": r.key} for r in records],
                )
        except (PermanentError, AuthError) as error:
            msg = f"{self.sink.name}: {error}"
            raise SinkError(msg) from error
        except EndpointError as error:
            self.trouble = str(error)
            return records
        told = zip(records, answer["Records"], strict=True)
        refused = [(record, said) for record, said in told if said.get("ErrorCode")]
        if refused:
            said = refused[0][1]
            self.trouble = f"{said['ErrorCode']}: {said.get('ErrorMessage', '')}"
        return [record for record, _ in refused]


def _pauses() -> Iterator[float]:
    """Growing pauses with jitter."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        pause = min(2 * pause, _LONGEST_PAUSE_S)
