"""The Python API: open, plan, run."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, Never

from daskmr.core.progress import OnProgress
from daskmr.dispatch.cluster_arguments import check_cluster
from daskmr.dispatch.main_guard import refuse_reimport
from daskmr.image import Image, open_image
from daskmr.pipeline.run import run_plan
from daskmr.planning.execution import Execution
from daskmr.planning.options import changed, refuse_unknown
from daskmr.planning.outputs import Destination, Output, destination, place_beside
from daskmr.planning.plan import Plan
from daskmr.planning.resolve import resolve
from daskmr.results.result import Result
from daskmr.views.notebook import live

__all__ = ["FORMATS", "Image", "Plan", "Result", "open_image", "plan", "run"]

FORMATS = ("geojson", "parquet")
"""Formats written when none are asked for."""
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})
_GOES_ON = "the same call goes on where this one was"
_IS_GONE = "nothing of this job is kept; with out= or store= the same call goes on where it was"


def plan(  # noqa: PLR0913 - every option, for editors, type checkers and help()
    image: Any,
    model: Any = None,
    *,
    tile_size: int | str | tuple[int, int] = 1024,
    overlap: int | str | tuple[int, int] = 50,
    strategy: Literal["cover", "fixed"] = "cover",
    tile_format: str = "GTIFF",
    tile_compression: str = "NONE",
    tile_options: Mapping[str, Any] = _NONE,
    prepare: Mapping[str, Any] = _NONE,
    roi: Any = None,
    roi_only: bool = False,
    sensor_model: str | None = None,
    elevation: float | str | None = None,
    geoid: str | None = None,
    skip_nodata: bool = True,
    merge: str = "edge_aware",
    iou: float | None = None,
    merge_options: Mapping[str, Any] = _NONE,
    parameters: Mapping[str, Any] = _NONE,
    endpoint_options: Mapping[str, Any] = _NONE,
    concurrency: int | Literal["auto"] | None = None,
    timeout_s: float | None = None,
    patience_s: float = 600.0,
    deadline_s: float | None = None,
    batch: int | None = None,
    linger_s: float = 0.05,
    answer_format: str = "auto",
    classes: Sequence[str] = (),
    feature_properties: Sequence[Mapping[str, Any]] = (),
    job_id: str = "",
    **unknown: Never,
) -> Plan:
    """Plan a job from headers alone.

    No pixel is read and no connection to the model is opened; what cannot work is refused here.

    Parameters
    ----------
    image
        Path or URL (``s3://``, ``https://``), Zarr store, xarray.DataArray, or an open `Image`; or
        an `ImageRequest`, the path of its JSON, or the path of a job file (``.yaml``), which bring
        model and options with them; only `job_id` may stand beside these.
    model
        ``http(s)://`` URL, name of a built-in model, ``"module:function"``, or a function that
        takes a tile as an array (band, y, x) and answers a GeoJSON dict, boxes with scores, or a
        GeoDataFrame, all in tile pixels.
    tile_size
        Size of a full tile in pixels: N, ``"WIDTHxHEIGHT"`` or (width, height).
    overlap
        Least overlap of neighbouring tiles in pixels, written like `tile_size`.
    strategy
        ``cover``: full-size tiles spread evenly; ``fixed``: constant stride, partial last tiles.
    tile_format, tile_compression, tile_options
        Format in which a remote endpoint gets its tiles, its compression, and further fields of
        the format's class, such as ``input`` of KSERVE.
    prepare
        Preparation of the pixels (docs/pixels.md): ``bands``, ``stretch``, ``gsd``, ...
    roi
        Area of interest in lon, lat: WKT, GeoJSON, the path of a file of these, (west, south, east,
        north), a shapely geometry or a GeoDataFrame. Only tiles that share area with it are run.
    roi_only
        Leave out features that do not touch `roi`.
    sensor_model
        Of ``SICD``, ``SIDD``, ``RSM``, ``RPC``, ``GCP``, ``AFFINE`` and ``CORNERS``; None: the
        first of these that the image has.
    elevation, geoid
        Height of the ground in metres above the ellipsoid, or a raster, folder or pattern of
        heights; raster of the geoid for heights above sea level.
    skip_nodata
        Skip tiles that hold nothing but nodata.
    merge, iou, merge_options
        Merging of duplicates (docs/merging.md), the overlap above which features are duplicates
        (None: 0.5 with ``edge_aware``, 0.75 with others), and further fields of the algorithm.
    parameters
        Parameters for the model: headers of an HTTP endpoint, ``CustomAttributes`` of a built-in.
    endpoint_options
        Further fields of the endpoint's class, such as ``role`` of a SageMaker endpoint.
    concurrency
        Calls in flight over the whole cluster; ``"auto"``: measured; None: the endpoint's own.
    timeout_s, patience_s
        Seconds for one call, and for which a tile waits for a busy or unreachable endpoint.
    deadline_s
        Seconds from the start after which tiles that have not ended fail (``DEADLINE``).
    batch, linger_s
        Most tiles in one call, and the seconds that a tile waits for others to share it with.
    answer_format, classes
        Convention of the model's answers (docs/models.md), and the names of its class numbers.
    feature_properties
        Properties given to every feature of the result, merged in this order.
    job_id
        Name of the job and of its result files; when empty, one of image, model and a hash of what
        is asked, such as ``harbour-ships-1f3a9c2e``: the same call names the same job.
    **unknown
        Nothing; misspelled options are refused, with the nearest known name.

    Raises
    ------
    RequestError
        Names every option that is wrong or cannot work with this image.
    ImageError
        When the image cannot be opened.
    """
    refuse_unknown(unknown)
    return resolve(image, model, changed(locals())).plan


def run(  # noqa: PLR0913 - every option, for editors, type checkers and help()
    image: Any,
    model: Any = None,
    *,
    out: str | None = None,
    outputs: Sequence[Mapping[str, Any]] = (),
    formats: Sequence[str] = FORMATS,
    client: Any = None,
    scheduler: str | None = None,
    workers: int | None = None,
    store: str | None = None,
    again: bool = False,
    overwrite: bool = False,
    retry_failed: bool = True,
    load: bool = True,
    on_progress: OnProgress | None = None,
    tile_size: int | str | tuple[int, int] = 1024,
    overlap: int | str | tuple[int, int] = 50,
    strategy: Literal["cover", "fixed"] = "cover",
    tile_format: str = "GTIFF",
    tile_compression: str = "NONE",
    tile_options: Mapping[str, Any] = _NONE,
    prepare: Mapping[str, Any] = _NONE,
    roi: Any = None,
    roi_only: bool = False,
    sensor_model: str | None = None,
    elevation: float | str | None = None,
    geoid: str | None = None,
    skip_nodata: bool = True,
    merge: str = "edge_aware",
    iou: float | None = None,
    merge_options: Mapping[str, Any] = _NONE,
    parameters: Mapping[str, Any] = _NONE,
    endpoint_options: Mapping[str, Any] = _NONE,
    concurrency: int | Literal["auto"] | None = None,
    timeout_s: float | None = None,
    patience_s: float = 600.0,
    deadline_s: float | None = None,
    batch: int | None = None,
    linger_s: float = 0.05,
    answer_format: str = "auto",
    classes: Sequence[str] = (),
    feature_properties: Sequence[Mapping[str, Any]] = (),
    job_id: str = "",
    **unknown: Never,
) -> Result:
    """Run a model over an image and return geolocated features.

    Parameters
    ----------
    image
        As for `plan`; or a `Plan`, which brings model and options with it. What a request or job
        file says of outputs and clusters is used where the arguments here say nothing.
    model
        As for `plan`.
    out
        Folder or ``s3://`` URL; results are written as ``out/<job_id>.<extension>``, each whole
        or not at all. None writes nothing.
    outputs
        Further places, as in Model Runner's ``outputs``: ``{"type": "S3", "bucket": ...}``,
        ``{"type": "Kinesis", "stream": ...}``. One that fails neither hides nor undoes another.
    formats
        Any of geojson, geojsonseq, parquet, fgb, gpkg.
    client
        A distributed.Client to run on; it is left open.
    scheduler
        Address of a Dask scheduler, ``KIND:NAME`` of a cluster (docs/clusters.md), ``"local"``
        for worker processes of our own, ``"threads"`` for threads of this process, or
        ``"synchronous"`` for the calling thread alone, where a debugger can step into the model.
        None: the current client, if any; threads for at most 32 tiles and for models that answer
        over the network; worker processes otherwise.
    workers
        Worker processes of our own; as many as cores, at most 4, when None.
    store
        Folder or ``s3://`` URL in which jobs are kept, for `daskmr.Job`. None keeps the state of a
        job in ``.daskmr`` beside its results until they are published; without `out`, or for an
        array of this process, nothing is kept. The same call goes on where an earlier one was cut
        off, and gives its result again when that is published; no model is asked twice.
    again
        Begin a job that there is anew.
    overwrite
        Replace a result of the same name that is of another image or of other settings.
    retry_failed
        Ask again about the tiles that failed when the same call ended as PARTIAL or FAILED.
    load
        Whether the features are loaded into memory at the end; `features` of the result is None
        otherwise.
    on_progress
        Called about once a second with `daskmr.core.progress.Progress`. None shows a bar with a
        link to the dashboard in notebooks (``daskmr.progress: false`` of `dask.config` hides it).
    tile_size
        Size of a full tile in pixels: N, ``"WIDTHxHEIGHT"`` or (width, height).
    overlap
        Least overlap of neighbouring tiles in pixels, written like `tile_size`.
    strategy
        ``cover``: full-size tiles spread evenly; ``fixed``: constant stride, partial last tiles.
    tile_format, tile_compression, tile_options
        Format in which a remote endpoint gets its tiles, its compression, and further fields of
        the format's class, such as ``input`` of KSERVE.
    prepare
        Preparation of the pixels (docs/pixels.md): ``bands``, ``stretch``, ``gsd``, ...
    roi
        Area of interest in lon, lat: WKT, GeoJSON, the path of a file of these, (west, south, east,
        north), a shapely geometry or a GeoDataFrame. Only tiles that share area with it are run.
    roi_only
        Leave out features that do not touch `roi`.
    sensor_model
        Of ``SICD``, ``SIDD``, ``RSM``, ``RPC``, ``GCP``, ``AFFINE`` and ``CORNERS``; None: the
        first of these that the image has.
    elevation, geoid
        Height of the ground in metres above the ellipsoid, or a raster, folder or pattern of
        heights; raster of the geoid for heights above sea level.
    skip_nodata
        Skip tiles that hold nothing but nodata.
    merge, iou, merge_options
        Merging of duplicates (docs/merging.md), the overlap above which features are duplicates
        (None: 0.5 with ``edge_aware``, 0.75 with others), and further fields of the algorithm.
    parameters
        Parameters for the model: headers of an HTTP endpoint, ``CustomAttributes`` of a built-in.
    endpoint_options
        Further fields of the endpoint's class, such as ``role`` of a SageMaker endpoint.
    concurrency
        Calls in flight over the whole cluster; ``"auto"``: measured; None: the endpoint's own.
    timeout_s, patience_s
        Seconds for one call, and for which a tile waits for a busy or unreachable endpoint.
    deadline_s
        Seconds from the start after which tiles that have not ended fail (``DEADLINE``).
    batch, linger_s
        Most tiles in one call, and the seconds that a tile waits for others to share it with.
    answer_format, classes
        Convention of the model's answers (docs/models.md), and the names of its class numbers.
    feature_properties
        Properties given to every feature of the result, merged in this order.
    job_id
        Name of the job and of its result files; when empty, one of image, model and a hash of what
        is asked, such as ``harbour-ships-1f3a9c2e``: the same call names the same job.
    **unknown
        Nothing; misspelled options are refused, with the nearest known name.

    Returns
    -------
    `Result` with `features` (geopandas.GeoDataFrame) and `report`. When some tiles failed, a
    warning says so and the report has them by name.

    Raises
    ------
    RequestError, ImageError
        As `plan`.
    ClusterError, UnreachableError
        When the cluster or the endpoint does not answer.
    JobError
        When no tile succeeded.
    """
    refuse_reimport()
    check_cluster(client=client, scheduler=scheduler, workers=workers)
    refuse_unknown(unknown)
    call = resolve(image, model, changed(locals()))
    if out is None and not outputs:
        out, outputs = call.execution.get("out"), call.execution.get("outputs") or ()
    if formats == FORMATS:
        formats = call.execution.get("formats", FORMATS)
    places: list[Destination] = [Output.at(out, formats)] if out is not None else []
    places += [destination(output, formats) for output in outputs]
    store = store or call.execution.get("store")
    beside = place_beside(places) if call.plan.image.source is not None else None
    execution = Execution(
        outputs=places,
        cluster={
            "client": client,
            "scheduler": scheduler or call.execution.get("scheduler"),
            "workers": workers or call.execution.get("workers"),
        },
        on_progress=on_progress or live(),
        store=store or beside,
        keeps_beside=store is None and beside is not None,
        again=again,
        overwrite=overwrite,
        retry_failed=retry_failed,
        load=load and call.execution.get("load", True),
    )
    try:
        return run_plan(call.plan, execution)
    except KeyboardInterrupt as error:
        error.add_note(_GOES_ON if execution.store else _IS_GONE)
        raise
