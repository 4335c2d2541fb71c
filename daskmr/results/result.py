"""Result of a job, and views of it."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import geopandas as gpd

from daskmr.core.report import JobReport
from daskmr.errors import RequestError
from daskmr.geolocate.base import SensorModel
from daskmr.image import Image
from daskmr.results.feature_table import FeatureTable, feature_table, pixel_table
from daskmr.results.tile_table import read_tiles
from daskmr.views.text import report_html, report_text

if TYPE_CHECKING:
    from daskmr.views.page import Page


@dataclass(frozen=True, kw_only=True)
class Result:
    """Features, tiles and report of a job."""

    report: JobReport
    """Tiles, reasons, time, outputs."""
    loaded: gpd.GeoDataFrame | None = field(repr=False)
    """The world table of the features, unless they were to be left on disk."""
    tile_content: bytes | None = field(default=None, repr=False)
    """The file of the tiles; see `daskmr.results.tile_table`."""
    image: Image | None = field(default=None, repr=False)
    """The image."""
    placing: SensorModel | None = field(default=None, repr=False)
    """What places the image on the ground."""

    @cached_property
    def features(self) -> FeatureTable:
        """One row a feature, with one column of geometries; docs/results.md has all columns.

        `geometry` is lon, lat (EPSG:4326), with heights in metres above the ellipsoid where the
        image or its terrain tells them, or pixels without CRS when the image has no georeferencing.
        ``image_xmin`` to ``image_ymax`` are the box in full-image pixels; `pixels` has the shapes.

        Raises
        ------
        RequestError
            When they were not loaded.
        """
        return feature_table(self._world)

    @cached_property
    def pixels(self) -> gpd.GeoDataFrame:
        """The same rows with `geometry` in full-image pixels, without CRS.

        Raises
        ------
        RequestError
            When the features were not loaded.
        """
        return pixel_table(self._world)

    @cached_property
    def tiles(self) -> gpd.GeoDataFrame:
        """One row a tile: status, reason, number of features, calls, seconds of the answer.

        `geometry` is lon, lat (EPSG:4326), or pixels without CRS.

        Raises
        ------
        RequestError
            When the job was run by a version of daskmr that kept no such table.
        """
        if self.tile_content is None:
            msg = f"tiles: {self.report.job_id} has no table of its tiles; run it again"
            raise RequestError(msg)
        return read_tiles(self.tile_content)

    @property
    def _world(self) -> gpd.GeoDataFrame:
        if self.loaded is None:
            msg = "load: the features were left on disk (load=False)"
            raise RequestError(msg)
        return self.loaded

    def explore(self) -> "Page":
        """Return a map that displays in notebooks; ``.save("map.html")`` keeps it.

        The page holds all that it shows, a small picture of the image included, and loads nothing.
        """
        from daskmr.views.overview import overview
        from daskmr.views.page import map_page

        picture = overview(self.image, self.placing) if self.image is not None else None
        return map_page(self.features, picture, title=self.report.job_id)

    def plot(self, ax: Any = None) -> Any:
        """Draw the outlines over the image; returns matplotlib's Axes.

        Raises
        ------
        RequestError
            Without matplotlib (``daskmr[plot]``).
        """
        from daskmr.views.plot import plot

        return plot(self.pixels, self.image, ax)

    def gallery(self, n: int = 12) -> "Page":
        """Return the n features with the highest scores, and the n with the lowest, as pictures.

        Raises
        ------
        RequestError
            When the image is not known.
        """
        from daskmr.views.gallery import gallery_page

        if self.image is None:
            msg = f"gallery: {self.report.image} cannot be opened"
            raise RequestError(msg)
        return gallery_page(self.features, self.image, n)

    def __str__(self) -> str:
        return report_text(self.report)

    def _repr_html_(self) -> str:
        return report_html(self.report)
