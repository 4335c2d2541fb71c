"""Kinesis: one record for each feature; records that the stream throttles are sent again."""

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
from daskmr.configuration import configuration
from daskmr.errors import AuthError, EndpointError, PermanentError, SinkError
from daskmr.registry import plugin
from daskmr.sinks._features import features
from daskmr.sinks.base import Provenance, Rows, Sent

MAX_RECORDS, MAX_BYTES, MAX_RECORD_BYTES = 500, 5_242_880, 1_048_576
"""Limits of PutRecords: records and bytes of a call, bytes of a record, keys included."""
_PATIENCE_S, _MIN_PAUSE_S, _MAX_PAUSE_S = 120.0, 0.1, 5.0


def _spill() -> str:
    return configuration().kinesis_spill or ""


@plugin
class Kinesis:
    """Sends features to a stream, each a GeoJSON FeatureCollection of one, keyed by its id.

    Only records that the stream refuses are sent again, until none was accepted for two minutes. A
    feature may arrive twice, with the same id, if a response was lost.
    """

    stream: str
    """Name of the stream."""
    region: str | None = None
    """AWS region; None for the configured one."""
    role: str = ""
    """ARN of the role to assume; empty for the process's own credentials."""
    external_id: str = ""
    """External id of the role; empty for none."""
    session: str = "daskmr"
    """Session name of the role."""
    batch_size: Annotated[int, Field(ge=1)] = MAX_RECORDS
    """Maximal records of one call, at most 500."""
    spill: str = field(default_factory=_spill)
    """``s3://`` URL for features too large for a record; the record then points to the object. By
    default the setting ``daskmr.kinesis-spill``; empty for none."""

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"kinesis:{self.stream}"

    def send(self, rows: Rows, provenance: Provenance) -> Sent:
        """Send all features.

        Raises
        ------
        SinkError
            If features could not be sent; names their number.
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
                f"were not sent: {batch.last_error or 'they are larger than a record may be'}"
            )
            raise SinkError(msg)
        return total

    def _record(self, text: str) -> "_Record | None":
        """Return the record of a feature; None if it is too large and there is no spill."""
        key = str(json.loads(text[: text.index(',"geometry"')] + "}")["id"])
        data = _collection(text)
        if len(data) + len(key) <= MAX_RECORD_BYTES:
            return _Record(key, data)
        if not self.spill:
            return None
        pointer = {"type": "FeatureCollection", "features": [], "id": key}
        pointer["location"] = self._put(data)
        return _Record(key, json.dumps(pointer).encode(), is_pointer=True)

    def _put(self, data: bytes) -> str:
        """Upload a feature too large for a record, named by its hash, and return its URL."""
        parts = urlsplit(f"{self.spill.rstrip('/')}/{sha256(data).hexdigest()[:32]}.geojson")
        url = parts.geturl()
        try:
            with aws.translate_errors(url):
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
    last_error: str = ""

    def has_room(self, record: _Record) -> bool:
        """Return True if the record fits into the call."""
        max_records = min(self.sink.batch_size, MAX_RECORDS)
        n_bytes = sum(queued.n_bytes for queued in self.records)
        return len(self.records) < max_records and n_bytes + record.n_bytes <= MAX_BYTES

    def send(self) -> Sent:
        """Send the records, and again those that were refused."""
        remaining, self.records = self.records, []
        n, n_retried = len(remaining), 0
        pauses, deadline = _pauses(), time.monotonic() + _PATIENCE_S
        while remaining:
            refused = self._put_records(remaining)
            if len(refused) < len(remaining):
                pauses, deadline = _pauses(), time.monotonic() + _PATIENCE_S
            remaining = refused
            if remaining and time.monotonic() > deadline:
                break
            if remaining:
                n_retried += len(remaining)
                time.sleep(next(pauses))
        return Sent(n_sent=n - len(remaining), n_retried=n_retried, n_failed=len(remaining))

    def _put_records(self, records: list[_Record]) -> list[_Record]:
        """Send records and return those that were refused."""
        sink = self.sink
        identity = aws.Identity(
            role=sink.role,
            region=sink.region,
            external_id=sink.external_id,
            session=sink.session,
            policy=sending(sink.role, sink.stream) if sink.role else "",
        )
        try:
            with aws.translate_errors(self.sink.name):
                response: Any = aws.client("kinesis", identity).put_records(
                    StreamName=self.sink.stream,
                    Records=[{"Data": r.data, "PartitionKey": r.key} for r in records],
                )
        except (PermanentError, AuthError) as error:
            msg = f"{self.sink.name}: {error}"
            raise SinkError(msg) from error
        except EndpointError as error:
            self.last_error = str(error)
            return records
        results = zip(records, response["Records"], strict=True)
        refused = [(record, result) for record, result in results if result.get("ErrorCode")]
        if refused:
            result = refused[0][1]
            self.last_error = f"{result['ErrorCode']}: {result.get('ErrorMessage', '')}"
        return [record for record, _ in refused]


def _pauses() -> Iterator[float]:
    """Yield doubling pauses in seconds, with jitter; a new one begins with each accepted record."""
    pause_s = _MIN_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)
