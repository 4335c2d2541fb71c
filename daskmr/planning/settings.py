"""The options of a job, checked and resolved; described in `daskmr.planning.options`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from daskmr.configuration import KEYS, SECTION, unknown_keys
from daskmr.core.grid import Size, Strategy
from daskmr.core.preparation import parse_recipe
from daskmr.errors import RequestError
from daskmr.merge import usual_iou
from daskmr.planning.options import BY_NAME, default, refuse_unknown
from daskmr.validation import sentences

MERGE = str(default("merge"))
"""Default of the option `merge`."""
_STRATEGY: Strategy = default("strategy")
_MAX_LINGER_S = 60
_MAX_HEIGHT_M = 20_000
_JOB_ID = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,127})?$"
_CONFIG = ConfigDict(arbitrary_types_allowed=True, extra="forbid", coerce_numbers_to_str=True)
T = TypeVar("T")


def _size_with_pixels(size: Size) -> Size:
    if min(size.width, size.height) < 1:
        msg = "has no pixels"
        raise ValueError(msg)
    return size


def _number_or_text(value: Any) -> Any:
    """Return a number where text is one."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _height_or_text(value: Any) -> Any:
    if isinstance(value, float | int) and not abs(value) < _MAX_HEIGHT_M:
        msg = "is not a height of the Earth in metres"
        raise ValueError(msg)
    return value


