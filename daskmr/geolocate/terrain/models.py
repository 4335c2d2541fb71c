"""Intersection of lines of sight with the ground, for any sensor model that takes heights."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.arrays import Indices
from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.terrain.height_grid import HeightGrid, Opener, cut

_WITHIN_M = 0.01
_STEPS = 12
_STEADY = 0.9
_HALVINGS = 50
_AT_ONCE = 2**20
_MOST_LEVELS = 4096
_EXTREMES = (-500.0, 9000.0)
_WITH_HEIGHT = 3


def on_terrain(
    model: SensorModel,
    info: ImageInfo,
    elevation: float | str,
    *,
    geoid: str | None,
    open_raster: Opener,
) -> SensorModel:
    """Return a sensor model whose default height is that of the ground.

    Parameters
    ----------
    model
        Of the image.
    info
        Its header.
    elevation
        One height for all, in metres above the ellipsoid of WGS 84; or the name of a raster of
        heights, which is read under the image, once; or a folder or pattern of rasters, one for
        each square degree (SRTM, DTED, GeoTIFF; see `daskmr.geolocate.terrain.dem_tiles.tiles`).
    geoid
        Raster of the geoid's heights above the ellipsoid, when the heights are above the geoid
        (above sea level, as those of SRTM and DTED); None when they are above the ellipsoid.
    open_raster
        Opens a raster by its name.

    Raises
    ------
    RequestError
        When a raster cannot be used.
    """
    if isinstance(elevation, str):
        return TerrainModel(
            model=model,
            ground=cut(elevation, _below(model, info), geoid=geoid, open_raster=open_raster),
        )
    return LevelModel(model=model, height=float(elevation))


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelModel:
    """A sensor model with level ground at another height than its default."""

    model: SensorModel
    height: float
    """Metres above the ellipsoid."""

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return None: see `on_terrain`."""
        return None

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        level = np.full(len(pixels), self.height) if heights is None else heights
        return self.model.to_world(pixels, level)

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points; see `SensorModel.to_image`."""
        return self.model.to_image(_with_heights(world, self.height))


@dataclass(frozen=True, slots=True, kw_only=True)
class TerrainModel:
    """A sensor model whose ground is a raster of heights.

    Every point is on its line of sight, and within a centimetre of the ground. Where a line meets
    the ground more than once and iteration does not converge, the highest intersection is the
    result: the visible one from above, and for radar the top of a layover.
    """

    model: SensorModel
    ground: HeightGrid

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return None: see `on_terrain`."""
        return None

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        if heights is not None:
            return self.model.to_world(pixels, heights)
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        world = np.full((len(pixels), 3), np.nan)
        left = self._settle(pixels, world)
        if len(left):
            world[left] = self._scan(pixels[left])
        return world

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points, those without a height on the ground."""
        world = np.asarray(world, dtype=np.float64)
        if world.shape[1] < _WITH_HEIGHT:
            world = _with_heights(world, self.ground.at(world))
        return self.model.to_image(world)

    def _settle(self, pixels: Points, world: Points) -> Indices:
        """Fill points by iteration, and return the indices of those that do not converge.

        Each step goes to the height of the ground below the last point, and from the second on to
        the fixed point of the line through the last two (secant method).
        """
        left = np.arange(len(pixels))
        height = np.full(len(pixels), (self.ground.low + self.ground.high) / 2)
        last_height = last_ground = np.full(len(pixels), np.nan)
        for _ in range(_STEPS):
            points = self.model.to_world(pixels[left], height)
            ground = self.ground.at(points)
            converged = np.abs(ground - height) <= _WITHIN_M
            world[left[converged]] = points[converged]
            with np.errstate(invalid="ignore", divide="ignore"):
                slope = (ground - last_ground) / (height - last_height)
                slope = np.where(np.abs(slope) < _STEADY, slope, 0.0)
                onward = (ground - slope * height) / (1.0 - slope)
            more = ~converged & np.isfinite(onward)
            last_height, last_ground = height[more], ground[more]
            left, height = left[more], np.clip(onward[more], self.ground.low, self.ground.high)
            if not len(left):
                break
        lost = np.isnan(world[:, 0]) & np.isfinite(pixels).all(axis=1)
        return np.flatnonzero(lost)

    def _scan(self, pixels: Points) -> Points:
        """Return the highest intersection of each line of sight with the ground; NaN for none."""
        top, bottom = self.ground.high + _WITHIN_M, self.ground.low - _WITHIN_M
        ends = [
            np.stack(self.ground.cells(self.model.to_world(pixels, np.full(len(pixels), h))))
            for h in (top, bottom)
        ]
        n_cells = np.nan_to_num(np.abs(ends[0] - ends[1])).max(initial=0)
        levels = np.linspace(top, bottom, int(np.clip(2 * n_cells, 8, _MOST_LEVELS)))
        size = max(1, _AT_ONCE // len(levels))
        parts = [
            self._halve(some, *self._first_below(some, levels))
            for some in (pixels[i : i + size] for i in range(0, len(pixels), size))
        ]
        return np.concatenate(parts)

    def _first_below(self, pixels: Points, levels: Points) -> tuple[Points, Points]:
        """Return the levels between which each line first goes below the ground; NaN for none."""
        rays = np.repeat(pixels, len(levels), axis=0)
        heights = np.tile(levels, len(pixels))
        ground = self.ground.at(self.model.to_world(rays, heights))
        over = (heights - ground).reshape(len(pixels), -1)
        goes = (over[:, :-1] > 0) & (over[:, 1:] <= 0)
        first = goes.argmax(axis=1)
        misses = ~goes.any(axis=1)
        upper, lower = levels[first], levels[first + 1]
        upper[misses] = lower[misses] = np.nan
        return upper, lower

    def _halve(self, pixels: Points, upper: Points, lower: Points) -> Points:
        """Return points between two heights, by bisection."""
        for _ in range(_HALVINGS):
            middle = (upper + lower) / 2
            over = middle > self.ground.at(self.model.to_world(pixels, middle))
            upper, lower = np.where(over, middle, upper), np.where(over, lower, middle)
        world = self.model.to_world(pixels, upper)
        world[~(np.abs(self.ground.at(world) - world[:, 2]) <= _WITHIN_M)] = np.nan
        return world


def _with_heights(world: Points, height: float | Points) -> Points:
    """Return ground points with a height, set where they have none."""
    world = np.asarray(world, dtype=np.float64)
    if world.shape[1] >= _WITH_HEIGHT:
        return world
    return np.column_stack([world, np.broadcast_to(height, len(world))])


def _below(model: SensorModel, info: ImageInfo) -> Points:
    """Return ground points of the image and a margin, at the extremes of heights on Earth."""
    x = np.linspace(-0.1, 1.1, 17) * info.width
    y = np.linspace(-0.1, 1.1, 17) * info.height
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    levels = [None, *(np.full(len(pixels), height) for height in _EXTREMES)]
    return np.concatenate([model.to_world(pixels, level) for level in levels])
