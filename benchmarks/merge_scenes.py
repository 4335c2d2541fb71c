"""Simulated scenes, a simulated detector that sees them through tiles, and the score of a merge.

The detector sees an object of which a tile shows at least 30 %, and answers the part that the tile
shows, a pixel off, with a score that falls as less is visible. Everything follows from a seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core import features
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.core.truncation import flag_cuts

Shapes = NDArray[Any]
"""shapely polygons, shape (N,), dtype object, pixels."""
SIDE = 4000
"""Rows and columns of a scene."""
TILE = 512
_VISIBLE, _JITTER_PX = 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects, and how they are looked at."""

    name: str
    overlap: int
    """Pixels that neighbouring tiles share."""
    make: Callable[[np.random.Generator], Shapes]
    """Makes the objects."""


def _boxes(corners: NDArray[np.float64], sides: NDArray[np.float64]) -> Shapes:
    far = corners + sides
    made: Shapes = shapely.box(corners[:, 0], corners[:, 1], far[:, 0], far[:, 1])
    return made


def _lattice(step: tuple[float, float], edge: float) -> NDArray[np.float64]:
    xs, ys = (np.arange(edge, SIDE - edge, by) for by in step)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def isolated(random: np.random.Generator, size: float) -> Shapes:
    """Objects of about a size, well apart."""
    centres = _lattice((2.5 * size, 2.5 * size), 1.5 * size)
    centres = centres + random.uniform(-0.3, 0.3, centres.shape) * size
    sides = size * random.uniform(0.6, 1.2, centres.shape)
    return _boxes(centres - sides / 2, sides)


def packed(random: np.random.Generator) -> Shapes:
    """Rows of objects of 20 x 40 pixels, 2 pixels apart."""
    corners = _lattice((22.0, 42.0), 30.0) + random.random(2) * 9
    return _boxes(corners, np.tile([20.0, 40.0], (len(corners), 1)))


def nested(random: np.random.Generator, least: float, most: float) -> Shapes:
    """Large objects with three small ones of some size in each."""
    large = isolated(random, 120.0)
    bounds = shapely.bounds(large)
    third = (bounds[:, 2] - bounds[:, 0]) / 3
    small = []
    for number in range(3):
        sides = random.uniform(least, most, (len(bounds), 2))
        sides = np.minimum(sides, third[:, None] - 4)
        room = np.stack([third, bounds[:, 3] - bounds[:, 1]], axis=1) - sides - 4
        corners = bounds[:, :2] + 2 + room.clip(0) * random.random((len(bounds), 2))
        corners[:, 0] += number * third
        small.append(_boxes(corners, sides))
    return np.concatenate([large, *small])


def ships(random: np.random.Generator) -> Shapes:
    """Ships of 12 x 60 pixels in rows, 16 pixels apart and turned by 20 degrees."""
    places = _lattice((16.0, 80.0), 80.0)
    made = _boxes(places - [6.0, 30.0], np.tile([12.0, 60.0], (len(places), 1)))
    turn = np.radians(20.0) + random.normal(0, 0.001)
    middle = np.array([SIDE / 2, SIDE / 2])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = shapely.transform(made, lambda points: (points - middle) @ matrix.T + middle)
    inside = shapely.within(turned, shapely.box(0, 0, SIDE, SIDE))
    found: Shapes = turned[inside]
    return found


def trees(random: np.random.Generator) -> Shapes:
    """Crowns of 20 to 60 pixels in clusters, some of which touch; none covers another."""
    middles = random.random((400, 2)) * (SIDE - 400) + 200
    centres = np.concatenate([m + random.normal(0, 70, (40, 2)) for m in middles])
    sides = np.repeat(random.uniform(20, 60, (len(centres), 1)), 2, axis=1)
    made = _boxes(centres - sides / 2, sides)
    one, other = shapely.STRtree(made).query(made, predicate="intersects")
    earlier = other < one
    shared = shapely.area(shapely.intersection(made[one[earlier]], made[other[earlier]]))
    least = np.minimum(shapely.area(made[one[earlier]]), shapely.area(made[other[earlier]]))
    crowded = np.zeros(len(made), dtype=np.bool_)
    crowded[one[earlier][shared > 0.2 * least]] = True
    inside = shapely.within(made, shapely.box(0, 0, SIDE, SIDE))
    found: Shapes = made[inside & ~crowded]
    return found


SCENES = (
    Scene("isolated, 40 px, overlap 100", 100, lambda random: isolated(random, 40.0)),
    Scene("isolated, 40 px, overlap 32", 32, lambda random: isolated(random, 40.0)),
    Scene("packed rows, 2 px apart, overlap 100", 100, packed),
    Scene("nested, 16-24 px in 120 px, overlap 160", 160, lambda random: nested(random, 16, 24)),
    Scene("nested, 10-18 px in 120 px, overlap 160", 160, lambda random: nested(random, 10, 18)),
    Scene("large, 160 px, overlap 64", 64, lambda random: isolated(random, 160.0)),
    Scene("rotated ships, overlap 80", 80, ships),
    Scene("clustered trees, overlap 64", 64, trees),
)
"""What merging.md measures, and two more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detector answered."""

    table: gpd.GeoDataFrame
    """Detections in pixels, with the sides on which edges of tiles have cut them."""
    truth: Shapes
    """Objects that some tile showed well enough."""


