"""What a model endpoint is: something that answers a tile with features."""

from typing import Any, Literal, Protocol, Self, runtime_checkable

from daskmr.core.imagery import Pixels
from daskmr.core.wire import Answer


@runtime_checkable
class Endpoint(Protocol):
    """A remote model: bytes in, bytes out, many calls in flight.

    Frozen plain data (see `daskmr.registry.plugin`); it opens its client on the worker, on first
    use, once for each process.
    """

    @property
    def name(self) -> str:
        """Address for messages and the report; never holds a secret.

        Endpoints of one name share one capacity, whatever job they serve.
        """

    @property
    def concurrency(self) -> int | Literal["auto"]:
        """Calls that the whole cluster may have in flight; ``auto``: found by asking or trying."""

    @property
    def max_payload_bytes(self) -> int | None:
        """Most bytes of one tile; None when there is no known limit."""

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
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
class ControlPlane(Protocol):
    """An endpoint that somebody can be asked about."""

    def resolved(self, *, key: str) -> Self:
        """The endpoint as one image of one job calls it; asks the control plane.

        Parameters
        ----------
        key
            Names the job and the image: the same key gives the same endpoint.

        Raises
        ------
        RequestError
            When there is no such endpoint or variant, or it is not in service.
        """

    def capacity(self) -> int | None:
        """Calls that it stands at present; None when nobody can say. Asks the control plane."""


@runtime_checkable
class Refreshing(Protocol):
    """An endpoint whose credentials can be renewed."""

    async def refresh(self) -> None:
        """Renew them; called once by a call that was refused."""


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
