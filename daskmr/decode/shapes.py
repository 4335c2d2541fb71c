"""Read and check the shapes in the properties of a feature.

Coordinates are x, y in tile pixels. Values are checked before numpy reads them: numpy converts text
to numbers, and a single long text in a list of numbers would make it allocate gigabytes.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import isfinite
from numbers import Real
from typing import Any, cast

import numpy as np
import shapely
from numpy.typing import NDArray

Ring = NDArray[np.float64]
"""Closed ring: x, y, shape (N, 2), N at least 4, the first point again at the end."""

_NUMBERS = frozenset({int, float})


class Drop(StrEnum):
    """Reasons for leaving one feature of an answer out."""

    NOT_A_FEATURE = "NOT_A_FEATURE"
    """The feature is not an object."""
    NO_SHAPE = "NO_SHAPE"
    """The feature has no property with a shape."""
    BAD_SHAPE = "BAD_SHAPE"
    """Unknown geometry type, too few points, a coordinate that is not a number, an inverted box."""
    NOT_FINITE = "NOT_FINITE"
    """A coordinate is NaN, infinite, or too large for a float."""
    OUTSIDE = "OUTSIDE"
    """The box does not touch the tile, or a coordinate is farther than `REACH_PX` from it."""
    BAD_CLASSES = "BAD_CLASSES"
    """A class is neither text nor a number that the convention allows, or a score is no number."""


class Unusable(Exception):  # noqa: N818  not an error: the feature is counted and left out
    """One feature cannot be used; the argument is a `Drop`."""


def polygons_of(rings: Sequence[Ring]) -> NDArray[Any]:
    """Return a polygon without holes for each ring."""
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    close_ring = shapely.linearrings(np.concatenate(rings), indices=owner)
    return np.asarray(shapely.polygons(close_ring), dtype=object)


Shape = shapely.Geometry | Ring | None
"""A shapely geometry; the ring of a polygon without holes; None when there is only a box."""


_SHAPES = frozenset({"imageGeometry", "imageBBox", "geom_imcoords", "detection", "bounds_imcoords"})


def has_shape(properties: Mapping[str, Any]) -> bool:
    """Return whether a property of Model Runner's has, or should have, the shape of a feature."""
    return not _SHAPES.isdisjoint(properties)


def shape_of(properties: Mapping[str, Any]) -> tuple[Shape, Sequence[float] | None, str]:
    """Return the geometry, the box, and the property that they come from; the first present wins.

    Raises
    ------
    Unusable
        When no property has a shape, or it is malformed.
    """
    shape, box = properties.get("imageGeometry"), properties.get("imageBBox")
    if shape is not None or box is not None:
        return (
            None if shape is None else _geometry(shape),
            None if box is None else box_of(box),
            "imageBBox",
        )
    if (rings := properties.get("geom_imcoords")) is not None:
        return _simple(_rings(rings)), None, "geom_imcoords"
    if (
        isinstance(detection := properties.get("detection"), Mapping)
        and "pixelCoordinates" in detection
    ):
        value = {"type": detection.get("type"), "coordinates": detection["pixelCoordinates"]}
        return _geometry(value), None, "detection"
    if (edges := properties.get("bounds_imcoords")) is not None:
        return None, box_of(edges), "bounds_imcoords"
    raise Unusable(Drop.NO_SHAPE)


def box_of(value: object) -> list[float]:
    """Return four finite numbers in order: x_min, y_min, x_max, y_max."""
    edges = as_list(value)
    if len(edges) != 4:  # noqa: PLR2004  x_min, y_min, x_max, y_max
        raise Unusable(Drop.BAD_SHAPE)
    box = floats_of(edges)
    if box[2] < box[0] or box[3] < box[1]:
        raise Unusable(Drop.BAD_SHAPE)
    return box


