"""Requests: Model Runner's ImageRequest JSON, parsed strictly, once.

Every documented field and legacy form is read, documented defaults are applied, and everything that
is wrong is told in one error that names each field.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from daskmr.core._document import document
from daskmr.core._request_parts import (
    Arn,
    Filled,
    KinesisOutput,
    Merging,
    Output,
    Part,
    Pixels,
    Processor,
    S3Output,
    Scalar,
    Step,
    Upper,
    filled,
)
from daskmr.core.grid import Size
from daskmr.core.preparation import recipe
from daskmr.core.roi import parse_roi
from daskmr.errors import RequestError

__all__ = ["ImageRequest", "KinesisOutput", "Merging", "Output", "S3Output"]

MAX_PROPERTIES_BYTES = 64 * 2**10
"""Most bytes of a request's own feature properties."""
MAX_TILE = 8192
"""Most pixels along a side of a tile."""
_MAX_PROBLEMS = 100
_JOB_ID = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$"


class ImageRequest(Part):
    """What to run on which images; the same document from Python, command line and queue."""

    job_id: Annotated[str, Field(pattern=_JOB_ID, max_length=128)]
    """Name of the job and of its results."""
    image_urls: Annotated[tuple[Filled, ...], Field(max_length=1000), AfterValidator(filled)]
    """Every one is processed."""
    image_read_role: Arn = ""
    """Role to read them with."""
    image_processor: Processor
    """Which model answers."""
    image_processor_parameters: dict[str, Scalar] = Field(default_factory=dict)
    """Passed on to the model."""
    image_processor_tile_size: Pixels = Size.parse(1024)
    """Pixels of a tile."""
    image_processor_tile_overlap: Annotated[Pixels, Field(validate_default=True)] = Size.parse(50)
    """Least pixels that neighbouring tiles share."""
    image_processor_tile_format: Annotated[
        Literal["NITF", "JPEG", "PNG", "GTIFF", "NPY", "JP2"], Upper
    ] = "NITF"
    """Format of the tiles."""
    image_processor_tile_compression: Annotated[
        Literal["NONE", "JPEG", "J2K", "LZW", "DEFLATE", "ZSTD"], Upper
    ] = "NONE"
    """Compression of the tiles."""
    image_preparation: dict[str, Any] = Field(default_factory=dict)
    """What is done to pixels first, see `daskmr.core.preparation.Recipe`; Model Runner has none."""
    region_of_interest: str | dict[str, Any] | None = None
    """WKT or a GeoJSON geometry, lon, lat."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=8)] = ()
    """Where results go."""
    feature_properties: tuple[dict[str, Any], ...] = ()
    """Merged into every feature, in this order."""
    post_processing: Annotated[tuple[Step, ...], Field(max_length=1)] = ()
    """At most one FEATURE_DISTILLATION; EDGE_AWARE without it."""
    priority: Annotated[int, Field(ge=-100, le=100, strict=True)] = 0
    """Requests of a higher one start before those of a lower one; Model Runner has none."""
    warnings: Annotated[tuple[str, ...], Field(exclude=True, repr=False)] = ()
    """What was ignored."""

    @property
    def job_ids(self) -> tuple[str, ...]:
        """Names of its jobs, one an image: its own for one image, numbered ones for several."""
        if len(self.image_urls) == 1:
            return (self.job_id,)
        return tuple(f"{self.job_id}-{i}" for i in range(1, len(self.image_urls) + 1))

    @property
    def merging(self) -> Merging:
        """How duplicates are merged; a request that does not say gets what serves best."""
        said = [step.algorithm for step in self.post_processing]
        return said[0] if said else Merging(algorithm_type="EDGE_AWARE", iou_threshold=0.5)

    def __eq__(self, other: object) -> bool:
        """Whether the same is asked for; warnings do not count."""
        return isinstance(other, ImageRequest) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.job_id)

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> Self:
        """The request of a JSON document.

        Raises
        ------
        RequestError
            One sentence for each bad field, with its path and value.
        """
        fields, problems = _current(document(text))
        try:
            request = cls.model_validate(fields)
        except ValidationError as error:
            problems.extend(_sentence(dict(e)) for e in error.errors())
        else:
            if not problems:
                return request
        more = [f"request: {n:,} more problems" for n in [len(problems) - _MAX_PROBLEMS] if n > 0]
        raise RequestError(*problems[:_MAX_PROBLEMS], *more)

    def to_json(self) -> str:
        """The request in Model Runner's JSON, with the defaults of what it left out."""
        return self.model_dump_json(by_alias=True)

    @field_validator("region_of_interest")
    @classmethod
    def _area(cls, value: Any) -> Any:
        try:
            parse_roi(value, field="regionOfInterest")
        except RequestError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("image_preparation")
    @classmethod
    def _prepared(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            recipe(value)
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

    @field_validator("image_processor_tile_overlap")
    @classmethod
    def _overlap(cls, overlap: Size, info: ValidationInfo) -> Size:
        tile = info.data.get("image_processor_tile_size")
        if tile and (overlap.width >= tile.width or overlap.height >= tile.height):
            msg = f"not less than imageProcessorTileSize {tile}"
            raise ValueError(msg)
        return overlap


_NAMES = {
    spelling: to_camel(name)
    for name in (*ImageRequest.model_fields, "job_name", "output_bucket", "output_prefix")
    if name != "warnings"
    for spelling in (name, to_camel(name))
}


def _current(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The document in today's form, with what is ignored as warnings; and its wrong names."""
    fields: dict[str, Any] = {}
    problems, warnings = [], []
    for name, value in document.items():
        today = _NAMES.get(name)
        if today is None:
            warnings.append(f"{_key(name)}: is not known and is ignored")
        elif today in fields:
            problems.append(f"{today}: stands twice, also as {name}")
        else:
            fields[today] = value
    problems.extend(_take_legacy_output(fields))
    if not isinstance(fields.get("imageProcessorParameters", {}), dict | None):
        ignored = _shown(fields.pop("imageProcessorParameters"))
        warnings.append(f"imageProcessorParameters: {ignored} is no object and is ignored")
    return {**fields, "warnings": tuple(warnings)}, problems


def _take_legacy_output(fields: dict[str, Any]) -> Iterator[str]:
    """Move a legacy output to the others; yields what is wrong with it."""
    bucket, prefix = fields.pop("outputBucket", None), fields.pop("outputPrefix", None)
    if bucket is None and prefix is None:
        return
    outputs = fields.get("outputs")
    if not bucket or prefix is None:
        told = f"outputBucket: {_shown(bucket)} and outputPrefix: {_shown(prefix)}"
        yield f"{told} must be given together"
    elif outputs is None or isinstance(outputs, list):
        legacy = {"type": "S3", "bucket": bucket, "prefix": prefix}
        fields["outputs"] = [*(outputs or []), legacy]


def _sentence(error: dict[str, Any]) -> str:
    """One problem: path, value, what is wrong with it."""
    parts = [_NAMES.get(part, part) for part in error["loc"][:1]] + list(error["loc"][1:])
    if parts[:1] == ["outputs"]:
        del parts[2:3]  # which kind of output it was taken for
    path = ".".join(_key(part) for part in parts)
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{path}: is missing"
    if not path or message.startswith(f"{path}: "):
        return message
    return f"{path}: {_shown(error.get('input'))}: {message}"


def _key(name: object) -> str:
    """A key as it stands in a path: printable, and short."""
    return repr(str(name))[1:-1][:80]


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, Size) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004
