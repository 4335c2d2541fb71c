"""The parts of a request, validated strictly."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from daskmr.arns import s3_url, stream_name
from daskmr.core.grid import Size

_ARN = r"^(arn:\S+)?$"
_URL = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
_SIDES = re.compile(r"[0-9]{1,9}(x[0-9]{1,9})?", re.IGNORECASE)


def upper(value: Any) -> Any:
    """Return text in upper case; anything else as it is."""
    return value.upper() if isinstance(value, str) else value


def require_filled(value: Any) -> Any:
    """Return something that is not empty."""
    if not (value.strip() if isinstance(value, str) else value):
        msg = "is empty"
        raise ValueError(msg)
    return value


def _number_text(value: Any) -> Any:
    """Return the text of a number; anything else as it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value
    msg = "not text, a number, true or false"
    raise ValueError(msg)


def _size(value: Any) -> Any:
    if isinstance(value, Size) or (isinstance(value, str) and _SIDES.fullmatch(value.strip())):
        return Size.parse(value)
    numbers = value if isinstance(value, list | tuple) else [value]
    if len(numbers) not in {1, 2} or not all(type(n) is int and n >= 0 for n in numbers):
        msg = "not N, 'WIDTHxHEIGHT' or [width, height] in whole pixels"
        raise ValueError(msg)
    return Size.parse(tuple(numbers))


def _plain(size: Size) -> int | list[int]:
    return size.width if size.width == size.height else [size.width, size.height]


Upper = BeforeValidator(upper)
Text = Annotated[str, BeforeValidator(_number_text)]
"""Text, or a number that stands for its text."""
Filled = Annotated[str, AfterValidator(require_filled)]
ImageUrl = Annotated[Filled, AfterValidator(s3_url)]
Scalar = Annotated[str | int | float | bool, PlainValidator(_scalar)]
PixelSize = Annotated[Size, BeforeValidator(_size), PlainSerializer(_plain)]
Arn = Annotated[str, Field(pattern=_ARN)]
StrictShare = Annotated[float, Field(ge=0, le=1, strict=True)]


def _known(kind: str) -> AfterValidator:
    """Return a check that a name is one of a kind of plug-in.

    The names are in the validation context, by kind; without them any name will do.
    """

    def check(value: str, info: ValidationInfo) -> str:
        names = (info.context or {}).get(kind)
        if names is not None and value not in names:
            msg = f"is none of {', '.join(names)}"
            raise ValueError(msg)
        return value

    return AfterValidator(check)


_NAME = Field(pattern=r"^[A-Z][A-Z0-9_-]{0,63}$")
EndpointKind = Annotated[str, _NAME, Upper, _known("endpoint")]
MergeName = Annotated[str, _NAME, Upper, _known("merge")]
FormatName = Annotated[str, _NAME, Upper, _known("tile format")]
CompressionName = Annotated[str, _NAME, Upper, _known("compression")]


class RequestPart(BaseModel):
    """Part of a request: frozen; keys in camelCase or snake_case; null counts as missing."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_duplicates(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = {name: to_camel(name) for name in cls.model_fields}
        fields = {names.get(name, name): value for name, value in value.items()}
        if len(fields) < len(value):
            msg = "a name stands twice, in camelCase and in snake_case"
            raise ValueError(msg)
        return {name: value for name, value in fields.items() if value is not None}

    @model_serializer(mode="wrap")
    def _serialize(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return the fields as plain values, without empty text, lists and objects."""
        fields: dict[str, Any] = write(self)
        return {
            name: value for name, value in fields.items() if value not in (None, "", (), [], {})
        }


class Processor(RequestPart):
    """The model that runs."""

    type: EndpointKind = "SM_ENDPOINT"
    """How it is reached: SM_ENDPOINT, HTTP_ENDPOINT, or a kind of endpoint of another package."""
    name: Filled
    """SageMaker endpoint, URL, or address of another kind of endpoint; never a module."""
    assumed_role: Arn = ""
    """Role to call it with."""

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str, info: ValidationInfo) -> str:
        must_be = ":" in name or info.data.get("type") == "HTTP_ENDPOINT"
        if must_be and not _URL.fullmatch(name):
            msg = "not an http:// or https:// URL, as that of an HTTP_ENDPOINT or one with ':' is"
            raise ValueError(msg)
        return name


