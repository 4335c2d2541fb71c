"""The options of a job, each described once: type, default, help, and the doors that have it.

The signatures of `daskmr.plan` and `daskmr.run`, the options of the command line, what ``daskmr
submit`` offers, and the reference page follow from this table or are compared with it by a test.
Nothing heavy is imported here, so that ``daskmr --help`` stays quick.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal, TypedDict

from daskmr.errors import RequestError

Door = Literal["python", "cli", "submit"]
"""`daskmr.plan` and `daskmr.run`; ``daskmr plan`` and ``run``; ``daskmr submit``, whose options a
request must be able to carry."""
Kind = Literal["text", "number", "integer", "switch", "flag", "pairs", "names", "calls", "json"]
"""How an option is written on the command line: ``pairs`` are NAME=VALUE, repeatable; ``names`` are
separated by commas; ``calls`` is a number or ``auto``; ``json`` is JSON or a file of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a job."""

    name: str
    """Name in Python."""
    default: Any
    """Value when it is not given."""
    help: str
    """One sentence for users, with the unit."""
    kind: Kind = "text"
    """How it is written on the command line."""
    flag: str = ""
    """Name on the command line; made of `name` when empty."""
    metavar: str = ""
    """Placeholder of the value in the help of the command line."""
    shown: str = ""
    """The default in the help of the command line, where it is not `default` itself."""
    request: str = ""
    """Field of a request that carries it; empty when none does."""

    @property
    def doors(self) -> tuple[Door, ...]:
        """Where it is offered."""
        return ("python", "cli", "submit") if self.request else ("python", "cli")

    @property
    def cli_flag(self) -> str:
        """Name on the command line."""
        return self.flag or "--" + self.name.replace("_", "-")


OPTIONS: Final[Sequence[Option]] = (
    Option(name="tile_size", default=1024, metavar="N|WxH", request="imageProcessorTileSize",
           help="Size of a tile, in pixels."),
    Option(name="overlap", default=50, metavar="N|WxH", request="imageProcessorTileOverlap",
           help="Least overlap of neighbouring tiles, in pixels."),
    Option(name="strategy", default="cover",
           help="Spread of the tiles: cover (full-size, evenly) or fixed (constant stride)."),
    Option(name="tile_format", default="GTIFF", request="imageProcessorTileFormat",
           help="Format of the tiles that are sent to an endpoint."),
    Option(name="tile_compression", default="NONE", request="imageProcessorTileCompression",
           help="Compression of the tiles."),
    Option(name="tile_options", default={}, kind="pairs", flag="--tile-option",
           help="Further options of the tile format, such as input of KSERVE."),
    Option(name="prepare", default={}, kind="pairs", request="imagePreparation",
           help="Preparation of the pixels: bands=3,2,1, complex_as=amplitude, gsd=METRES, "
           "stretch=percentile, dtype=uint8, fill=0."),
    Option(name="roi", default=None, metavar="WKT|FILE", request="regionOfInterest",
           help="Area of interest in lon, lat."),
    Option(name="roi_only", default=False, kind="flag",
           help="Leave out features that do not touch the area of interest."),
    Option(name="sensor_model", default=None, shown="the best",
           help="Sensor model: SICD, SIDD, RSM, RPC, GCP, AFFINE or CORNERS."),
    Option(name="elevation", default=None, metavar="METRES|RASTER|FOLDER|PATTERN",
           shown="the height of the image's own model",
           help="Height of the ground: metres above the ellipsoid, or elevation tiles."),
    Option(name="geoid", default=None,
           help="Raster of geoid heights, for an elevation above sea level."),
    Option(name="skip_nodata", default=True, kind="switch", shown="skip",
           help="Skip tiles that hold nothing but nodata."),
    Option(name="merge", default="edge_aware", request="postProcessing",
           help="Merging of duplicates: nms, soft_nms, nmm, wbf, edge_aware or none."),
    Option(name="iou", default=None, kind="number", shown="0.5 with edge_aware, 0.75 with others",
           request="postProcessing", help="Overlap (IoU) above which features are duplicates."),
    Option(name="merge_options", default={}, kind="pairs", flag="--merge-option",
           request="postProcessing",
           help="Further options of merging, such as score_threshold=0.3."),
    Option(name="parameters", default={}, kind="pairs", flag="--param",
           request="imageProcessorParameters", help="Parameters for the model, passed on to it."),
    Option(name="endpoint_options", default={}, kind="pairs", flag="--endpoint-option",
           help="Further options of the endpoint, such as role."),
    Option(name="concurrency", default=None, kind="calls", metavar="N|auto",
           shown="the endpoint's capacity", help="Calls in flight, over the whole cluster."),
    Option(name="timeout_s", default=None, kind="number", flag="--timeout",
           shown="the endpoint's", help="Time-out of one call, in seconds."),
    Option(name="patience_s", default=600.0, kind="number", flag="--patience",
           help="Time to wait for an endpoint that is busy or unreachable, in seconds."),
    Option(name="deadline_s", default=None, kind="number", flag="--deadline",
           help="Time after which tiles that have not ended fail, in seconds."),
    Option(name="batch", default=None, kind="integer", shown="as many as the model takes",
           help="Most tiles in one call."),
    Option(name="linger_s", default=0.05, kind="number", flag="--linger",
           help="Time that a tile waits for others to share a call with, in seconds."),
    Option(name="answer_format", default="auto", help="Convention of the model's answers."),
    Option(name="classes", default=(), kind="names", metavar="NAME[,NAME]",
           help="Names of the class numbers in the answers, from 0."),
    Option(name="feature_properties", default=(), kind="json", metavar="JSON|FILE",
           request="featureProperties",
           help="Properties given to every feature of the result: a list of objects."),
    Option(name="job_id", default="", shown="of image, model and a hash of what is asked",
           request="jobId",
           help="Name of the job and of its result files."),
)  # fmt: skip
"""In the order in which they are listed."""
BY_NAME: Final[Mapping[str, Option]] = {option.name: option for option in OPTIONS}


class JobOptions(TypedDict, total=False):
    """The options of a job as keyword arguments, for functions that pass them on."""

    tile_size: int | str | tuple[int, int]
    overlap: int | str | tuple[int, int]
    strategy: Literal["cover", "fixed"]
    tile_format: str
    tile_compression: str
    tile_options: Mapping[str, Any]
    prepare: Mapping[str, Any]
    roi: Any
    roi_only: bool
    sensor_model: str | None
    elevation: float | str | None
    geoid: str | None
    skip_nodata: bool
    merge: str
    iou: float | None
    merge_options: Mapping[str, Any]
    parameters: Mapping[str, Any]
    endpoint_options: Mapping[str, Any]
    concurrency: int | Literal["auto"] | None
    timeout_s: float | None
    patience_s: float
    deadline_s: float | None
    batch: int | None
    linger_s: float
    answer_format: str
    classes: Sequence[str]
    feature_properties: Sequence[Mapping[str, Any]]
    job_id: str


def default(name: str) -> Any:
    """Return the default of an option."""
    return BY_NAME[name].default


def changed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options among arguments whose values are not their defaults."""
    return {
        name: value
        for name, value in arguments.items()
        if name in BY_NAME and not (value is None or _is_default(name, value))
    }


def _is_default(name: str, value: Any) -> bool:
    usual = default(name)
    if isinstance(usual, Mapping):
        return isinstance(value, Mapping) and dict(value) == usual
    return type(value) is type(usual) and bool(value == usual)


def refuse_unknown(names: Iterable[str]) -> None:
    """Raise when there are names that are no options; proposes the nearest known ones.

    Raises
    ------
    RequestError
        Names each of them.
    """
    strange = sorted(set(names) - set(BY_NAME))
    if strange:
        raise RequestError(_sentence(strange))


def _sentence(names: Sequence[str]) -> str:
    near = {name: get_close_matches(name, BY_NAME, n=1) for name in names}
    listed = ", ".join(
        f"{name} (did you mean {match[0]}?)" if match else name for name, match in near.items()
    )
    return f"unknown option: {listed}; known: {', '.join(sorted(BY_NAME))}"
