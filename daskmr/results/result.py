"""Result of a job, and views of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import geopandas as gpd

from daskmr.core.report import JobReport
from daskmr.errors import RequestError
from daskmr.geolocate.base import SensorModel
from daskmr.image import Image
from daskmr.views.text import report_html, report_text

if TYPE_CHECKING:
    from daskmr.views.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Features and report of a job."""

    report: JobReport
    """Tiles, reasons, time, outputs."""
    loaded: gpd.GeoDataFrame | None
    """`features`, unless they were to be left on disk."""
    image: Image | None = field(default=None, repr=False)
    """The image."""
    placing: SensorModel | None = field(default=None, repr=False)
    """What places the image on the ground."""

    @property
    def features(self) -> gpd.GeoDataFrame:
        """One row a feature.

        `geometry` is lon, lat, height (EPSG:4326), or pixels without CRS when the image has no
        georeferencing; `image_geometry` and `image_bbox` are full-image pixels.

        Raises
        ------
        RequestError
            When they were not loaded.
        """
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

        return plot(self.features, self.image, ax)

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
