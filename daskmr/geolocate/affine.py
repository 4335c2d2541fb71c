"""Images whose header places every pixel: a transform and a CRS."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import CRSError, ProjError

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate.base import Points

_EARTH_RADIUS_M = 6_378_137.0
_POLE = 90.0
_HALF_TURN = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineModel:
    """A transform to the axes of a CRS, and the CRS to WGS 84; heights are 0."""

    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f as in `daskmr.core.imagery.ImageInfo.transform`."""
    crs: str
    """Anything that PROJ reads: WKT, ``AUTHORITY:CODE``."""
    centre: tuple[float, float] = (0.0, 0.0)
    """x, y of the middle of the image: of all turns of a longitude, the one nearest to it."""

    def __post_init__(self) -> None:
        """Refuse a transform that cannot be turned round."""
        a, b, _, d, e, _ = self.transform
        determinant = a * e - b * d
        if not all(map(math.isfinite, self.transform)) or determinant == 0:
            msg = f"transform {self.transform} is not invertible"
            raise ValueError(msg)

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """The model of an image on the Earth.

        Raises
        ------
        ImageError
            When the transform is not invertible or PROJ does not understand the CRS.
        """
        if not info.has_affine or info.crs is None or info.transform is None:
            return None
        try:
            if not on_earth(info.crs):
                return None
            _to_wgs84(info.crs)
            centre = (info.width / 2, info.height / 2)
            return cls(transform=info.transform, crs=info.crs, centre=centre)
        except (ValueError, ProjError) as error:
            msg = f"{info.url}: {error}"
            raise ImageError(msg) from error

    def to_world(self, pixels: Points) -> Points:
        """Longitude within -180 and 180, latitude, and height 0; see `SensorModel.to_world`.

        Examples
        --------
        >>> model = AffineModel(transform=(0.002, 0, 0, 0, 0.003, 0), crs="EPSG:4326")
        >>> model.to_world(np.array([[200.0, 300.0]])).tolist()
        [[0.4, 0.9, 0.0]]
        """
        world = np.zeros((len(pixels), 3))
        with np.errstate(invalid="ignore"):
            lon, lat = _to_wgs84(self.crs).transform(*self._forward(pixels), inplace=True)
            turned = np.abs(lon) > _HALF_TURN
            lon[turned] = np.mod(lon[turned] + _HALF_TURN, 2 * _HALF_TURN) - _HALF_TURN
            world[:, 0], world[:, 1] = lon, lat
            lost = ~(np.isfinite(lon) & (np.abs(lat) <= _POLE))
        world[lost] = np.nan
        return world

    def to_image(self, world: Points) -> Points:
        """Pixels of ground points, whatever their height; see `SensorModel.to_image`."""
        found = self._nearly_to_image(world)
        # PROJ may take another path back than forth (datum shifts): one correction closes the gap.
        return found + (found - self._nearly_to_image(self.to_world(found)))

    def _forward(self, pixels: Points) -> tuple[Points, Points]:
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(pixels, dtype=np.float64).reshape(-1, 2).T
        return a * x + b * y + c, d * x + e * y + f

    def _nearly_to_image(self, world: Points) -> Points:
        a, b, c, d, e, f = self.transform
        with np.errstate(invalid="ignore"):
            lat = np.where(np.abs(world[:, 1]) <= _POLE, world[:, 1], np.inf)
            across, up = _to_wgs84(self.crs).transform(
                world[:, 0], lat, direction=TransformDirection.INVERSE
            )
            if turn := _turn(self.crs):
                middle = self._forward(np.array([self.centre]))[0]
                across -= turn * np.round((across - middle) / turn)
            found = np.linalg.solve([[a, b], [d, e]], np.stack([across - c, up - f])).T
        found[~np.isfinite(found).all(axis=1)] = np.nan
        return found


def on_earth(crs: str) -> bool:
    """Whether a CRS places points on the Earth: by its kind and the size of its ellipsoid.

    Raises
    ------
    pyproj.exceptions.CRSError
        When PROJ does not understand it.

    Examples
    --------
    >>> on_earth("EPSG:3857"), on_earth("IAU_2015:49900")
    (True, False)
    """
    parsed = _parse(crs)
    ellipsoid = parsed.ellipsoid
    if ellipsoid is None or not (parsed.is_geographic or parsed.is_projected):
        return False
    return math.isclose(ellipsoid.semi_major_metre, _EARTH_RADIUS_M, rel_tol=0.01)


@lru_cache(maxsize=64)
def _parse(crs: str) -> CRS:
    """The horizontal part of a CRS."""
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"CRS {crs!r} is not one that PROJ understands"
        raise CRSError(msg) from error
    return parsed.sub_crs_list[0] if parsed.is_compound else parsed


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> Transformer:
    """GIS axis order on both sides; pyproj keeps one PROJ object for each thread behind it."""
    return Transformer.from_crs(_parse(crs), "EPSG:4326", always_xy=True)


def _turn(crs: str) -> float:
    """A full circle in units of the CRS; 0 for one whose axes are not angles."""
    parsed = _parse(crs)
    if not parsed.is_geographic:
        return 0.0
    return 2 * math.pi / parsed.axis_info[0].unit_conversion_factor
