"""What a model endpoint is: something that answers a tile with features."""

from typing import Any, Protocol, runtime_checkable

from daskmr.core.imagery import Pixels


@runtime_checkable
class Endpoint(Protocol):
    """A remote model: bytes in, bytes out, many calls in flight.

    Frozen plain data (see `daskmr.registry.plugin`); it opens its client on the worker, on first
    use, once for each process.
    """

    @property
    def name(self) -> str:
        """Address for messages and the report; never holds a secret."""

    @property
    def concurrency(self) -> int:
        """Calls that the whole cluster may have in flight."""

    async def invoke(self, payload: bytes, *, content_type: str) -> bytes:
        """One attempt at one tile, on the process's endpoint loop.

        Raises
        ------
        EndpointError
            Of the class that says whether a retry can help.
        """

    async def check(self) -> None:
        """Refuse an address where nothing answers; sends no tile.

        Raises
        ------
        UnreachableError, AuthError
        """


@runtime_checkable
class LocalModel(Protocol):
    """A model in the worker's own process: an array in, detections out, no encoding."""

    @property
    def name(self) -> str:
        """Name for messages and the report."""

    def detect(self, pixels: Pixels) -> Any:
        """Detections in one tile, in tile pixels, in any form `daskmr.decode.answers` reads.

        Parameters
        ----------
        pixels
            Shape (band, y, x), dtype of the image.

        Raises
        ------
        PermanentError
            When the model raised; the reason is ``MODEL_ERROR``.
        """
