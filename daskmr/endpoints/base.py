"""Protocols of model endpoints: a remote endpoint, a model in process, and what each may add.

`Endpoint` and `LocalModel` are required; the others are optional powers. A class has one by having
its members, nothing is registered::

    ControlPlane   resolves variants, reads the capacity from a control plane
    Refreshing     renews its credentials
    Closing        closes its client
    Batching       takes several tiles in one call
    PayloadHint    documents a payload limit that a deployment may lower
    Fleet          counts the instances that serve it
    Annotated      has remarks for the plan
"""

from typing import Any, Literal, Protocol, Self, runtime_checkable

from daskmr.core.imagery import Pixels
from daskmr.core.wire import Answer


@runtime_checkable
class Endpoint(Protocol):
    """A remote model: bytes in, bytes out, many calls in flight.

    Frozen plain data (see `daskmr.registry.plugin`); it opens its client on the worker, on first
    use, once for each process, and closes it in `Closing.close`.
    """

    @property
    def name(self) -> str:
        """Address for messages and the report; never holds a secret.

        Endpoints of one name share one capacity, whatever job they serve.
        """

    @property
    def concurrency(self) -> int | Literal["auto"]:
        """Maximum calls in flight of the whole cluster; ``auto``: as many as it can serve."""

    @property
    def max_payload_bytes(self) -> int | None:
        """Maximum bytes of one tile; None when there is no known limit."""

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """Send one tile once, on the process's endpoint loop.

        Raises
        ------
        EndpointError
            Of the class that says whether a retry can help.
        """

    async def check(self) -> None:
        """Raise unless the address accepts connections; sends no tile.

        Raises
        ------
        UnreachableError, AuthError
        """


@runtime_checkable
class ControlPlane(Protocol):
    """An endpoint with a control plane that knows its variants and capacity."""

    def resolved(self, *, key: str) -> Self:
        """Return the endpoint as one image of one job calls it; queries the control plane.

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
        """Return the calls it can serve at once now; None if unknown. Queries the control plane."""


@runtime_checkable
class Refreshing(Protocol):
    """An endpoint whose credentials can be renewed."""

    async def refresh(self) -> None:
        """Renew the credentials; called once by a call that was refused."""


@runtime_checkable
class Closing(Protocol):
    """An endpoint that holds a client to close."""

    async def close(self) -> None:
        """Close the client that `Endpoint.invoke` opened on the running loop.

        `daskmr.endpoints.caller` calls it once for each distinct endpoint, on the process's
        endpoint loop, after the last call and before the loop is closed. It must not raise when
        nothing was opened.
        """


@runtime_checkable
class Batching(Protocol):
    """An endpoint or model in process that may take several tiles in one call."""

    @property
    def max_batch(self) -> int:
        """Maximum tiles of one call, at least 1."""


@runtime_checkable
class PayloadHint(Protocol):
    """An endpoint of a kind with a documented payload limit."""

    @property
    def usual_payload_bytes(self) -> int:
        """Documented maximum bytes of one tile, for a warning of the plan; nothing enforces it."""


@runtime_checkable
class Fleet(Protocol):
    """An endpoint served by a number of instances."""

    def instances(self) -> int:
        """Return the number of instances, at least 1; queries the control plane."""


@runtime_checkable
class Annotated(Protocol):
    """An endpoint with remarks for the plan."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings that the plan shows, such as parameters that are left out."""


@runtime_checkable
class LocalModel(Protocol):
    """A model in the worker's own process: an array in, detections out, no encoding.

    One that is `Batching` also has ``detect_batch(tiles)``, which returns an answer, or the
    EndpointError, of each tile.
    """

    @property
    def name(self) -> str:
        """Name for messages and the report."""

    def detect(self, pixels: Pixels) -> Any:
        """Return the detections in one tile, in tile pixels.

        Parameters
        ----------
        pixels
            Shape (band, y, x), dtype of the image.

        Returns
        -------
        Any form that `daskmr.decode.answers.decode` reads.

        Raises
        ------
        PermanentError
            When the model raised; the reason is ``MODEL_ERROR``.
        """


def max_batch(model: Endpoint | LocalModel) -> int:
    """Return the maximum tiles of one call; 1 for a model that is not `Batching`."""
    return model.max_batch if isinstance(model, Batching) else 1
