"""Where a job's results go: checked before the work, written after it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from daskmr.errors import RequestError, SinkError
from daskmr.sinks import sink, write
from daskmr.sinks.base import Provenance
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

    def write(self, features: Any, provenance: Provenance) -> list[str]:
        """Write every format; each appears whole or not at all."""
        return write(features, self.url, self.formats, provenance=provenance)

    def put(self, path: Path, name: str) -> str:
        """Put a file beside the results, whole or not at all; its path or URL."""
        return place(self.url).put(name, path)
