"""Published results of a job, read back from its folder."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import fsspec
import geopandas as gpd
import shapely
from pandas.api.types import is_string_dtype

from daskmr.core.features import TEXT
from daskmr.core.report import JobReport
from daskmr.errors import DaskmrError, RequestError
from daskmr.geolocate import pick
from daskmr.image import open_image
from daskmr.results.result import Result
from daskmr.sinks.geoparquet import FILE_COLUMNS
from daskmr.store import JobFolder

OWN_RESULTS = ("result-", "coverage-", "tiles-")
"""How the names of results in the folder of a job begin; others are of its outputs."""


def stored_result(folder: JobFolder, report: JobReport) -> Result:
    """Return the last result of a job, as `daskmr.run` returned it.

    Its image is opened again; it is None where that is not possible, as of an array.

    Raises
    ------
    RequestError
        When the job has no result.
    """
    features = stored_features(folder)
    image, placing = None, None
    with suppress(DaskmrError):
        image = open_image(report.image)
        placing = pick(image.info)[0] if features.crs is not None else None
    return Result(
        report=report,
        loaded=features,
        tile_content=stored_tile_table(folder),
        image=image,
        placing=placing,
    )


def stored_features(folder: JobFolder) -> gpd.GeoDataFrame:
    """Return the world table of the last result, as `daskmr.run` makes it.

    Raises
    ------
    RequestError
        When the job has no result.
    """
    (name,) = [name for name in _manifest(folder)["results"] if name.startswith("result-")][:1]
    with fsspec.open(_url(folder, name), "rb") as file:
        rows = gpd.read_parquet(file).drop(columns=list(FILE_COLUMNS), errors="ignore")
    flat = gpd.GeoSeries(shapely.from_wkb(rows["image_geometry"].to_numpy()), index=rows.index)
    rows["image_geometry"] = flat
    texts = [name for name in rows.columns if is_string_dtype(rows[name].dtype)]
    return rows.astype(dict.fromkeys(texts, TEXT))


def stored_tile_table(folder: JobFolder) -> bytes | None:
    """Return the file of the tiles of the last result; None when there is none."""
    names = [name for name in _manifest(folder)["results"] if name.startswith("tiles-")]
    return folder.objects.read(names[0]) if names else None


def stored_coverage(folder: JobFolder, *, is_placed: bool) -> gpd.GeoDataFrame | None:
    """Return the map of tiles of the last result; None when there is none.

    Parameters
    ----------
    folder
        The job.
    is_placed
        Whether its coordinates are lon, lat; pixels, without a CRS, otherwise.
    """
    names = [name for name in _manifest(folder)["results"] if name.startswith("coverage-")]
    if not names:
        return None
    with fsspec.open(_url(folder, names[0]), "rb") as file:
        tiles = gpd.GeoDataFrame.from_features(json.load(file)["features"])
    return tiles.set_crs("EPSG:4326") if is_placed and len(tiles) else tiles


def published_twin(folder: JobFolder, name: str) -> str | None:
    """Return the URL of the published file with the content of a result in a job's folder."""
    sha256 = _manifest(folder)["results"][name]["sha256"]
    for delivery in (folder.report() or {}).get("deliveries", ()):
        for file, entry in delivery["files"].items():
            if entry["sha256"] == sha256:
                return f"{delivery['outputs'][0].rpartition('/')[0]}/{file}"
    return None


def _url(folder: JobFolder, name: str) -> str:
    """Return where a result is: in the job's folder, or where it was published."""
    here = f"{folder.url}/{name}"
    return here if folder.objects.exists(name) else published_twin(folder, name) or here


def _manifest(folder: JobFolder) -> Mapping[str, Any]:
    manifest = folder.last_manifest()
    if manifest is None:
        store = folder.url.rpartition("/jobs/")[0]
        msg = f"job: {store} has no result of {folder.job_id!r}; see daskmr status"
        raise RequestError(msg)
    return manifest
