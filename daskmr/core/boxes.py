"""Axis-aligned boxes as arrays: x_min, y_min, x_max, y_max, shape (N, 4), float64, pixels."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""Shape (N, 4): x_min, y_min, x_max, y_max; origin at the outer corner of the first pixel."""


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Area of each box.

    Parameters
    ----------
    boxes
        Shape (N, 4), pixels.

    Returns
    -------
    Shape (N,), square pixels; 0 for a box that is turned inside out.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    found: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return found


def iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Intersection over union of box i of *first* with box i of *second*.

    Parameters
    ----------
    first, second
        Shape (N, 4), pixels.

    Returns
    -------
    Shape (N,), 0 to 1; 0 where both boxes are empty.

    Examples
    --------
    >>> iou(np.array([[0.0, 0, 100, 100]]), np.array([[0.0, 0, 100, 75]])).tolist()
    [0.75]
    """
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, 2:], second[:, 2:])
    sides = np.maximum(high - low, 0.0)
    shared = sides[:, 0] * sides[:, 1]
    union = area(first) + area(second) - shared
    found: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=found, where=union > 0)
    return found


def shift(boxes: Boxes, *, x: float, y: float) -> Boxes:
    """The boxes moved by x columns and y rows (tile frame to image frame)."""
    moved: Boxes = boxes + np.array([x, y, x, y], dtype=np.float64)
    return moved


def bounds(geometries: NDArray[Any]) -> Boxes:
    """Box of each shapely geometry, shape (N, 4); NaN for an empty one."""
    found: Boxes = shapely.bounds(geometries).reshape(-1, 4)
    return found


def polygons(boxes: Boxes) -> NDArray[Any]:
    """The boxes as shapely polygons, shape (N,)."""
    made: NDArray[Any] = np.asarray(shapely.box(*boxes.T), dtype=object).reshape(-1)
    return made