def _geometry(value: object) -> shapely.Geometry | Ring:
    """Return a GeoJSON geometry; the ring of a polygon without holes."""
    if not isinstance(value, Mapping):
        raise Unusable(Drop.BAD_SHAPE)
    kind = value.get("type")
    if kind == "Polygon":
        return _simple(_rings(value.get("coordinates")))
    build = _BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        raise Unusable(Drop.BAD_SHAPE)
    return build(value.get("geometries" if kind == "GeometryCollection" else "coordinates"))


def _simple(rings: list[Ring]) -> shapely.Geometry | Ring:
    return rings[0] if len(rings) == 1 else shapely.Polygon(rings[0], rings[1:])


def _build_geometry(value: object) -> shapely.Geometry:
    shape = _geometry(value)
    return shapely.Polygon(shape) if isinstance(shape, np.ndarray) else shape


def _rings(value: object) -> list[Ring]:
    """Return closed rings; a single ring need not be in a list."""
    rings = _non_empty_list(value)
    first = _non_empty_list(rings[0])[0]
    return [_ring(r) for r in (rings if isinstance(first, list | tuple | np.ndarray) else [rings])]


def _ring(value: object) -> Ring:
    return close_ring(_points(value))


def close_ring(ring: NDArray[np.float64]) -> Ring:
    """Return the points as a closed ring."""
    if len(ring) and (ring[0] != ring[-1]).any():
        ring = np.concatenate([ring, ring[:1]])
    if len(ring) < 4:  # noqa: PLR2004  a triangle, closed
        raise Unusable(Drop.BAD_SHAPE)
    return ring


def _line(value: object) -> shapely.LineString:
    points = _points(value)
    if len(points) < 2:  # noqa: PLR2004
        raise Unusable(Drop.BAD_SHAPE)
    return shapely.LineString(points)


def _points(value: object) -> NDArray[np.float64]:
    """Return x, y of positions, shape (N, 2); further coordinates are left out."""
    flat: list[object] = []
    for point in map(as_list, _non_empty_list(value)):
        if len(point) < 2:  # noqa: PLR2004
            raise Unusable(Drop.BAD_SHAPE)
        flat.extend(point[:2])
    return np.array(floats_of(flat), dtype=np.float64).reshape(-1, 2)


def as_list(value: object) -> Sequence[Any]:
    """Return a list or tuple as it is, an array as a list; raise for other types."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise Unusable(Drop.BAD_SHAPE)
    return value


def _non_empty_list(value: object) -> Sequence[Any]:
    """Return a list; raise when it is empty."""
    values = as_list(value)
    if not values:
        raise Unusable(Drop.BAD_SHAPE)
    return values


def floats_of(values: Sequence[object]) -> list[float]:
    """Return finite floats; raise for text, which numpy would convert, and for other types."""
    if not _NUMBERS.issuperset(map(type, values)) and not all(map(is_number, values)):
        raise Unusable(Drop.BAD_SHAPE)
    try:
        numbers = [float(cast("float", value)) for value in values]
    except OverflowError:
        raise Unusable(Drop.NOT_FINITE) from None
    if not all(map(isfinite, numbers)):
        raise Unusable(Drop.NOT_FINITE)
    return numbers


def is_number(value: object) -> bool:
    """Return whether a value is a real number; booleans are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _each(build: Callable[[object], Any], value: object) -> list[Any]:
    return [build(part) for part in _non_empty_list(value)]


_BUILDERS: Mapping[str, Callable[[object], shapely.Geometry]] = {
    "Point": lambda value: shapely.Point(_points([value])[0]),
    "MultiPoint": lambda value: shapely.MultiPoint(_points(value)),
    "LineString": _line,
    "LinearRing": _line,
    "MultiLineString": lambda value: shapely.MultiLineString(_each(_line, value)),
    "MultiPolygon": lambda value: shapely.MultiPolygon(
        [(rings[0], rings[1:]) for rings in _each(_rings, value)]
    ),
    "GeometryCollection": lambda value: shapely.GeometryCollection(_each(_build_geometry, value)),
}
