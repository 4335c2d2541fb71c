"""Sensor model of images with rational polynomial coefficients.

The polynomials map the ground to the image; the inverse is solved. They count lines and samples
from the centre of the first pixel; half a pixel is subtracted and added here, and nowhere else.

Our own: GDAL's RPC transformer works point by point on an open file, and says neither where its
inverse fails nor with which height (docs/decisions/0010).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.arrays import Mask
from daskmr.core.imagery import ImageInfo, Rpcs
from daskmr.errors import ImageError
from daskmr.geolocate._crs import nearest_turn, wrap
from daskmr.geolocate._rational import Pair, Ratio, at_height
from daskmr.geolocate.base import Points

_BLOCK = 8192
"""Points that are computed at once: their terms stay in the cache of a core."""
_WITHIN_PX = 1e-7
_FARTHEST = 100.0
"""Scales from the centre beyond which points are invalid; RPCs are fitted within one."""
_HALF = 0.5
_POLE = 90.0
_WITH_HEIGHT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcModel:
    """Rational polynomials, exact in both directions; heights are ``height_off`` by default.

    Lines of sight are solved to 1e-7 pixels. Where polynomials have folded over, far outside of
    their domain, the result is NaN.
    """

    rpcs: Rpcs

    def __post_init__(self) -> None:
        """Refuse polynomials whose derivatives at the centre are singular."""
        if _sign(self.rpcs) == 0:
            msg = "RPCs cannot be solved: at their centre the image does not move over the ground"
            raise ValueError(msg)

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of an image, or of the one that a chip (`info.chip`) was cut out of.

        Raises
        ------
        ImageError
            When the coefficients are invalid.
        """
        if info.rpcs is None:
            return None
        try:
            return cls(rpcs=info.rpcs)
        except ValueError as error:
            msg = f"{info.url}: {error}"
            raise ImageError(msg) from error

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        world = np.empty((len(pixels), 3))
        world[:, 2] = self.rpcs.height_off if heights is None else heights
        with np.errstate(all="ignore"):
            for start in range(0, len(pixels), _BLOCK):
                part = slice(start, start + _BLOCK)
                self._place(pixels[part], world[part], level=heights is None)
        return world

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points; see `SensorModel.to_image`."""
        world = np.asarray(world, dtype=np.float64)
        pixels = np.empty((len(world), 2))
        with np.errstate(all="ignore"):
            for start in range(0, len(world), _BLOCK):
                part = slice(start, start + _BLOCK)
                self._see(world[part], pixels[part])
        return pixels

    def _place(self, pixels: Points, world: Points, *, level: bool) -> None:
        """Fill lon, lat of a block of ground points whose heights are set."""
        r = self.rpcs
        h = 0.0 if level else (world[:, 2] - r.height_off) / r.height_scale
        samples = (pixels[:, 0] - (_HALF + r.samp_off)) / r.samp_scale
        lines = (pixels[:, 1] - (_HALF + r.line_off)) / r.line_scale
        within = _WITHIN_PX / abs(r.samp_scale), _WITHIN_PX / abs(r.line_scale)
        x, y, right = _pair(r, h).solve((samples, lines), within)
        world[:, 0] = wrap(r.long_off + x * r.long_scale)
        world[:, 1] = r.lat_off + y * r.lat_scale
        world[~(right & _near(x, y, samples, lines) & (np.abs(world[:, 1]) <= _POLE))] = np.nan

    def _see(self, world: Points, pixels: Points) -> None:
        """Fill a block of pixels from ground points."""
        r = self.rpcs
        level = world.shape[1] < _WITH_HEIGHT
        h = 0.0 if level else (world[:, 2] - r.height_off) / r.height_scale
        x = (nearest_turn(world[:, 0], r.long_off) - r.long_off) / r.long_scale
        y = (world[:, 1] - r.lat_off) / r.lat_scale
        samples, lines, right = _pair(r, h).values((x, y))
        pixels[:, 0] = samples * r.samp_scale + (r.samp_off + _HALF)
        pixels[:, 1] = lines * r.line_scale + (r.line_off + _HALF)
        pixels[~(right & _near(x, y, samples, lines) & (np.abs(world[:, 1]) <= _POLE))] = np.nan


def _near(*normal: Points) -> Mask:
    near: Mask = np.abs(normal).max(axis=0) <= _FARTHEST
    return near


def _pair(r: Rpcs, h: float | Points) -> Pair:
    """Return samples and lines at heights, with denominators that are 1 at the centre."""
    first, second = (
        Ratio(*(at_height(np.array(c) / under[0], h) for c in (over, under)))
        for over, under in ((r.samp_num, r.samp_den), (r.line_num, r.line_den))
    )
    return Pair(first, second, _sign(r))


def _sign(r: Rpcs) -> float:
    """Return the sign of the determinant of the derivatives at the centre; 0 when singular."""
    across, down = (
        [over[i] * under[0] - over[0] * under[i] for i in (1, 2)]
        for over, under in ((r.samp_num, r.samp_den), (r.line_num, r.line_den))
    )
    return float(np.sign(across[0] * down[1] - across[1] * down[0]))
