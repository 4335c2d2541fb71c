"""The Python API: open, plan, run."""

from collections.abc import Mapping, Sequence
from typing import Any

from daskmr.errors import RequestError
from daskmr.image import Image, open_image
from daskmr.pipeline.execution import Execution
from daskmr.pipeline.live import live
from daskmr.pipeline.output import Destination, Output, destination
from daskmr.pipeline.plan import Plan, make_plan
from daskmr.pipeline.progress import OnProgress
from daskmr.pipeline.result import Result
from daskmr.pipeline.run import run_plan
from daskmr.pipeline.settings import Settings

__all__ = ["FORMATS", "Image", "Plan", "Result", "open_image", "plan", "run"]

FORMATS = ("geojson", "parquet")
"""Formats written when none are asked for."""


def plan(image: Any, model: Any, **options: Any) -> Plan:
    """Decide everything about a job, from headers alone.

    No pixel is read and no connection to the model is opened; what cannot work is refused here.

    Parameters
    ----------
    image
        Path or URL (``s3://``, ``https://``), Zarr store, xarray.DataArray, or an open `Image`.
    model
        ``http(s)://`` URL, name of a built-in model, ``"module:function"``, or a function that
        takes a tile as an array (band, y, x) and answers a GeoJSON dict, boxes with scores, or a
        GeoDataFrame, all in tile pixels.
    **options
        Fields of `daskmr.pipeline.settings.Settings`: tile_size, overlap, strategy, tile_format,
        tile_compression, roi, skip_nodata, merge, iou, merge_options, parameters, concurrency,
        timeout_s, roi_only, sensor_model, elevation, geoid, feature_properties, job_id.

    Raises
    ------
    RequestError
        Names every option that is wrong or cannot work with this image.
    ImageError
        When the image cannot be opened.
    """
    return make_plan(image, model, Settings.of(options))


def run(  # noqa: PLR0913 - the one call of most users, in the words of the command line
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
    load: bool = True,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Result:
    """Run a model over an image and return geolocated features.

    Parameters
    ----------
    image
        As for `plan`; or a `Plan`, which brings model and options with it.
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
        Address of a Dask scheduler, ``KIND:NAME`` of a cluster (docs/clusters.md), or ``"local"``
        for a cluster of our own.
    workers
        Worker processes of a cluster of our own; as many as cores, at most 4, when None.
    store
        Folder or ``s3://`` URL in which jobs are kept. A job that was cut off goes on where it
        was when the same call is made again with the same `job_id`; what was committed is not
        asked again. None keeps nothing.
    load
        Whether the features are loaded into memory at the end; `features` of the result is None
        otherwise.
    on_progress
        Called about once a second with `daskmr.pipeline.progress.Progress`. None shows a bar with a
        link to the dashboard in notebooks (``daskmr.progress: false`` of `dask.config` hides it).
    **options
        As for `plan`.

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
    made = make(image, model, options)
    places: list[Destination] = [Output.at(out, formats)] if out is not None else []
    places += [destination(said, formats) for said in outputs]
    how = Execution(
        outputs=places,
        cluster={"client": client, "scheduler": scheduler, "workers": workers},
        on_progress=on_progress or live(),
        store=store,
        load=load,
    )
    return run_plan(made, how)


def make(image: Any, model: Any, options: Mapping[str, Any]) -> Plan:
    """The plan of a call: one that was given, or one of an image, a model and options.

    Raises
    ------
    RequestError
        When a plan and options were given.
    """
    if not isinstance(image, Plan):
        return make_plan(image, model, Settings.of(options))
    if options or model is not None:
        msg = "a plan brings its model and options; make another plan to change them"
        raise RequestError(msg)
    return image
