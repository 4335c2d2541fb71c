"""Built-in models, picked by name: for trying a pipeline out, for tests, and one real detector."""

from collections.abc import Mapping

from daskmr.errors import RequestError
from daskmr.models.base import Model
from daskmr.registry import Registry

MODELS: Registry[Model] = Registry(
    kind="model",
    builtin={
        "blobs": "daskmr.models.blobs:Blobs",
        "centerpoint": "daskmr.models.centerpoint:Centerpoint",
        "failure": "daskmr.models.failure:Failure",
        "flood": "daskmr.models.flood:Flood",
    },
)
"""Models by name; other packages add theirs by the entry-point group ``daskmr.model``."""

_OF_THE_SERVER = frozenset({"model_selection", "mock_latency_mean", "mock_latency_std"})


def build(name: str, attributes: str | Mapping[str, object] = "") -> Model:
    """The model of a name with its options.

    Parameters
    ----------
    name
        One of `MODELS`.
    attributes
        Options, or Model Runner's custom attributes (``flood_volume=50,seed=7``). The attributes
        that speak to a model server are passed over.

    Raises
    ------
    RequestError
        When the name or an option is unknown, or a value is not of its type.
    """
    given = parse_attributes(attributes) if isinstance(attributes, str) else attributes
    options = {key: value for key, value in given.items() if key not in _OF_THE_SERVER}
    return MODELS.build(name, options)


def parse_attributes(text: str) -> dict[str, str]:
    """Custom attributes as a dict.

    Raises
    ------
    RequestError
        When a part has no ``=``.

    Examples
    --------
    >>> parse_attributes("model_selection=flood, flood_volume=50")
    {'model_selection': 'flood', 'flood_volume': '50'}
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [key for key, equals, _ in pairs if not equals or not key.strip()]
    if wrong:
        raise RequestError(*(f"custom attribute {part!r} is not of the form k=v" for part in wrong))
    return {key.strip(): value.strip() for key, _, value in pairs}
