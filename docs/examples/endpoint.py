"""An endpoint of another kind: it answers every tile from a file."""

from pathlib import Path

from daskmr.core.wire import Answer
from daskmr.errors import PermanentError, UnreachableError
from daskmr.registry import plugin


@plugin
class FolderEndpoint:
    """A model that has answered everything already."""

    endpoint: str
    """Folder of ``answer.json``, on every worker: what follows ``folder://`` in the address."""
    concurrency: int = 4
    """Calls that the whole cluster may have in flight."""

    @property
    def name(self) -> str:
        """For messages and reports; never a secret."""
        return f"folder {self.endpoint}"

    @property
    def max_payload_bytes(self) -> int | None:
        """No limit is known."""
        return None

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """Return one attempt; the class of an error tells whether another one can help."""
        try:
            body = Path(self.endpoint, "answer.json").read_bytes()
        except OSError as error:
            msg = f"{self.name}: {error}"
            raise PermanentError(msg, reason="NO_ANSWER") from error
        return Answer(body, "application/json")

    async def check(self) -> None:
        """Refuse an address where nothing answers, before any tile is sent."""
        if not Path(self.endpoint).is_dir():
            msg = f"{self.name}: no such folder"
            raise UnreachableError(msg, reason="CONNECT")
