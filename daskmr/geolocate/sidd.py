"""Sensor model of detected radar images with SIDD metadata on a plane (NGA.STND.0025, 1 to 3)."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points
from daskmr.geolocate.radar.metadata_xml import Branch
from daskmr.geolocate.radar.pixel_grids import PlaneGrid
from daskmr.geolocate.radar.projection import Radar
from daskmr.geolocate.sicd import arp

Transform = tuple[float, float, float, float, float, float]
_PROJECTIONS = ("GeographicProjection", "CylindricalProjection", "PolynomialProjection")
_CORNERS = ("UpperLeft", "UpperRight", "LowerLeft", "LowerRight")
_LIKE_AFFINE_PX = 0.5
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SiddModel:
    """Range and range rate of a product's plane; the default height is the reference point's.

    For pixels of the whole product; see `chip` for those of an image cut out of it.
    """

    radar: Radar

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of the product that an image is, or was cut out of; None without SIDD.

        Raises
        ------
        ValueError
            When its SIDD is not supported; the message names the reason.
        """
        sidd = _sidd(info)
        if sidd is None:
            return None
        for name in _PROJECTIONS:
            if sidd.has(f"Measurement/{name}"):
                msg = f"SIDD with {name}"
                raise ValueError(msg)
        chip(info)
        return cls(radar=_radar(sidd))

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        return self.radar.to_world(pixels, heights)

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points; see `SensorModel.to_image`."""
        return self.radar.to_image(world)


def chip(info: ImageInfo) -> Transform | None:
    """Return the transform from pixels of a chip to those of its product; None for a whole product.

    The metadata have the positions of the centres of the four outermost pixels in the product.

    Raises
    ------
    ValueError
        When the size is not the image's, or the positions are no affine transform.
    """
    sidd = _sidd(info)
    if sidd is None:
        return None
    path = "DownstreamReprocessing/GeometricChip"
    is_chip = sidd.has(path)
    rows, cols = sidd.pair(f"{path}/ChipSize" if is_chip else "Measurement/PixelFootprint")
    if (rows, cols) != (info.height, info.width):
        msg = f"SIDD of {cols:.0f} x {rows:.0f} pixels"
        raise ValueError(msg)
    if not is_chip:
        return None
    if rows * cols == 1:
        msg = "SIDD with a GeometricChip of one pixel"
        raise ValueError(msg)
    corners = np.array([sidd.pair(f"{path}/Original{corner}Coordinate") for corner in _CORNERS])
    off = np.abs(corners[3] - corners[2] - corners[1] + corners[0]).max()
    if off > _LIKE_AFFINE_PX:
        msg = "SIDD with a GeometricChip that is no affine transform"
        raise ValueError(msg)
    return _transform(corners[:, ::-1], (cols, rows))


def _transform(corners: Points, size: tuple[float, float]) -> Transform:
    """Return the transform of corners x, y in the product and columns, rows of a chip."""
    (a, d), (b, e) = (
        (corners[i] - corners[0]) / max(n - 1, 1) for i, n in zip((1, 2), size, strict=True)
    )
    if size[0] == 1:  # one column shows no direction: square to the other, and as long
        a, d = e, -b
    if size[1] == 1:
        b, e = -d, a
    c, f = corners[0] + _HALF - _HALF * np.array([a + b, d + e])
    return float(a), float(b), float(c), float(d), float(e), float(f)


def _sidd(info: ImageInfo) -> Branch | None:
    sidd = Branch.parse(info.sar) if info.sar else None
    return sidd if sidd is not None and sidd.root.tag == "SIDD" else None


def _radar(sidd: Branch) -> Radar:
    plane = sidd.at("Measurement/PlaneProjection")
    row = plane.vector("ProductPlane/RowUnitVector")
    col = plane.vector("ProductPlane/ColUnitVector")
    try:
        return Radar(
            centre=plane.vector("ReferencePoint/ECEF"),
            centre_pixel=plane.pair("ReferencePoint/Point"),
            spacing=plane.pair("SampleSpacing"),
            row=row,
            col=col,
            time=plane.polynomial2("TimeCOAPoly"),
            track=arp(sidd, "Measurement/ARPPoly"),
            grid=PlaneGrid(row=row, col=col),
        )
    except ValueError as error:
        words = str(error)
        msg = words if words.startswith("SIDD") else f"SIDD of {words}"
        raise ValueError(msg) from error
