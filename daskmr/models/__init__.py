"""Built-in models, selected by name: models for tests and demonstrations, and one detector.

`build` creates a model from its name and options; `server` serves the models over HTTP.
"""

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
"""Models by name; other packages register theirs in the entry-point group ``daskmr.model``."""

_SERVER_ATTRIBUTES = frozenset({"model_selection", "mock_latency_mean", "mock_latency_std"})


def build(name: str, attributes: str | Mapping[str, object] = "") -> Model:
    """Return a built-in model by name, with options.

    Parameters
    ----------
    name
        One of `MODELS`.
    attributes
        Options, or Model Runner's custom attributes (``flood_volume=50,seed=7``). Attributes for a
        model server are ignored.

    Raises
    ------
    RequestError
        When the name or an option is unknown, or a value is not of its type.
    """
    fields = parse_attributes(attributes) if isinstance(attributes, str) else attributes
    options = {key: value for key, value in fields.items() if key not in _SERVER_ATTRIBUTES}
    return MODELS.build(name, options)


def parse_attributes(text: str) -> dict[str, str]:
    """Return custom attributes as a dict.

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
