"""Where a job's results go: checked before the work, written after it."""

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from daskmr import aws
from daskmr.arns import s3_url, stream_name
from daskmr.aws import OURSELVES, Identity
from daskmr.aws.policies import writing
from daskmr.configuration import configuration
from daskmr.core.report import Delivery
from daskmr.errors import (
    DaskmrError,
    EndpointError,
    RequestError,
    SinkError,
    UnreachableError,
)
from daskmr.sinks import STREAMS, sink, upload, write, write_error
from daskmr.sinks.base import Provenance, Rows, Stream
from daskmr.store.object_store import object_store
from daskmr.store.scratch import scratch_folder

_CHUNK = 2**20
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A folder or ``s3://`` URL, and the formats that are written there."""

    url: str
    """Absolute path of a folder, or ``s3://bucket/prefix``."""
    formats: Sequence[str]
    """Names of sinks, at least one."""
    identity: Identity = OURSELVES
    """Identity that writes to S3."""
    is_awaited: bool = False
    """True if an output that is away is an `UnreachableError`: its results are written later."""

    @classmethod
    def at(cls, out: str, formats: Sequence[str], *, identity: Identity = OURSELVES) -> Self:
        """Return the output at a place that can be written.

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
        out = _checked(s3_url, out, "out")
        if "://" in out:
            return cls(url=out.rstrip("/"), formats=tuple(formats), identity=identity)
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
        """Name in reports."""
        return self.url

    def files(self, job_id: str) -> list[str]:
        """Return the names of the files that a job writes here."""
        return [*(f"{job_id}{sink(name).suffix}" for name in self.formats), _coverage_name(job_id)]

    @property
    def document(self) -> dict[str, Any]:
        """The output as plain JSON values, which `destination` reads."""
        document: dict[str, Any] = {"type": "Files", "url": self.url, "formats": list(self.formats)}
        if self.identity.role:
            who = self.identity
            document |= {"role": who.role, "externalId": who.external_id, "session": who.session}
        return document

    def deliver(self, rows: Rows, coverage: Path, provenance: Provenance) -> Delivery:
        """Write every format, and the map of tiles; each appears whole or not at all.

        Raises
        ------
        SinkError, StoreError
            When one could not be written.
        UnreachableError
            When the output is away, and awaited.
        """
        map_name = _coverage_name(provenance.job_id)
        if not self.is_remote:
            outputs = write(rows, self.url, self.formats, provenance=provenance)
            outputs.append(object_store(self.url).put(map_name, coverage))
            files = {Path(path).name: digest(Path(path)) for path in outputs}
            return Delivery(to=self.name, is_done=True, outputs=outputs, files=files)
        with scratch_folder() as scratch:
            made = write(rows, str(scratch), self.formats, provenance=provenance)
            local = {Path(path).name: Path(path) for path in made} | {map_name: coverage}
            files = {name: digest(path) for name, path in local.items()}
            outputs = [self._put(path, name) for name, path in local.items()]
        return Delivery(to=self.name, is_done=True, outputs=outputs, files=files)

    def _put(self, path: Path, name: str) -> str:
        """Copy a file to an object store; it appears whole or not at all."""
        url = f"{self.url}/{name}"
        if not url.startswith("s3://"):
            upload(path, url)
            return url
        options = _upload_options()
        try:
            with aws.translate_errors(url):
                aws.upload(path, url, identity=self.identity, options=options)
        except (DaskmrError, OSError, ValueError) as error:
            if self.is_awaited and isinstance(error, EndpointError) and error.may_pass:
                raise UnreachableError(str(error), reason=error.reason) from error
            raise write_error(url, error) from error
        return url


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOutput:
    """A stream that gets every feature."""

    stream: Stream
    """The stream."""
    document: dict[str, Any]
    """The output as plain JSON values, which `destination` reads."""
    is_awaited: bool = False
    """True if a stream that is away is an `UnreachableError`: its results are sent later."""

    @property
    def name(self) -> str:
        """Name in reports."""
        return self.stream.name

    def deliver(self, rows: Rows, _coverage: Path, provenance: Provenance) -> Delivery:
        """Send all features.

        Raises
        ------
        SinkError
            When some could not be sent.
        UnreachableError
            When the stream is away, and awaited.
        """
        try:
            sent = self.stream.send(rows, provenance)
        except SinkError as error:
            cause = error.__cause__
            if self.is_awaited and isinstance(cause, EndpointError) and cause.may_pass:
                raise UnreachableError(str(error), reason=cause.reason) from error
            raise
        return Delivery(
            to=self.name, is_done=True,
            n_sent=sent.n_sent, n_retried=sent.n_retried, n_spilled=sent.n_spilled,
        )  # fmt: skip


Destination = Output | StreamOutput
"""A folder, bucket or stream that results are written to."""


def destination(document: Mapping[str, Any], formats: Sequence[str]) -> Destination:
    """Return a place where results go, from plain JSON values as in Model Runner's ``outputs``.

    Parameters
    ----------
    document
        ``type`` is ``S3`` (``bucket``, ``prefix``), ``Files`` (``url``, ``formats``), or the name
        of a stream in upper or lower case, such as ``Kinesis`` (``stream``, ``batchSize``), with
        its options. All take ``assumedRole`` (or ``role``), ``externalId`` and ``session``.
    formats
        Of files that say none.

    Raises
    ------
    RequestError
        When it is none of these, or an option is wrong.
    """
    fields = dict(document)
    kind = fields.pop("type", None)
    roles = [fields.pop(name, None) for name in ("assumedRole", "role")]
    role = {
        "role": roles[0] or roles[1] or "",
        "external_id": fields.pop("externalId", None) or "",
        "session": fields.pop("session", None) or "daskmr",
    }
    if kind == "Files":
        bucket, _, prefix = fields["url"].removeprefix("s3://").partition("/")
        who = _writer({"bucket": bucket, "prefix": prefix}, role)
        return Output.at(fields["url"], fields.get("formats") or formats, identity=who)
    if kind == "S3":
        return _in_bucket(fields, formats, role)
    options = {name: value for name, value in fields.items() if value is not None}
    if "stream" in options:
        plain = _checked(stream_name, str(options["stream"]), "outputs: stream")
        options |= {"stream": plain.name} | ({"region": plain.region} if plain.region else {})
    stream = STREAMS.build(_stream_name(kind), options | (role if role["role"] else {}))
    return StreamOutput(stream=stream, document=dict(document))


def _in_bucket(
    fields: Mapping[str, Any], formats: Sequence[str], role: Mapping[str, str]
) -> Output:
    """Return the output of a bucket and a prefix; the bucket may be an ARN with one of its own."""
    bucket = _checked(s3_url, str(fields["bucket"]), "outputs: bucket").removeprefix("s3://")
    path = f"{bucket.rstrip('/')}/{str(fields.get('prefix') or '').strip('/')}".rstrip("/")
    name, _, prefix = path.partition("/")
    who = _writer({"bucket": name, "prefix": prefix}, role)
    return Output.at(f"s3://{path}", formats, identity=who)


def _checked(read: Callable[[str], T], text: str, field: str) -> T:
    """Return what a function reads from text; what it refuses is a RequestError of a field."""
    try:
        return read(text)
    except ValueError as error:
        msg = f"{field}: {error}"
        raise RequestError(msg) from None


def place_beside(outputs: Sequence[Destination]) -> str | None:
    """Return where the state of a job is kept beside its results; None where it cannot be."""
    for output in outputs:
        if isinstance(output, Output) and not output.identity.role:
            is_known = not output.is_remote or output.url.startswith("s3://")
            return f"{output.url}/.daskmr" if is_known else None
    return None


def _stream_name(kind: object) -> str:
    """Return the name in the table of streams of a ``type``."""
    names = {name.lower(): name for name in STREAMS.names()}
    if str(kind).lower() not in names:
        known = ", ".join(["Files", "S3", *map(str.capitalize, names)])
        msg = f"outputs: type {kind!r} is none of {known}"
        raise RequestError(msg)
    return names[str(kind).lower()]


def _coverage_name(job_id: str) -> str:
    """Return the name of the map of a job's tiles."""
    return f"{job_id}.coverage.geojson"


def digest(path: Path) -> dict[str, Any]:
    """Return length and SHA-256 of a file."""
    sha, n_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            n_bytes += len(chunk)
    return {"sha256": sha.hexdigest(), "bytes": n_bytes}


def _writer(fields: Mapping[str, Any], who: Mapping[str, str]) -> Identity:
    """Return the identity that may write below a prefix of a bucket."""
    if not who["role"]:
        return OURSELVES
    policy = writing(who["role"], str(fields["bucket"]), str(fields.get("prefix") or ""))
    return Identity(**who, policy=policy)


def _upload_options() -> dict[str, str]:
    """Return the site's parameters of PutObject."""
    return configuration().s3_upload
