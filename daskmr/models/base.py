"""What a built-in model is, and the words its answers are written in."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from daskmr.core.imagery import Pixels


class Model(Protocol):
    """A model that runs in this process: pixels in, GeoJSON out.

    Frozen plain data (see `daskmr.registry.plugin`), its fields are its options.
    """

    thread_safe: ClassVar[bool]
    """Whether many threads may call `detect` of one instance at once."""

    def detect(self, pixels: Pixels) -> object:
        """What `daskmr.decode.answers.decode` reads: a FeatureCollection, in tile pixels.

        Parameters
        ----------
        pixels
            Shape (band, y, x), any real or complex dtype.

        Raises
        ------
        ModelFault
            When the model answers with an HTTP error; see its status.
        """


class ModelFault(Exception):  # noqa: N818  the fault is the model's; it is answered, not a bug here
    """The model refuses or fails one tile.

    Parameters
    ----------
    status
        HTTP status that a server of the model answers with.
    message
        What went wrong.
    """

    def __init__(self, status: int, message: str = "the model failed") -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.message}"


def collection(properties: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A FeatureCollection in Model Runner's form: the shapes are properties, in tile pixels."""
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": None, "properties": said} for said in properties
        ],
    }


def classified(iri: str, score: float) -> list[dict[str, Any]]:
    """`featureClasses` of one class."""
    return [{"iri": iri, "score": score}]
