"""The protocol of built-in models, and the features of their answers."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from daskmr.core.imagery import Pixels


class Model(Protocol):
    """A model that runs in this process: pixels in, GeoJSON out.

    Frozen plain data (see `daskmr.registry.plugin`), its fields are its options.
    """

    thread_safe: ClassVar[bool]
    """True if many threads may call `detect` of one instance at once."""

    def detect(self, pixels: Pixels) -> object:
        """Return an answer that `daskmr.decode.answers.decode` reads, such as a FeatureCollection.

        Parameters
        ----------
        pixels
            Shape (band, y, x), any real or complex dtype.

        Raises
        ------
        ModelFault
            When the model answers with an HTTP error; see its status.
        """


class ModelFault(Exception):  # noqa: N818  an answer of the model, not an error of this program
    """A model has refused one tile, or failed on it.

    Parameters
    ----------
    status
        HTTP status that a server of the model answers with.
    message
        Description of the failure.
    """

    def __init__(self, status: int, message: str = "the model failed") -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.message}"


def feature_collection(properties: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a FeatureCollection in Model Runner's form: shapes are properties, in tile pixels."""
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": None, "properties": fields} for fields in properties
        ],
    }


def feature_class(iri: str, score: float) -> list[dict[str, Any]]:
    """Return `featureClasses` of one class."""
    return [{"iri": iri, "score": score}]
