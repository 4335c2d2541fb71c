"""The pieces of a request, each strict in what it takes."""

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

from daskmr.core.grid import Size

_ARN = r"^(arn:\S+)?$"
_URL = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
_SIDES = re.compile(r"[0-9]{1,9}(x[0-9]{1,9})?", re.IGNORECASE)


def upper(value: Any) -> Any:
    """Text in upper case; anything else as it is."""
    return value.upper() if isinstance(value, str) else value


def filled(value: Any) -> Any:
    """Something that is not empty."""
    if not (value.strip() if isinstance(value, str) else value):
        msg = "is empty"
        raise ValueError(msg)
    return value


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
Filled = Annotated[str, AfterValidator(filled)]
Scalar = Annotated[str | int | float | bool, PlainValidator(_scalar)]
Pixels = Annotated[Size, BeforeValidator(_size), PlainSerializer(_plain)]
Arn = Annotated[str, Field(pattern=_ARN)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]


class Part(BaseModel):
    """A piece of a request: frozen, in camelCase or snake_case, null as good as left out."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _spelled_once(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = {name: to_camel(name) for name in cls.model_fields}
        said = {names.get(name, name): value for name, value in value.items()}
        if len(said) < len(value):
            msg = "a name stands twice, in camelCase and in snake_case"
            raise ValueError(msg)
        return {name: value for name, value in said.items() if value is not None}

    @model_serializer(mode="wrap")
    def _told(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is said; text, lists and objects that are empty are left out."""
        said: dict[str, Any] = write(self)
        return {name: value for name, value in said.items() if value not in (None, "", (), [], {})}


class Processor(Part):
    """Which model answers."""

    type: Annotated[Literal["SM_ENDPOINT", "HTTP_ENDPOINT"], Upper] = "SM_ENDPOINT"
    """How it is reached."""
    name: Filled
    """SageMaker endpoint or URL; never a module."""
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


class S3Output(Part):
    """Results as files in a bucket."""

    type: Literal["S3"]
    bucket: Filled
    prefix: str = ""
    role: Arn = ""
    assumed_role: Arn = ""


class KinesisOutput(Part):
    """Results as records of a stream."""

    type: Literal["Kinesis"]
    stream: Filled
    batch_size: Annotated[int, Field(ge=1, strict=True)] | None = None
    role: Arn = ""
    assumed_role: Arn = ""


Output = Annotated[S3Output | KinesisOutput, Field(discriminator="type")]


class Merging(Part):
    """How duplicates are merged (``algorithm`` of a FEATURE_DISTILLATION step)."""

    algorithm_type: Annotated[
        Literal["NMS", "SOFT_NMS", "NONE", "NMM", "WBF", "EDGE_AWARE"], Upper
    ] = "NMS"
    iou_threshold: Share = 0.75
    """Overlap above which two boxes are one object."""
    skip_box_threshold: Share = 0.0001
    """Score below which SOFT_NMS leaves a box out."""
    sigma: Annotated[float, Field(gt=0, strict=True)] = 0.1
    """How softly SOFT_NMS lowers scores."""
    method: Literal["gaussian", "linear"] | None = None
    """How SOFT_NMS lowers scores; Model Runner knows neither this nor what follows."""
    metric: Literal["iou", "ios"] | None = None
    """Overlap as intersection over union, or over the smaller one."""
    class_aware: Annotated[bool, Field(strict=True)] | None = None
    """Whether only features of one class are compared."""
    class_groups: tuple[tuple[str, ...], ...] = ()
    """Classes that are compared with one another all the same."""
    class_thresholds: dict[str, Share] = {}
    """`iou_threshold` of single classes."""
    score_threshold: Annotated[float, Field(strict=True)] | None = None
    """Score below which features are left out."""
    class_scores: dict[str, float] = {}
    """`score_threshold` of single classes."""
    max_count: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Most features of the result."""
    distance_px: Annotated[float, Field(ge=0, strict=True)] | None = None
    """Distance up to which points are one object."""
    cover_threshold: Share | None = None
    """Part of a cut feature that a complete one of EDGE_AWARE must cover."""
    trace_threshold: Share | None = None
    """How well cut features of EDGE_AWARE must agree on what both their tiles see."""

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, value: Any) -> Any:
        """EDGE_AWARE has a usual overlap of its own."""
        said = value if isinstance(value, dict) else {}
        kind = upper(said.get("algorithmType", said.get("algorithm_type")))
        given = {name: said.get(name) for name in ("iou_threshold", "iouThreshold")}
        if kind != "EDGE_AWARE" or any(overlap is not None for overlap in given.values()):
            return value
        return {**{k: v for k, v in said.items() if k not in given}, "iouThreshold": 0.5}

    @property
    def options(self) -> dict[str, Any]:
        """What is said beyond the algorithm and the overlap, as fields of the algorithm's class."""
        softly = {"skip_box_threshold", "sigma"} if self.algorithm_type == "SOFT_NMS" else set()
        usual = {"algorithm_type", "iou_threshold", "skip_box_threshold", "sigma"} - softly
        said = {name: getattr(self, name) for name in type(self).model_fields if name not in usual}
        return {name: value for name, value in said.items() if value not in (None, (), {})}


class Step(Part):
    """One step of post-processing."""

    step: Annotated[Literal["FEATURE_DISTILLATION"], Upper]
    algorithm: Merging = Merging()
