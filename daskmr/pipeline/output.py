"""Where a job's results go: checked before the work, written after it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from daskmr.core.report import Delivery
from daskmr.errors import RequestError, SinkError
from daskmr.sinks import STREAMS, sink, write
from daskmr.sinks.base import Provenance, Rows, Stream
from daskmr.store.places import place


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A folder or ``s3://`` URL, and the formats that are written there."""

    url: str
    """Absolute path of a folder, or ``s3://bucket/prefix``."""
    formats: Sequence[str]
    """Names of sinks, at least one."""

    @classmethod
    def at(cls, out: str, formats: Sequence[str]) -> Self:
        """The output at a place that can be written.

        Raises
        ------
        UnknownNameError
            When a format is not in the table of sinks.
        SinkError
            When the place cannot be written.
        """
        if not formats:
            msg = "formats: name at least one format to write"
            raise RequestError(msg)
        for name in formats:
            sink(name)
        if "://" in out:
            return cls(url=out.rstrip("/"), formats=tuple(formats))
        folder = Path(out).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".daskmr-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            msg = f"{out}: cannot write results here: {error}"
            raise SinkError(msg) from error
        return cls(url=str(folder), formats=tuple(formats))

    @property
    def is_remote(self) -> bool:
        """Whether the place is an object store."""
        return "://" in self.url

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.url

    @property
    def said(self) -> dict[str, Any]:
        """Plain JSON values that `destination` makes it of again."""
        return {"type": "Files", "url": self.url, "formats": list(self.formats)}

    def deliver(self, rows: Rows, coverage: Path, provenance: Provenance) -> Delivery:
        """Write every format, and the map of tiles; each appears whole or not at all.

        Raises
        ------
        SinkError, StoreError
            When one could not be written.
        """
        outputs = self.write(rows, provenance)
        outputs.append(self.put(coverage, f"{provenance.job_id}.coverage.geojson"))
        return Delivery(to=self.name, is_done=True, outputs=outputs)

    def write(self, features: Any, provenance: Provenance) -> list[str]:
        """Write every format; each appears whole or not at all."""
        return write(features, self.url, self.formats, provenance=provenance)

    def put(self, path: Path, name: str) -> str:
        """Put a file beside the results, whole or not at all; its path or URL."""
        return place(self.url).put(name, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOutput:
    """A stream that gets every feature."""

    stream: Stream
    """Which one."""
    said: dict[str, Any]
    """Plain JSON values that `destination` makes it of again."""

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.stream.name

    def deliver(self, rows: Rows, _coverage: Path, provenance: Provenance) -> Delivery:
        """Send all features.

        Raises
        ------
        SinkError
            When some could not be sent.
        """
        sent = self.stream.send(rows, provenance)
        return Delivery(
            to=self.name, is_done=True,
            n_sent=sent.n_sent, n_retried=sent.n_retried, n_spilled=sent.n_spilled,
        )  # fmt: skip


Destination = Output | StreamOutput
"""A place where results are asked for."""


def destination(said: Mapping[str, Any], formats: Sequence[str]) -> Destination:
    """A place where results go, from plain JSON values as in Model Runner's ``outputs``.

    Parameters
    ----------
    said
        ``type`` is ``S3`` (``bucket``, ``prefix``), ``Kinesis`` (``stream``, ``batchSize``,
        ``assumedRole``), or ``Files`` (``url``, ``formats``).
    formats
        Of files that say none.

    Raises
    ------
    RequestError
        When it is none of these, or an option is wrong.
    """
    fields = dict(said)
    kind = fields.pop("type", None)
    if kind == "Files":
        return Output.at(fields["url"], fields.get("formats") or formats)
    if kind == "S3":
        url = f"s3://{fields['bucket']}/{str(fields.get('prefix') or '').strip('/')}"
        return Output.at(url.rstrip("/"), formats)
    if kind == "Kinesis":
        role = fields.pop("assumedRole", None) or fields.pop("role", None) or ""
        given = {name: value for name, value in fields.items() if value is not None}
        return StreamOutput(
            stream=STREAMS.build("kinesis", {**given, "role": role}), said=dict(said)
        )
    msg = f"outputs: type {kind!r} is none of Files, Kinesis, S3"
    raise RequestError(msg)