def _calls(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if not (value in {None, "auto"} or is_number):
        msg = "is neither a number of calls above 0 nor 'auto'"
        raise ValueError(msg)
    return value


def _without_dots(name: str) -> str:
    if ".." in name:
        msg = "has two dots in a row"
        raise ValueError(msg)
    return name


def _known_recipe(prepare: Mapping[str, Any]) -> Mapping[str, Any]:
    parse_recipe(prepare)
    return prepare


_Size = Annotated[Size, BeforeValidator(Size.parse)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, config=_CONFIG)
class Settings:
    """Options of a job; the same names and defaults in Python and on the command line."""

    tile_size: Annotated[_Size, AfterValidator(_size_with_pixels)] = field(
        default_factory=lambda: Size.parse(default("tile_size"))
    )
    """Pixels of a full tile: N, ``"WIDTHxHEIGHT"`` or (width, height)."""
    overlap: _Size = field(default_factory=lambda: Size.parse(default("overlap")))
    """Least number of pixels that neighbouring tiles share; written like `tile_size`."""
    strategy: Strategy = _STRATEGY
    """``cover``: full-size tiles spread evenly; ``fixed``: constant stride, partial last tiles."""
    tile_format: str = default("tile_format")
    """Format in which a remote endpoint gets its tiles."""
    tile_compression: str = default("tile_compression")
    """Compression within that format."""
    tile_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the tile format's class, such as ``input`` of KSERVE."""
    roi: Any = None
    """Area of interest in lon, lat: WKT, GeoJSON, (west, south, east, north), a shapely geometry
    or a GeoDataFrame. Only tiles that share area with it are run."""
    roi_only: bool = default("roi_only")
    """Whether features that do not touch `roi` are left out, and counted as ``OUTSIDE_ROI``: its
    tiles reach beyond it."""
    sensor_model: str | None = None
    """What places pixels on the ground, of ``SICD``, ``SIDD``, ``RSM``, ``RPC``, ``GCP``,
    ``AFFINE`` and ``CORNERS``; None: the first of these that the image has."""
    elevation: Annotated[
        float | str | None, BeforeValidator(_number_or_text), AfterValidator(_height_or_text)
    ] = None
    """Where the ground is: metres above the ellipsoid of WGS 84, or a raster of heights, a folder
    of tiles of heights, or a pattern such as ``s3://dem/{ns}{lat}_{ew}{lon}.tif``. None: the
    setting ``daskmr.elevation`` of `dask.config`, or the level that the image's own model has."""
    geoid: str | None = None
    """Raster of the geoid's heights above the ellipsoid, for an `elevation` above sea level, as
    that of SRTM and DTED is; None: ``daskmr.geoid``, or heights above the ellipsoid."""
    prepare: Annotated[_Options, AfterValidator(_known_recipe)] = field(default_factory=dict)
    """What is done to pixels before the model sees them: fields of
    `daskmr.core.preparation.Recipe`, such as ``bands``, ``stretch`` or ``gsd``."""
    skip_nodata: bool = default("skip_nodata")
    """Whether tiles that hold nothing but nodata are skipped."""
    merge: str = MERGE
    """How duplicates of neighbouring tiles are merged (docs/merging.md has the evidence)."""
    iou: Annotated[float, Field(ge=0, le=1)] = field(default_factory=lambda: usual_iou(MERGE))
    """Overlap (intersection over union) above which `merge` takes two features for one: 0.5 with
    ``edge_aware``, 0.75 with others, unless it is given."""
    merge_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the merge's class, such as ``metric`` or ``score_threshold``."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Passed on to the model: headers of an HTTP endpoint, ``CustomAttributes`` of a built-in."""
    endpoint_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the endpoint's class, such as ``role`` of a SageMaker endpoint."""
    concurrency: Annotated[int | Literal["auto"] | None, BeforeValidator(_calls)] = None
    """Calls a remote endpoint may have in flight, over the whole cluster; ``auto``: found by asking
    or trying; None: its own default."""
    timeout_s: _Positive | None = None
    """Seconds for one call of a remote endpoint; None: its own default."""
    patience_s: _Positive = default("patience_s")
    """Seconds for which a tile waits for an endpoint that is busy or away."""
    deadline_s: _Positive | None = None
    """Seconds from its start in which the job is to end: tiles that have not ended by then fail
    (``DEADLINE``); None: whenever it is done."""
    batch: Annotated[int, Field(gt=0)] | None = None
    """Most tiles in one call of a model that takes several; None: as many as it takes."""
    linger_s: Annotated[float, Field(ge=0, le=_MAX_LINGER_S)] = default("linger_s")
    """Seconds that a tile waits for others to share a call with."""
    answer_format: str = default("answer_format")
    """Convention of the model's answers (see docs/models.md)."""
    classes: Annotated[Sequence[str], AfterValidator(tuple)] = ()
    """Names of the class numbers that the model answers, from 0."""
    feature_properties: Annotated[Sequence[Mapping[str, Any]], AfterValidator(tuple)] = ()
    """Properties given to every feature of the result, merged in this order."""
    job_id: Annotated[str, Field(pattern=_JOB_ID), AfterValidator(_without_dots)] = ""
    """Name of the job and of its result files; when empty, one of the image, the model and a hash
    of all that is asked, so that the same call names the same job."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return settings from keyword arguments.

        Raises
        ------
        RequestError
            Names every option that is unknown or has a wrong value.
        """
        refuse_unknown(options)
        values = {name: value for name, value in options.items() if name != "job_id" or value}
        if values.get("iou") is None:
            values["iou"] = usual_iou(str(values.get("merge", MERGE)))
        settings = _checked(lambda: cls(**values))
        problems = _contradictions(settings)
        if problems:
            raise RequestError(*problems)
        return settings


def _contradictions(settings: Settings) -> list[str]:
    """Return what is wrong with options that are right each by itself."""
    problems, tile, overlap = [], settings.tile_size, settings.overlap
    if overlap.width >= tile.width or overlap.height >= tile.height:
        problems.append(f"overlap: {overlap} must be less than the tile size {tile}")
    if settings.roi_only and settings.roi is None:
        problems.append("roi_only: there is no roi")
    return problems


def _checked(make: Callable[[], T]) -> T:
    """Return what a function makes; what pydantic refuses becomes one RequestError."""
    try:
        return make()
    except ValidationError as error:
        raise RequestError(*sentences(error, lambda location: str(location[0]))) from None


def configuration_warnings() -> Sequence[str]:
    """Return a sentence for each key of ``daskmr`` in `dask.config` that is no setting."""
    return [_unknown_key(name) for name in unknown_keys()]


def _unknown_key(name: str) -> str:
    key = f"{SECTION}.{name} of dask.config"
    option = BY_NAME.get(name.replace("-", "_"))
    if option is not None:
        variable = f"DASKMR_RUN_{option.name.upper()}"
        hint = f"use {option.cli_flag} or {variable}"
        return f"{key} is ignored: an option of jobs, not a setting; {hint}"
    near = get_close_matches(name, KEYS, n=1)
    return f"{key} is ignored: unknown{f'; did you mean {SECTION}.{near[0]}?' if near else ''}"
