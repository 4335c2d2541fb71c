"""Requests: Model Runner's ImageRequest JSON, parsed strictly, once.

Every documented field and legacy form is read, documented defaults are applied, and all problems
are reported in one error that names each field.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from daskmr.core._document import parse_document
from daskmr.core._request_parts import (
    Arn,
    CompressionName,
    FormatName,
    ImageUrl,
    KinesisOutput,
    Merging,
    Output,
    PixelSize,
    Processor,
    RequestPart,
    S3Output,
    Scalar,
    Step,
    Text,
    require_filled,
)
from daskmr.core.grid import Size
from daskmr.core.preparation import parse_recipe
from daskmr.core.roi import parse_roi
from daskmr.errors import RequestError
from daskmr.validation import MAX_CHARS, Location, abbreviated, sentences

__all__ = ["ImageRequest", "KinesisOutput", "Merging", "Output", "S3Output"]

MAX_PROPERTIES_BYTES = 64 * 2**10
"""Most bytes of a request's own feature properties."""
MAX_TILE = 8192
"""Most pixels along a side of a tile."""
_MAX_PROBLEMS = 100
_JOB_ID = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$"


class ImageRequest(RequestPart):
    """A request to run a model on images; the same document from Python, command line and queue."""

    job_id: Annotated[Text, Field(pattern=_JOB_ID, max_length=128)]
    """Name of the job and of its results."""
    job_name: Annotated[Text, Field(max_length=512)] = ""
    """Name of the job for people, in events, logs and `daskmr status`."""
    image_urls: Annotated[
        tuple[ImageUrl, ...], Field(max_length=1000), AfterValidator(require_filled)
    ]
    """Every one is processed."""
    image_read_role: Arn = ""
    """Role to read them with."""
    image_processor: Processor
    """The model that runs."""
    image_processor_parameters: dict[str, Scalar] = Field(default_factory=dict)
    """Passed on to the model."""
    image_processor_tile_size: PixelSize = Size.parse(1024)
    """Pixels of a tile."""
    image_processor_tile_overlap: Annotated[PixelSize, Field(validate_default=True)] = Size.parse(
        50
    )
    """Least pixels that neighbouring tiles share."""
    image_processor_tile_format: FormatName = "NITF"
    """Format of the tiles."""
    image_processor_tile_compression: CompressionName = "NONE"
    """Compression of the tiles."""
    image_preparation: dict[str, Any] = Field(default_factory=dict)
    """Options of `daskmr.core.preparation.Recipe`; Model Runner has none."""
    region_of_interest: str | dict[str, Any] | None = None
    """WKT or a GeoJSON geometry, lon, lat."""
    outputs: Annotated[tuple[Output, ...], Field(max_length=8)] = ()
    """Destinations of the results."""
    feature_properties: tuple[dict[str, Any], ...] = ()
    """Merged into every feature, in this order."""
    post_processing: Annotated[tuple[Step, ...], Field(max_length=1)] = ()
    """At most one FEATURE_DISTILLATION; EDGE_AWARE without it."""
    priority: Annotated[int, Field(ge=-100, le=100, strict=True)] = 0
    """Requests of a higher one start before those of a lower one; Model Runner has none."""
    warnings: Annotated[tuple[str, ...], Field(exclude=True, repr=False)] = ()
    """Ignored parts of the document, a sentence each."""

    @property
    def job_ids(self) -> tuple[str, ...]:
        """Names of its jobs, one an image: its own for one image, numbered ones for several."""
        if len(self.image_urls) == 1:
            return (self.job_id,)
        return tuple(f"{self.job_id}-{i}" for i in range(1, len(self.image_urls) + 1))

    @property
    def merging(self) -> Merging:
        """Algorithm that merges duplicates; EDGE_AWARE by default."""
        algorithms = [step.algorithm for step in self.post_processing]
        return (
            algorithms[0] if algorithms else Merging(algorithm_type="EDGE_AWARE", iou_threshold=0.5)
        )

    def __eq__(self, other: object) -> bool:
        """Compare all fields but the warnings."""
        return isinstance(other, ImageRequest) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.job_id)

    @classmethod
    def from_json(
        cls,
        text: str | bytes | Mapping[str, Any],
        *,
        names: Mapping[str, Collection[str]] | None = None,
    ) -> Self:
        """Return the request of a JSON document.

        Parameters
        ----------
        text
            JSON, or a mapping of plain values.
        names
            Names of plug-ins by their kind, of which fields may be; None for any.

        Raises
        ------
        RequestError
            One sentence for each bad field, with its path and value.
        """
        fields, problems = _normalize(parse_document(text))
        try:
            request = cls.model_validate(fields, context=dict(names or {}))
        except ValidationError as error:
            problems.extend(sentences(error, _path))
        else:
            if not problems:
                return request
        more = [f"request: {n:,} more problems" for n in [len(problems) - _MAX_PROBLEMS] if n > 0]
        raise RequestError(*problems[:_MAX_PROBLEMS], *more)

    def to_json(self) -> str:
        """Return the request in Model Runner's JSON, with all defaults."""
        return self.model_dump_json(by_alias=True)

    @field_validator("region_of_interest")
    @classmethod
    def _check_roi(cls, value: Any) -> Any:
        try:
            parse_roi(value, field="regionOfInterest")
        except RequestError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("image_preparation")
    @classmethod
    def _check_preparation(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            parse_recipe(value)
        except RequestError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("feature_properties")
    @classmethod
    def _check_properties(cls, value: Any) -> Any:
        n_bytes = len(json.dumps(value))
        if n_bytes > MAX_PROPERTIES_BYTES:
            msg = f"{n_bytes:,} bytes, more than {MAX_PROPERTIES_BYTES:,}"
            raise ValueError(msg)
        return value

    @field_validator("image_processor_tile_size")
    @classmethod
    def _check_tile_size(cls, size: Size) -> Size:
        if min(size.width, size.height) < 1 or max(size.width, size.height) > MAX_TILE:
            msg = f"not within 1 and {MAX_TILE} pixels"
            raise ValueError(msg)
        return size

    @field_validator("image_processor_tile_overlap")
    @classmethod
    def _check_overlap(cls, overlap: Size, info: ValidationInfo) -> Size:
        tile = info.data.get("image_processor_tile_size")
        if tile and (overlap.width >= tile.width or overlap.height >= tile.height):
            msg = f"is not less than imageProcessorTileSize {tile}"
            raise ValueError(msg)
        return overlap


_NAMES = {
    spelling: to_camel(name)
    for name in (*ImageRequest.model_fields, "output_bucket", "output_prefix")
    if name != "warnings"
    for spelling in (name, to_camel(name))
}


def _normalize(document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the document in today's form, with ignored parts as warnings; and problems of keys."""
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
        ignored = abbreviated(fields.pop("imageProcessorParameters"))
        warnings.append(f"imageProcessorParameters: {ignored} is no object and is ignored")
    return {**fields, "warnings": tuple(warnings)}, problems


def _take_legacy_output(fields: dict[str, Any]) -> Iterator[str]:
    """Move a legacy output to the others; yield its problems."""
    bucket, prefix = fields.pop("outputBucket", None), fields.pop("outputPrefix", None)
    if bucket is None and prefix is None:
        return
    outputs = fields.get("outputs")
    if not bucket or prefix is None:
        pair = f"outputBucket: {abbreviated(bucket)} and outputPrefix: {abbreviated(prefix)}"
        yield f"{pair} must be given together"
    elif outputs is None or isinstance(outputs, list):
        legacy = {"type": "S3", "bucket": bucket, "prefix": prefix}
        fields["outputs"] = [*(outputs or []), legacy]


def _path(location: Location) -> str:
    """Return the name of a field in the words of requests."""
    parts = [_NAMES.get(str(part), part) for part in location[:1]] + list(location[1:])
    if parts[:1] == ["outputs"]:
        del parts[2:3]  # which kind of output it was taken for
    return ".".join(_key(part) for part in parts)


def _key(name: object) -> str:
    """Return a key as it stands in a path: printable, and short."""
    return repr(str(name))[1:-1][:MAX_CHARS]
