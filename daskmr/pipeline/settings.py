"""What a job may be told, with each default written once."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from daskmr.core.grid import Size, Strategy
from daskmr.core.preparation import recipe
from daskmr.endpoints import PATIENCE_S
from daskmr.errors import RequestError
from daskmr.merge import usual_iou

_ABOVE_ZERO = ("timeout_s", "patience_s", "deadline_s", "batch")
MERGE = "edge_aware"
"""How duplicates are merged when nothing is said."""
_MOST_LINGER_S = 60
_MOST_M = 20_000
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_or_text(value: Any) -> Any:
    """A number where text is one."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Options of a job; the same names and defaults in Python and on the command line."""

    tile_size: Size = field(default_factory=lambda: Size.parse(1024))
    """Pixels of a full tile: N, ``"WIDTHxHEIGHT"`` or (width, height)."""
    overlap: Size = field(default_factory=lambda: Size.parse(50))
    """Least number of pixels that neighbouring tiles share; written like `tile_size`."""
    strategy: Strategy = "cover"
    """``cover``: full-size tiles spread evenly; ``fixed``: constant stride, partial last tiles."""
    tile_format: str = "GTIFF"
    """Format in which a remote endpoint gets its tiles."""
    tile_compression: str = "NONE"
    """Compression within that format."""
    tile_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the tile format's class, such as ``input`` of KSERVE."""
    roi: Any = None
    """Area of interest in lon, lat: WKT, GeoJSON, (west, south, east, north), a shapely geometry
    or a GeoDataFrame. Only tiles that share area with it are run."""
    roi_only: bool = False
    """Whether features that do not touch `roi` are left out, and counted as ``OUTSIDE_ROI``: its
    tiles reach beyond it."""
    sensor_model: str | None = None
    """What places pixels on the ground, of ``SICD``, ``SIDD``, ``RSM``, ``RPC``, ``GCP``,
    ``AFFINE`` and ``CORNERS``; None: the first of these that the image has."""
    elevation: float | str | None = None
    """Where the ground is: metres above the ellipsoid of WGS 84, or a raster of heights, a folder
    of tiles of heights, or a pattern such as ``s3://dem/{ns}{lat}_{ew}{lon}.tif``. None: the
    setting ``daskmr.elevation`` of `dask.config`, or the level that the image's own model has."""
    geoid: str | None = None
    """Raster of the geoid's heights above the ellipsoid, for an `elevation` above sea level, as
    that of SRTM and DTED is; None: ``daskmr.geoid``, or heights above the ellipsoid."""
    prepare: Mapping[str, Any] = field(default_factory=dict)
    """What is done to pixels before the model sees them: fields of
    `daskmr.core.preparation.Recipe`, such as ``bands``, ``stretch`` or ``gsd``."""
    skip_nodata: bool = True
    """Whether tiles that hold nothing but nodata are skipped."""
    merge: str = MERGE
    """How duplicates of neighbouring tiles are merged (docs/merging.md has the evidence)."""
    iou: float = field(default_factory=lambda: usual_iou(MERGE))
    """Overlap (intersection over union) above which `merge` takes two features for one: 0.5 with
    ``edge_aware``, 0.75 with others, unless it is given."""
    merge_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the merge's class, such as ``metric`` or ``score_threshold``."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Passed on to the model: headers of an HTTP endpoint, ``CustomAttributes`` of a built-in."""
    endpoint_options: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the endpoint's class, such as ``role`` of a SageMaker endpoint."""
    concurrency: int | Literal["auto"] | None = None
    """Calls a remote endpoint may have in flight, over the whole cluster; ``auto``: found by asking
    or trying; None: its own default."""
    timeout_s: float | None = None
    """Seconds for one call of a remote endpoint; None: its own default."""
    patience_s: float = PATIENCE_S
    """Seconds for which a tile waits for an endpoint that is busy or away."""
    deadline_s: float | None = None
    """Seconds from its start in which the job is to end: tiles that have not ended by then fail
    (``DEADLINE``); None: whenever it is done."""
    batch: int | None = None
    """Most tiles in one call of a model that takes several; None: as many as it takes."""
    linger_s: float = 0.05
    """Seconds that a tile waits for others to share a call with."""
    answer_format: str = "auto"
    """Convention of the model's answers (see docs/models.md)."""
    classes: Sequence[str] = ()
    """Names of the class numbers that the model answers, from 0."""
    feature_properties: Sequence[Mapping[str, Any]] = ()
    """Properties given to every feature of the result, merged in this order."""
    job_id: str = ""
    """Name of the job and of its result files; made up when empty."""

    def __post_init__(self) -> None:
        """Refuse values that no job can have."""
        problems = list(self._problems())
        if problems:
            raise RequestError(*problems)

    def _problems(self) -> Sequence[str]:
        found = []
        if not _JOB_ID.fullmatch(self.job_id) or ".." in self.job_id:
            found.append(f"job_id: {self.job_id!r} is not a name of letters, digits, '.', '_', '-'")
        tile, overlap = self.tile_size, self.overlap
        if min(tile.width, tile.height) < 1:
            found.append(f"tile_size: {tile} has no pixels")
        elif overlap.width >= tile.width or overlap.height >= tile.height:
            found.append(f"overlap: {overlap} must be less than the tile size {tile}")
        if self.strategy not in {"cover", "fixed"}:
            found.append(f"strategy: {self.strategy!r} is neither 'cover' nor 'fixed'")
        if self.roi_only and self.roi is None:
            found.append("roi_only: there is no roi")
        if not 0 <= self.iou <= 1:
            found.append(f"iou: {self.iou!r} is not within 0 and 1")
        if isinstance(self.elevation, float | int) and not abs(self.elevation) < _MOST_M:
            found.append(f"elevation: {self.elevation!r} is not a height of the Earth in metres")
        found.extend(self._bad_recipe())
        found.extend(self._bad_numbers())
        return found

    def _bad_recipe(self) -> Sequence[str]:
        try:
            recipe(self.prepare)
        except RequestError as error:
            return error.problems
        return ()

    def _bad_numbers(self) -> Iterator[str]:
        numbers = {name: getattr(self, name) for name in _ABOVE_ZERO}
        if self.concurrency != "auto":
            numbers["concurrency"] = self.concurrency
        for name, value in numbers.items():
            if value is not None and not (_is_number(value) and value > 0):
                yield f"{name}: {value!r} is not above 0"
        if not (_is_number(self.linger_s) and 0 <= self.linger_s <= _MOST_LINGER_S):
            yield f"linger_s: {self.linger_s!r} is not within 0 and {_MOST_LINGER_S}"

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Settings from keyword arguments.

        Raises
        ------
        RequestError
            Names every option that is unknown or has a wrong value.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            given = ", ".join(unknown)
            msg = f"unknown option: {given}; known: {', '.join(sorted(known))}"
            raise RequestError(msg)
        values = {"job_id": "", **options}
        values["job_id"] = str(values["job_id"]) or uuid.uuid4().hex
        values["elevation"] = _number_or_text(values.get("elevation"))
        values.setdefault("iou", usual_iou(str(values.get("merge", MERGE))))
        problems = []
        for name in ("tile_size", "overlap"):
            if name in values:
                try:
                    values[name] = Size.parse(values[name])
                except ValueError as error:
                    problems.append(f"{name}: {error}")
        if problems:
            raise RequestError(*problems)
        return cls(**values)