def seen(
    objects: Shapes, grid: TileGrid, random: np.random.Generator, *, label: str = "thing"
) -> Seen:
    """Look at objects through the tiles of a grid.

    Parameters
    ----------
    objects
        In pixels of the image.
    grid
        The tiles.
    random
        Of jitter and scores.
    label
        Of all objects.
    """
    tiles = grid.boxes()
    windows: Any = shapely.box(*tiles.T)
    tile, number = shapely.STRtree(objects).query(windows, predicate="intersects")
    visible = shapely.intersection(objects[number], windows[tile])
    share = shapely.area(visible) / shapely.area(objects[number])
    enough = (share >= _VISIBLE) & (shapely.get_dimensions(visible) == 2)
    tile, number, share = tile[enough], number[enough], share[enough]
    shapes = _jittered(visible[enough], tiles[tile], random)
    n = len(shapes)
    columns = {
        "score": 0.6 + 0.3 * share + 0.1 * random.random(n),
        "label": [label] * n,
        "answer_index": np.arange(n),
        "tile_row": tiles[tile, 1].astype(np.int64),
        "tile_col": tiles[tile, 0].astype(np.int64),
        "feature_id": [f"{i:032x}" for i in range(n)],
    }
    table = features.table(shapes, shapely.bounds(shapes), columns)
    return Seen(flag_cuts(table, grid, None), objects[np.unique(number)])


def looked_at(scene: Scene, seed: int) -> Seen:
    """Return a scene as the detector sees it."""
    random = np.random.default_rng(seed)
    objects = scene.make(random)
    return seen(objects, grid_of(SIDE, SIDE, tile=TILE, overlap=scene.overlap), random)


def grid_of(height: int, width: int, *, tile: int, overlap: int) -> TileGrid:
    """Tiles over an image."""
    return TileGrid(
        window=Window(row=0, col=0, height=height, width=width),
        tile=Size.parse(tile),
        overlap=Size.parse(overlap),
    )


def _jittered(shapes: Shapes, tiles: NDArray[np.float64], random: np.random.Generator) -> Shapes:
    """Shapes whose sides are a pixel off, still within their tiles."""
    bounds = shapely.bounds(shapes)
    off = bounds + random.normal(0, _JITTER_PX, bounds.shape)
    off = np.clip(off, np.tile(tiles[:, :2], 2), np.tile(tiles[:, 2:], 2))
    is_box = np.isclose(shapely.area(shapes), shapely.area(shapely.box(*bounds.T)))
    scale = (off[:, 2:] - off[:, :2]) / (bounds[:, 2:] - bounds[:, :2])
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    moved = (points - bounds[owner, :2]) * scale[owner] + off[owner, :2]
    turned: Shapes = shapely.set_coordinates(shapes.copy(), moved)
    turned[is_box] = shapely.box(*off[is_box].T)
    return turned


def uniform(n: int) -> gpd.GeoDataFrame:
    """N boxes of 10 to 40 pixels, a fifth of them a jittered second sight of another."""
    random = np.random.default_rng(1)
    n_objects = int(n / 1.2)
    side = np.sqrt(n_objects / 50e-6)
    corner = random.random((n_objects, 2)) * side
    boxes = np.hstack([corner, corner + random.uniform(10, 40, (n_objects, 2))])
    again = boxes[random.integers(0, n_objects, n - n_objects)]
    boxes = np.vstack([boxes, again + random.normal(0, 1, again.shape)])
    columns = {
        "score": random.random(n),
        "label": np.array(["car", "ship", "tree"])[random.integers(0, 3, n)],
        "answer_index": np.arange(n),
        "feature_id": [f"{i:032x}" for i in range(n)],
    }
    return features.table(shapely.box(*boxes.T), boxes, columns)


@dataclass(frozen=True, slots=True)
class Score:
    """How well what is left fits the objects."""

    n_found: int
    n_truth: int
    matched: NDArray[np.float64]
    """Intersection over union of each object with the feature that is matched to it; 0 for none."""

    def f1(self, least: float) -> float:
        """2 x right / (found + true), right above an overlap."""
        n_right = int((self.matched > least).sum())
        return 2.0 * n_right / max(1, self.n_found + self.n_truth)

    @property
    def doubled(self) -> float:
        """Features beyond one for each object that was found, for each object."""
        return (self.n_found - int((self.matched > 0.5).sum())) / self.n_truth

    @property
    def lost(self) -> float:
        """Part of the objects that nothing fits."""
        return float((self.matched <= 0.5).mean())


def scored(found: Shapes, truth: Shapes) -> Score:
    """Match features and objects, the best fitting pair first, each once."""
    one, other = shapely.STRtree(truth).query(found, predicate="intersects")
    shared = shapely.area(shapely.intersection(found[one], truth[other]))
    union = shapely.area(found[one]) + shapely.area(truth[other]) - shared
    overlap = shared / union
    matched, taken = np.zeros(len(truth)), np.zeros(len(found), dtype=np.bool_)
    for pair in np.argsort(-overlap, kind="stable"):
        if matched[other[pair]] == 0 and not taken[one[pair]]:
            matched[other[pair]] = overlap[pair]
            taken[one[pair]] = True
    return Score(len(found), len(truth), matched)
