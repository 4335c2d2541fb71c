"""Where a job's results go: checked before the work, written after it."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from daskmr import aws
from daskmr.aws import OURSELVES, Identity
from daskmr.aws.policies import writing
from daskmr.core.report import Delivery
from daskmr.errors import RequestError, SinkError
from daskmr.sinks import STREAMS, sink, write
from daskmr.sinks.base import Provenance, Rows, Stream
from daskmr.store.places import place

SPILL = "daskmr.kinesis-spill"
"""Setting of `dask.config`: ``s3://`` URL for features that no record of a stream can hold."""
UPLOADS = "daskmr.s3-upload"
"""Setting of `dask.config`: parameters of PutObject for results, such as ``ACL`` or
``ServerSideEncryption``."""
_CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A folder or ``s3://`` URL, and the formats that are written there."""

    url: str
    """Absolute path of a folder, or ``s3://bucket/prefix``."""
    formats: Sequence[str]
    """Names of sinks, at least one."""
    identity: Identity = OURSELVES
    """Who writes to S3."""

    @classmethod
    def at(cls, out: str, formats: Sequence[str], *, identity: Identity = OURSELVES) -> Self:
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
        """What it is called in reports."""
        return self.url

    @property
    def said(self) -> dict[str, Any]:
        """Plain JSON values that `destination` makes it of again."""
        said: dict[str, Any] = {"type": "Files", "url": self.url, "formats": list(self.formats)}
        if self.identity.role:
            who = self.identity
            said |= {"role": who.role, "externalId": who.external_id, "session": who.session}
        return said

    def deliver(self, rows: Rows, coverage: Path, provenance: Provenance) -> Delivery:
        """Write every format, and the map of tiles; each appears whole or not at all.

        Raises
        ------
        SinkError, StoreError
            When one could not be written.
        """
        map_name = f"{provenance.job_id}.coverage.geojson"
        if not self.is_remote:
            outputs = write(rows, self.url, self.formats, provenance=provenance)
            outputs.append(place(self.url).put(map_name, coverage))
            files = {Path(path).name: digest(Path(path)) for path in outputs}
            return Delivery(to=self.name, is_done=True, outputs=outputs, files=files)
        with TemporaryDirectory(prefix="daskmr-") as scratch:
            made = write(rows, scratch, self.formats, provenance=provenance)
            local = {Path(path).name: Path(path) for path in made} | {map_name: coverage}
            files = {name: digest(path) for name, path in local.items()}
            outputs = [self._put(path, name) for name, path in local.items()]
        return Delivery(to=self.name, is_done=True, outputs=outputs, files=files)

    def _put(self, path: Path, name: str) -> str:
        """Copy a file to an object store; it appears whole or not at all."""
        url = f"{self.url}/{name}"
        try:
            if not url.startswith("s3://"):
                import fsspec

                fs, where = fsspec.core.url_to_fs(url)
                fs.put_file(str(path), where)
            else:
                options = _upload_options()
                with aws.translated(url):
                    aws.upload(path, url, identity=self.identity, options=options)
        except Exception as error:
            msg = f"{url}: cannot be written: {type(error).__name__}: {error}"
            raise SinkError(msg) from error
        return url


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
        ``type`` is ``S3`` (``bucket``, ``prefix``), ``Kinesis`` (``stream``, ``batchSize``), or
        ``Files`` (``url``, ``formats``). The first two take ``assumedRole`` (or ``role``),
        ``externalId`` and ``session``.
    formats
        Of files that say none.

    Raises
    ------
    RequestError
        When it is none of these, or an option is wrong.
    """
    fields = dict(said)
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
        url = f"s3://{fields['bucket']}/{str(fields.get('prefix') or '').strip('/')}"
        return Output.at(url.rstrip("/"), formats, identity=_writer(fields, role))
    if kind == "Kinesis":
        import dask

        large = {"spill": dask.config.get(SPILL, "")}
        given = large | {name: value for name, value in fields.items() if value is not None}
        return StreamOutput(stream=STREAMS.build("kinesis", {**given, **role}), said=dict(said))
    msg = f"outputs: type {kind!r} is none of Files, Kinesis, S3"
    raise RequestError(msg)


def digest(path: Path) -> dict[str, Any]:
    """Length and SHA-256 of a file."""
    sha, n_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            n_bytes += len(chunk)
    return {"sha256": sha.hexdigest(), "bytes": n_bytes}


def _writer(fields: Mapping[str, Any], who: Mapping[str, str]) -> Identity:
    """Who writes below a prefix of a bucket."""
    if not who["role"]:
        return OURSELVES
    policy = writing(who["role"], str(fields["bucket"]), str(fields.get("prefix") or ""))
    return Identity(**who, policy=policy)


def _upload_options() -> dict[str, str]:
    """What the deployment wants of each object that is written."""
    import dask

    return {str(name): str(value) for name, value in dask.config.get(UPLOADS, {}).items()}
