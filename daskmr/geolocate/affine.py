"""Sensor model of images with a transform and a CRS."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from pyproj.exceptions import ProjError

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate import _crs
from daskmr.geolocate.base import Points


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineModel:
    """A transform to the axes of a CRS, and the CRS to WGS 84; heights are 0 by default."""

    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f as in `daskmr.core.imagery.ImageInfo.transform`."""
    crs: str
    """Anything that PROJ reads: WKT, ``AUTHORITY:CODE``."""
    centre: tuple[float, float] = (0.0, 0.0)
    """x, y of the middle of the image, to whose longitude others are unwrapped."""

    def __post_init__(self) -> None:
        """Refuse a transform that is not invertible."""
        a, b, _, d, e, _ = self.transform
        determinant = a * e - b * d
        if not all(map(math.isfinite, self.transform)) or determinant == 0:
            msg = f"transform {self.transform} is not invertible"
            raise ValueError(msg)

    @property
    def has_heights(self) -> bool:
        """False: nothing tells how high the ground is."""
        return False

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of an image on the Earth.

        Raises
        ------
        ImageError
            When the transform is not invertible or PROJ does not understand the CRS.
        ValueError
            When no pixel lies on the Earth.
        """
        if not info.has_affine or info.crs is None or info.transform is None:
            return None
        try:
            if not _crs.on_earth(info.crs):
                return None
            _crs.check(info.crs)
            centre = (info.width / 2, info.height / 2)
            model = cls(transform=info.transform, crs=info.crs, centre=centre)
        except (ValueError, ProjError) as error:
            msg = f"{info.url}: {error}"
            raise ImageError(msg) from error
        x, y = np.meshgrid(np.linspace(0, info.width, 17), np.linspace(0, info.height, 17))
        if np.isnan(model.to_world(np.stack([x.ravel(), y.ravel()], axis=1))).any(axis=1).all():
            msg = "a transform that leads off the Earth"
            raise ValueError(msg)
        return model

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`.

        Examples
        --------
        >>> model = AffineModel(transform=(0.002, 0, 0, 0, 0.003, 0), crs="EPSG:4326")
        >>> model.to_world(np.array([[200.0, 300.0]])).tolist()
        [[0.4, 0.9, 0.0]]
        """
        return _crs.at_heights(_crs.from_plane(self.crs, *self._forward(pixels)), heights)

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points, whatever their height; see `SensorModel.to_image`."""
        a, b, c, d, e, f = self.transform
        middle = float(self._forward(np.array([self.centre]))[0][0])
        across, up = _crs.to_plane(self.crs, np.asarray(world, dtype=np.float64), middle=middle)
        with np.errstate(invalid="ignore"):
            u, v = across - c, up - f
            pixels = np.stack([e * u - b * v, a * v - d * u], axis=1) / (a * e - b * d)
        pixels[~np.isfinite(pixels).all(axis=1)] = np.nan
        return pixels

    def _forward(self, pixels: Points) -> tuple[Points, Points]:
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(pixels, dtype=np.float64).reshape(-1, 2).T
        with np.errstate(invalid="ignore"):
            return a * x + b * y + c, d * x + e * y + f