class S3Output(RequestPart):
    """Results as files in a bucket."""

    type: Literal["S3"]
    bucket: Filled
    """Name of the bucket; its ARN, also with a prefix, is read."""
    prefix: str = ""
    role: Arn = ""
    assumed_role: Arn = ""

    @model_validator(mode="before")
    @classmethod
    def _without_arn(cls, value: Any) -> Any:
        bucket = value.get("bucket") if isinstance(value, dict) else None
        if not isinstance(bucket, str) or not bucket.startswith("arn:"):
            return value
        name, _, path = s3_url(bucket).removeprefix("s3://").partition("/")
        parts = [path.strip("/"), str(value.get("prefix") or "").strip("/")]
        return {**value, "bucket": name, "prefix": "/".join(filter(None, parts))}


class KinesisOutput(RequestPart):
    """Results as records of a stream."""

    type: Literal["Kinesis"]
    stream: Filled
    """Name of the stream; its ARN is read."""
    region: str = ""
    """Region of the stream; that of its ARN, or the configured one when empty."""
    batch_size: Annotated[int, Field(ge=1, strict=True)] | None = None
    role: Arn = ""
    assumed_role: Arn = ""

    @model_validator(mode="before")
    @classmethod
    def _without_arn(cls, value: Any) -> Any:
        stream = value.get("stream") if isinstance(value, dict) else None
        if not isinstance(stream, str) or not stream.startswith("arn:"):
            return value
        plain = stream_name(stream)
        return {**value, "stream": plain.name, "region": plain.region}


Output = Annotated[S3Output | KinesisOutput, Field(discriminator="type")]


class Merging(RequestPart):
    """Algorithm that merges duplicates (``algorithm`` of a FEATURE_DISTILLATION step)."""

    algorithm_type: MergeName = "NMS"
    iou_threshold: StrictShare = 0.75
    """Overlap above which two boxes are one object."""
    skip_box_threshold: StrictShare = 0.0001
    """Score below which SOFT_NMS leaves a box out."""
    sigma: Annotated[float, Field(gt=0, strict=True)] = 0.1
    """Width of the Gaussian by which SOFT_NMS lowers scores."""
    method: Literal["gaussian", "linear"] | None = None
    """Function by which SOFT_NMS lowers scores; Model Runner has no field from here on."""
    metric: Literal["iou", "ios"] | None = None
    """Overlap as intersection over union, or over the smaller one."""
    class_aware: Annotated[bool, Field(strict=True)] | None = None
    """True when only features of one class are compared."""
    class_groups: tuple[tuple[str, ...], ...] = ()
    """Classes that are compared with one another all the same."""
    class_thresholds: dict[str, StrictShare] = {}
    """`iou_threshold` of single classes."""
    score_threshold: Annotated[float, Field(strict=True)] | None = None
    """Score below which features are left out."""
    class_scores: dict[str, float] = {}
    """`score_threshold` of single classes."""
    max_count: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Most features of the result."""
    distance_px: Annotated[float, Field(ge=0, strict=True)] | None = None
    """Distance up to which points are one object."""
    cover_threshold: StrictShare | None = None
    """Part of a cut feature that a complete one of EDGE_AWARE must cover."""
    trace_threshold: StrictShare | None = None
    """Overlap of cut features of EDGE_AWARE, within the strip that their tiles share, above which
    they are one object."""

    @model_validator(mode="before")
    @classmethod
    def _default_overlap(cls, value: Any) -> Any:
        """Set the default overlap of EDGE_AWARE, which differs from that of the others."""
        fields = value if isinstance(value, dict) else {}
        kind = upper(fields.get("algorithmType", fields.get("algorithm_type")))
        overlaps = {name: fields.get(name) for name in ("iou_threshold", "iouThreshold")}
        if kind != "EDGE_AWARE" or any(overlap is not None for overlap in overlaps.values()):
            return value
        return {**{k: v for k, v in fields.items() if k not in overlaps}, "iouThreshold": 0.5}

    @property
    def options(self) -> dict[str, Any]:
        """Options beside algorithm and overlap, as fields of the algorithm's class."""
        softly = {"skip_box_threshold", "sigma"} if self.algorithm_type == "SOFT_NMS" else set()
        usual = {"algorithm_type", "iou_threshold", "skip_box_threshold", "sigma"} - softly
        fields = {
            name: getattr(self, name) for name in type(self).model_fields if name not in usual
        }
        return {name: value for name, value in fields.items() if value not in (None, (), {})}


class Step(RequestPart):
    """One step of post-processing."""

    step: Annotated[Literal["FEATURE_DISTILLATION"], Upper]
    algorithm: Merging = Merging()
