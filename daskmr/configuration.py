"""Settings of a site: keys of ``daskmr`` in `dask.config`, with their types and defaults.

``daskmr.yaml`` and ``daskmr-schema.yaml`` beside this module have Dask's form and are written by
``python -m daskmr.configuration``; a test compares them with `Configuration`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from daskmr.errors import RequestError
from daskmr.validation import Location, dotted, sentences

SECTION: Final = "daskmr"
"""Section of `dask.config`."""
_WIDTH = 96


def _to_key(name: str) -> str:
    return name.replace("_", "-")


def _mapping_of_mappings(value: Any) -> Any:
    """Let an entry without fields be null, as ``log:`` is in YAML."""
    if not isinstance(value, Mapping):
        return value
    return {str(name): {} if fields is None else fields for name, fields in value.items()}


_Options = Annotated[dict[str, dict[str, Any]], BeforeValidator(_mapping_of_mappings)]


class Configuration(BaseModel):
    """The settings, checked; an attribute is a key with ``_`` for ``-``."""

    model_config = ConfigDict(alias_generator=_to_key, populate_by_name=True, frozen=True)

    scheduler: str | None = Field(
        default=None,
        description="Address of the Dask scheduler, or KIND:NAME of a cluster, on which jobs run; "
        "null starts a cluster on this machine for each job.",
    )
    max_workers: int = Field(
        default=8,
        ge=1,
        description="Maximal number of workers of a cluster that is made for a job.",
    )
    keep_alive: float = Field(
        default=60.0,
        gt=0,
        description="Interval of the tasks that keep a cluster from ending as idle while a job "
        "runs on it, in seconds.",
    )
    worker_wait: float = Field(
        default=600.0,
        ge=0,
        description="Time that a job waits for a first or another worker, in seconds.",
    )
    progress: bool = Field(default=True, description="Show a progress bar in notebooks.")
    calls_per_region: int = Field(
        default=4,
        ge=1,
        description="Calls in flight that the listener expects of a region, to divide an endpoint "
        "among jobs.",
    )
    capacity_target_percentage: float = Field(
        default=1.0,
        description="Share of an endpoint's known capacity that is used; 1 is all of it.",
    )
    elevation: float | str | None = Field(
        default=None,
        description="Height of the ground, like the option elevation, of jobs without that option.",
    )
    geoid: str | None = Field(
        default=None, description="Raster of geoid heights, like the option geoid, for elevation."
    )
    status: _Options = Field(
        default_factory=dict,
        description="Channels of status events with their fields, such as {sns: {topic: ARN}}.",
    )
    region_status: bool = Field(
        default=False, description="Send an event at the end of each region, too."
    )
    request_headers: tuple[str, ...] = Field(
        default=(),
        description="Headers that a request may set beside Accept, Accept-Language and X-…",
    )
    auth: _Options = Field(
        default_factory=dict,
        description="Credentials by origin of an HTTP endpoint, such as "
        '{"https://model.example": {bearer: TOKEN}}; or username and password, or api-key and '
        "header.",
    )
    kinesis_spill: str | None = Field(
        default=None,
        description="s3:// URL for features that are too large for a Kinesis record; null: the "
        "listener's store, and no such features elsewhere.",
    )
    s3_upload: dict[str, str] = Field(
        default_factory=dict,
        description="Parameters of PutObject for results, such as {ACL: private}.",
    )


KEYS: Final = tuple(_to_key(name) for name in Configuration.model_fields)
"""All keys, in order."""


def key(name: str) -> str:
    """Return the full key of a setting, for `dask.config.set`.

    Examples
    --------
    >>> key("max_workers")
    'daskmr.max-workers'
    """
    if name not in Configuration.model_fields:
        raise KeyError(name)
    return f"{SECTION}.{_to_key(name)}"


def configuration() -> Configuration:
    """Return the settings of `dask.config` now.

    Raises
    ------
    RequestError
        Names every key whose value is of the wrong type or out of range, with simple values.
    """
    values = {name: value for name, value in _section().items() if name in KEYS}
    try:
        return Configuration.model_validate(values)
    except ValidationError as error:
        raise RequestError(
            *sentences(error, lambda place: f"{SECTION}.{dotted(place)}", shows_value=_is_plain)
        ) from None


def unknown_keys() -> Sequence[str]:
    """Return the keys of the section that no setting has."""
    return [name for name in _section() if name not in KEYS]


def _section() -> dict[str, Any]:
    import dask

    section = dask.config.get(SECTION, {})
    if not isinstance(section, Mapping):
        msg = f"{SECTION} of dask.config: {section!r} is not a mapping"
        raise RequestError(msg)
    return {_to_key(str(name)): value for name, value in section.items()}


def _is_plain(location: Location) -> bool:
    """Return whether a value may be shown; those in mappings may be secret."""
    return len(location) == 1 and location[0] != "auth"


def defaults_yaml() -> str:
    """Return the text of ``daskmr.yaml``: each key with its description and default."""
    import yaml

    lines = [f"{SECTION}:"]
    for name, value in _defaults().items():
        field = Configuration.model_fields[name.replace("-", "_")]
        text = fill(str(field.description), _WIDTH - 4, break_on_hyphens=False)
        lines += [f"  # {line}" for line in text.splitlines()]
        lines.append(f"  {yaml.safe_dump({name: value}).strip()}")
    return "\n".join(lines) + "\n"


def schema_yaml() -> str:
    """Return the text of ``daskmr-schema.yaml``: a JSON schema, as Dask's packages have them."""
    import yaml

    fields = Configuration.model_json_schema()["properties"]
    for field in fields.values():
        field.pop("title", None)
    schema = {
        "properties": {
            SECTION: {"type": "object", "additionalProperties": False, "properties": fields}
        }
    }
    return yaml.safe_dump(schema, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _defaults() -> dict[str, Any]:
    return Configuration().model_dump(mode="json", by_alias=True)


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "daskmr.yaml").write_text(defaults_yaml(), encoding="utf-8")
    (folder / "daskmr-schema.yaml").write_text(schema_yaml(), encoding="utf-8")
