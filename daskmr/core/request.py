"""Requests: Model Runner's ImageRequest JSON, parsed strictly, once.

Every documented field and legacy form is read, documented defaults are applied, and everything that
is wrong is told in one error that names each field.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel, to_snake

from daskmr.core.grid import Size
from daskmr.core.roi import parse_roi
from daskmr.errors import RequestError

MAX_BYTES = 256 * 2**10
"""Most bytes of a request."""
MAX_PROPERTIES_BYTES = 64 * 2**10
"""Most bytes of a request's own feature properties."""
MAX_TILE = 8192
"""Most pixels along a side of a tile."""
_MAX_DEPTH = 40
_JOB_ID = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$"
_TAGS = frozenset({"S3", "Kinesis"})
_ARN = r"^(arn:\S+)?$"


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _size(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [value]
    if isinstance(value, str | Size):
        return Size.parse(value)
    if not all(type(number) is int for number in numbers):
        msg = "not N, 'WIDTHxHEIGHT' or [width, height] in whole pixels"
        raise ValueError(msg)
    return Size.parse(tuple(numbers))


def _plain(size: Size) -> int | list[int]:
    return size.width if size.width == size.height else [size.width, size.height]


Pixels = Annotated[Size, BeforeValidator(_size), PlainSerializer(_plain)]
Arn = Annotated[str, Field(pattern=_ARN)]


class _Part(BaseModel):
    """A piece of a request: frozen, in camelCase or snake_case."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=AliasGenerator(alias=to_camel),
        populate_by_name=True,
        allow_inf_nan=False,
        str_max_length=MAX_BYTES,
    )


class Processor(_Part):
    """Which model answers."""

    name: Annotated[str, Field(min_length=1)]
    """SageMaker endpoint or URL."""
    type: Annotated[Literal["SM_ENDPOINT", "HTTP_ENDPOINT"], BeforeValidator(_upper)] = (
        "SM_ENDPOINT"
    )
    """How it is reached."""
    assumed_role: Arn = ""
    """Role to call it with."""

    @model_validator(mode="after")
    def _plain_name(self) -> Self:
        is_url = self.name.lower().startswith(("http://", "https://"))
        if self.type == "HTTP_ENDPOINT" and not is_url:
            msg = f"name {self.name!r} is not an http:// or https:// URL"
            raise ValueError(msg)
        if not is_url and ":" in self.name:
            msg = f"name {self.name!r} is neither a URL nor the name of an endpoint"
            raise ValueError(msg)
        return self


class S3Output(_Part):
    """Results as files in a bucket."""

    type: Literal["S3"]
    bucket: Annotated[str, Field(min_length=1)]
    prefix: str = ""
    role: Arn = ""
    assumed_role: Arn = ""


class KinesisOutput(_Part):
    """Results as records of a stream."""

    type: Literal["Kinesis"]
    stream: Annotated[str, Field(min_length=1)]
    batch_size: Annotated[int, Field(ge=1)] | None = None
    role: Arn = ""
    assumed_role: Arn = ""


Output = Annotated[S3Output | KinesisOutput, Field(discriminator="type")]


class Merging(_Part):
    """How duplicates are merged (``algorithm`` of a FEATURE_DISTILLATION step)."""

    algorithm_type: Annotated[Literal["NMS", "SOFT_NMS", "NONE"], BeforeValidator(_upper)] = "NMS"
    iou_threshold: Annotated[float, Field(ge=0, le=1)] = 0.75
    skip_box_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0001
    sigma: Annotated[float, Field(gt=0)] = 0.1


class Step(_Part):
    """One step of post-processing."""

    step: Annotated[Literal["FEATURE_DISTILLATION"], BeforeValidator(_upper)]
    algorithm: Merging = Merging()


class ImageRequest(_Part):
    """What to run on which images; the same document from Python, command line and queue."""

    job_id: Annotated[str, Field(pattern=_JOB_ID, max_length=128)]
    """Name of the job and of its results."""
    image_urls: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
    """Every one is processed."""
    image_read_role: Arn = ""
    """Role to read them with."""
    image_processor: Processor
    """Which model answers."""
    image_processor_parameters: dict[str, str | int | float | bool] = {}
    """Passed on to the model."""
    image_processor_tile_size: Pixels = Size.parse(1024)
    """Pixels of a tile."""
    image_processor_tile_overlap: Pixels = Size.parse(50)
    """Least pixels that neighbouring tiles share."""
    image_processor_tile_format: Annotated[
        Literal["NITF", "JPEG", "PNG", "GTIFF", "NPY"], BeforeValidator(_upper)
    ] = "NITF"
    """Format of the tiles."""
    image_processor_tile_compression: Annotated[
        Literal["NONE", "JPEG", "J2K", "LZW", "DEFLATE"], BeforeValidator(_upper)
    ] = "NONE"
    """Compression of the tiles."""
    region_of_interest: str | dict[str, Any] | None = None
    """WKT or a GeoJSON geometry, lon, lat."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=8)] = ()
    """Where results go."""
    feature_properties: tuple[dict[str, Any], ...] = ()
    """Merged into every feature, in this order."""
    post_processing: Annotated[tuple[Step, ...], Field(max_length=1)] = ()
    """At most one FEATURE_DISTILLATION; NMS without it."""
    warnings: Annotated[tuple[str, ...], Field(exclude=True, repr=False)] = ()
    """What was ignored."""

    @property
    def merging(self) -> Merging:
        """How duplicates are merged."""
        return self.post_processing[0].algorithm if self.post_processing else Merging()

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> Self:
        """The request of a JSON document.

        Raises
        ------
        RequestError
            One sentence for each bad field, with its path and value.
        """
        document = _document(text)
        try:
            return cls.model_validate(_current(document))
        except ValidationError as error:
            raise RequestError(*(_sentence(dict(e)) for e in error.errors())) from None

    def to_json(self) -> str:
        """The request in Model Runner's JSON."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    @field_validator("post_processing", "feature_properties", "outputs", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("region_of_interest")
    @classmethod
    def _area(cls, value: Any) -> Any:
        if value is not None:
            try:
                parse_roi(value)
            except RequestError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("feature_properties")
    @classmethod
    def _small(cls, value: Any) -> Any:
        n_bytes = len(json.dumps(value))
        if n_bytes > MAX_PROPERTIES_BYTES:
            msg = f"{n_bytes:,} bytes, more than {MAX_PROPERTIES_BYTES:,}"
            raise ValueError(msg)
        return value

    @field_validator("image_processor_tile_size")
    @classmethod
    def _tile_size(cls, size: Size) -> Size:
        if min(size.width, size.height) < 1 or max(size.width, size.height) > MAX_TILE:
            msg = f"not within 1 and {MAX_TILE} pixels"
            raise ValueError(msg)
        return size

    @model_validator(mode="after")
    def _tiles(self) -> Self:
        tile, overlap = self.image_processor_tile_size, self.image_processor_tile_overlap
        if overlap.width >= tile.width or overlap.height >= tile.height:
            msg = (
                f"imageProcessorTileOverlap {overlap} is not less than "
                f"imageProcessorTileSize {tile}"
            )
            raise ValueError(msg)
        return self


def _document(text: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(text, Mapping):
        return dict(text)
    if len(text) > MAX_BYTES:
        msg = f"request: {len(text):,} bytes, more than {MAX_BYTES:,}"
        raise RequestError(msg)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        too_deep = _depth(value) > _MAX_DEPTH
    except (ValueError, RecursionError) as error:
        msg = f"request: not JSON: {' '.join(str(error).split())[:200]}"
        raise RequestError(msg) from None
    if not isinstance(value, dict) or too_deep:
        what = f"nested deeper than {_MAX_DEPTH}" if too_deep else f"a {type(value).__name__}"
        msg = f"request: {what}, not a JSON object of an image request"
        raise RequestError(msg)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        msg = f"key {next(n for n in names if names.count(n) > 1)!r} stands twice"
        raise ValueError(msg)
    return found


def _no_constant(name: str) -> Any:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    level, depth = [value], 0
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    return depth


def _current(document: dict[str, Any]) -> dict[str, Any]:
    """The document in today's form: legacy fields renamed, what is ignored told as warnings."""
    fields = {to_snake(name): value for name, value in document.items()}
    warnings = []
    bucket, prefix = fields.pop("output_bucket", None), fields.pop("output_prefix", None)
    if bucket is not None or prefix is not None:
        if not bucket or prefix is None:
            msg = f"outputBucket: {bucket!r} and outputPrefix: {prefix!r} must be given together"
            raise RequestError(msg)
        legacy = {"type": "S3", "bucket": bucket, "prefix": prefix}
        fields["outputs"] = [*(fields.get("outputs") or []), legacy]
    parameters = fields.pop("image_processor_parameters", None)
    if isinstance(parameters, dict):
        fields["image_processor_parameters"] = parameters
    elif parameters is not None:
        warnings.append(f"imageProcessorParameters: {parameters!r} is no object and is ignored")
    known = {*ImageRequest.model_fields, "job_name"} - {"warnings"}
    unknown = sorted(set(fields) - known)
    warnings.extend(f"{to_camel(name)}: is not known and is ignored" for name in unknown)
    kept = {n: v for n, v in fields.items() if n in known and not (v is None and n != "job_id")}
    return {**kept, "warnings": tuple(warnings)}


def _sentence(error: dict[str, Any]) -> str:
    parts = [part for part in error["loc"] if part not in _TAGS]
    path = ".".join(to_camel(part) if isinstance(part, str) else str(part) for part in parts)
    message = str(error["msg"]).removeprefix("Value error, ")
    value = repr(error.get("input"))
    shown = value if len(value) <= 80 else f"{value[:77]}..."  # noqa: PLR2004
    if error["type"] == "missing":
        return f"{path}: is missing"
    if not path:
        return message
    return f"{path}: {shown}: {message}"
