"""What a job found, and ways to look at it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import geopandas as gpd

from daskmr.core.report import JobReport
from daskmr.errors import RequestError
from daskmr.geolocate.base import SensorModel
from daskmr.image import Image
from daskmr.pipeline.describe import report_html, report_text

if TYPE_CHECKING:
    from daskmr.views.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a job found."""

    report: JobReport
    """Tiles, reasons, time, outputs."""
    loaded: gpd.GeoDataFrame | None
    """`features`, unless they were to be left on disk."""
    image: Image | None = field(default=None, repr=False)
    """What it was found in."""
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
        """A map that shows itself in notebooks; ``.save("map.html")`` keeps it.

        The page holds all that it shows, a small picture of the image included, and loads nothing.
        """
        from daskmr.views.overview import overview
        from daskmr.views.page import map_page

        seen = overview(self.image, self.placing) if self.image is not None else None
        return map_page(self.features, seen, title=self.report.job_id)

    def plot(self, ax: Any = None) -> Any:
        """Outlines over the image; matplotlib's Axes.

        Raises
        ------
        RequestError
            Without matplotlib (``daskmr[plot]``).
        """
        from daskmr.views.plot import plot

        return plot(self.features, self.image, ax)

    def gallery(self, n: int = 12) -> "Page":
        """The n features with the highest scores, and the n with the lowest, as small pictures.

        Raises
        ------
        RequestError
            When the image is not known.
        """
        from daskmr.views.gallery import gallery_page

        if self.image is None:
            msg = "gallery: the image of this result is not open"
            raise RequestError(msg)
        return gallery_page(self.features, self.image, n)

    def __str__(self) -> str:
        return report_text(self.report)

    def _repr_html_(self) -> str:
        return report_html(self.report)
