"""Sensor model of complex radar images with SICD metadata (NGA.STND.0024), versions 0.4 to 1.5."""

from dataclasses import dataclass
from typing import Self

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points
from daskmr.geolocate.radar.metadata_xml import Branch
from daskmr.geolocate.radar.pixel_grids import (
    AzimuthGrid,
    Grid,
    PlaneGrid,
    PolarGrid,
    Track,
    ZeroDopplerGrid,
)
from daskmr.geolocate.radar.projection import Radar

_MONOSTATIC = "MONOSTATIC"
_PLANES = {"PLANE", "XCTYAT", "XRGYCR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SicdModel:
    """Range and range rate, exact in both directions; the default height is the scene centre's.

    The metadata of chips have their position in the full image (FirstRow, FirstCol).
    """

    radar: Radar

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of an image; None for one without SICD.

        Raises
        ------
        ValueError
            When its SICD is not supported; the message names the reason.
        """
        if not info.sar:
            return None
        sicd = Branch.parse(info.sar)
        if sicd.root.tag != "SICD":
            return None
        rows, cols = sicd.number("ImageData/NumRows"), sicd.number("ImageData/NumCols")
        if (rows, cols) != (info.height, info.width):
            msg = f"SICD of {cols:.0f} x {rows:.0f} pixels"
            raise ValueError(msg)
        path = "CollectionInfo/CollectType"
        kind = sicd.text(path) if sicd.has(path) else _MONOSTATIC
        if kind != _MONOSTATIC:
            msg = f"SICD of type {kind}"
            raise ValueError(msg)
        return cls(radar=radar(sicd))

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        return self.radar.to_world(pixels, heights)

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points; see `SensorModel.to_image`."""
        return self.radar.to_image(world)


def radar(sicd: Branch) -> Radar:
    """Return the geometry of an image.

    Raises
    ------
    ValueError
        When metadata are missing or invalid.
    """
    row, col = sicd.pair("ImageData/SCPPixel")
    first = sicd.number("ImageData/FirstRow"), sicd.number("ImageData/FirstCol")
    track = arp(sicd, "Position/ARPPoly")
    try:
        return Radar(
            centre=sicd.vector("GeoData/SCP/ECF"),
            centre_pixel=(row - first[0], col - first[1]),
            spacing=(sicd.number("Grid/Row/SS"), sicd.number("Grid/Col/SS")),
            row=sicd.vector("Grid/Row/UVectECF"),
            col=sicd.vector("Grid/Col/UVectECF"),
            time=sicd.polynomial2("Grid/TimeCOAPoly"),
            track=track,
            grid=_grid(sicd, track),
        )
    except ValueError as error:
        words = str(error)
        msg = words if words.startswith(sicd.kind) else f"{sicd.kind} of {words}"
        raise ValueError(msg) from error


def arp(branch: Branch, path: str) -> Track:
    """Return the track of the sensor below a path."""
    return (
        branch.polynomial(f"{path}/X"),
        branch.polynomial(f"{path}/Y"),
        branch.polynomial(f"{path}/Z"),
    )


def _grid(sicd: Branch, track: Track) -> Grid:
    kind, algorithm = sicd.text("Grid/Type"), sicd.text("ImageFormation/ImageFormAlgo")
    if kind in _PLANES:
        return PlaneGrid(row=sicd.vector("Grid/Row/UVectECF"), col=sicd.vector("Grid/Col/UVectECF"))
    if kind == "RGZERO":
        return ZeroDopplerGrid(
            closest=sicd.number("RMA/INCA/R_CA_SCP"),
            time=sicd.polynomial("RMA/INCA/TimeCAPoly"),
            rate=sicd.polynomial2("RMA/INCA/DRateSFPoly"),
            track=track,
        )
    if (kind, algorithm) == ("RGAZIM", "PFA"):
        return PolarGrid(
            angle=sicd.polynomial("PFA/PolarAngPoly"),
            scale=sicd.polynomial("PFA/SpatialFreqSFPoly"),
        )
    if (kind, algorithm) == ("RGAZIM", "RGAZCOMP"):
        return AzimuthGrid(scale=sicd.number("RgAzComp/AzSF"))
    msg = f"{sicd.kind} of a grid {kind} made by {algorithm}"
    raise ValueError(msg)
