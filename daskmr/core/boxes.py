"""Axis-aligned boxes as arrays: x_min, y_min, x_max, y_max, shape (N, 4), float64, pixels."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""Shape (N, 4): x_min, y_min, x_max, y_max; origin at the outer corner of the first pixel."""


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Return the area of each box.

    Parameters
    ----------
    boxes
        Shape (N, 4), pixels.

    Returns
    -------
    Shape (N,), square pixels; 0 for a box with a negative width or height.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """Return intersection over union of box i of *first* with box i of *second*.

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
    ratios: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=ratios, where=union > 0)
    return ratios


def shift(boxes: Boxes, *, x: float, y: float) -> Boxes:
    """Return the boxes moved by x columns and y rows (tile frame to image frame)."""
    moved: Boxes = boxes + np.array([x, y, x, y], dtype=np.float64)
    return moved


def bounds(geometries: NDArray[Any]) -> Boxes:
    """Return the box of each shapely geometry, shape (N, 4); NaN for an empty one."""
    boxes: Boxes = shapely.bounds(geometries).reshape(-1, 4)
    return boxes


def polygons(boxes: Boxes) -> NDArray[Any]:
    """Return the boxes as shapely polygons, shape (N,)."""
    shapes: NDArray[Any] = np.asarray(shapely.box(*boxes.T), dtype=object).reshape(-1)
    return shapes
