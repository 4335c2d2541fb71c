"""Boxes and instance masks that come as arrays, with scores and labels beside them.

The outline of a mask runs along the outer corners of its pixels: the mask of a whole tile is the
polygon from (0, 0) to (width, height).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import nan
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, polygons
from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.decode.columns import (
    Reading,
    Table,
    check_count,
    label_column,
    nested,
    numbers,
    refused,
)
from daskmr.decode.shapes import Drop

MAX_PIXELS = 2**28
"""Pixels that the masks of one tile may have in all."""

MAX_EDGES = 2**22
"""Pixel edges that the outlines of one tile may have in all."""

_BOX, _SCORE, _CLASS = 4, 5, 6  # width of a row that ends with this
_IMAGE, _STACK, _BATCH = 2, 3, 4  # dimensions of masks


def from_arrays(value: object, reading: Reading) -> Detections:
    """Detections of boxes or masks, with scores and labels beside them or behind each box.

    Parameters
    ----------
    value
        Boxes, or an object with ``boxes`` or ``masks`` or both.
    """
    given: Mapping[str, Any] = value if isinstance(value, Mapping) else {"boxes": value}
    if "boxes" not in given and "masks" not in given:
        msg = f'the answer {keys_of(given)} has no "boxes" and no "masks"'
        raise refused(msg)
    rows = _matrix(given.get("boxes"))
    if given.get("masks") is None:
        table = _table(given, rows, reading)
        return _boxes(table, rows[:, :_BOX], reading.tile)
    shapes = outlines(given["masks"], reading.tile)
    if given.get("boxes") is None:
        rows = np.empty((len(shapes), 0))
    elif len(rows) != len(shapes):
        msg = f"{len(rows)} boxes, but {len(shapes)} masks"
        raise refused(msg)
    return _masks(_table(given, rows, reading), (shapes, rows[:, :_BOX]), reading.tile)


def keys_of(value: Mapping[Any, Any]) -> str:
    """The keys of an object, as a message can hold them."""
    names = [key[:80] if isinstance(key, str) else type(key).__name__ for key in islice(value, 20)]
    return f"{{{ascii(', '.join(names))[1:-1][:80]}}}"


def _boxes(table: Table, boxes: Boxes, tile: Size) -> Detections:
    """Boxes alone, each its own geometry."""
    reasons = table.reasons
    _mark(reasons, boxes)
    return table.detections(polygons(boxes[reasons == ""]), tile)


def _masks(table: Table, found: tuple[NDArray[Any], Boxes], tile: Size) -> Detections:
    """Masks, with the model's boxes if it gave any."""
    shapes, boxes = found
    reasons = table.reasons
    reasons[shapely.is_missing(shapes)] = Drop.NO_SHAPE
    if not boxes.shape[1]:
        return table.detections(shapes[reasons == ""], tile)
    _mark(reasons, boxes)
    used = reasons == ""
    return table.detections(shapes[used], tile, boxes=boxes[used])


def _mark(reasons: NDArray[np.str_], boxes: Boxes) -> None:
    """Name why boxes cannot be used."""
    finite = np.isfinite(boxes).all(axis=1)
    inverted = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    reasons[(reasons == "") & ~finite] = Drop.NOT_FINITE
    reasons[(reasons == "") & inverted] = Drop.BAD_SHAPE


def _matrix(value: object) -> NDArray[np.float64]:
    """Rows of 4 to 6 numbers."""
    if value is None:
        return np.empty((0, _BOX))
    rows = numbers(value, "boxes")
    if rows.shape == (0,):
        return np.empty((0, _BOX))
    if rows.ndim == 3 and len(rows) == 1:  # noqa: PLR2004  a batch of one tile
        rows = rows[0]
    if rows.ndim != 2 or rows.dtype.kind == "b" or not _BOX <= rows.shape[1] <= _CLASS:  # noqa: PLR2004
        msg = (
            f"boxes of the answer are a {type(value).__name__} of shape {rows.shape} and type"
            f" {rows.dtype}; boxes have shape (N, 4), (N, 5) or (N, 6)"
        )
        raise refused(msg)
    check_count(len(rows))
    return _float64(rows)


def _float64(values: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # what float64 cannot hold becomes infinite
        return values.astype(np.float64)


def _table(given: Mapping[str, Any], rows: NDArray[np.float64], reading: Reading) -> Table:
    """Scores and labels of boxes or masks, each of which still counts as usable."""
    scores: NDArray[np.float64] = np.full(len(rows), nan)
    labels: Sequence[object] = [""] * len(rows)
    if rows.shape[1] >= _SCORE:
        scores = rows[:, _SCORE - 1]
    if rows.shape[1] >= _CLASS:
        labels = rows[:, _CLASS - 1].tolist()
    if given.get("scores") is not None:
        scores = _float64(_flat(numbers(given["scores"], "scores"), "scores"))
    if given.get("labels") is not None:
        labels = _labels(given["labels"])
    if not len(labels) == len(scores) == len(rows):
        what = "boxes" if rows.shape[1] else "masks"
        msg = f"{len(rows)} {what}, but {len(scores)} scores and {len(labels)} labels"
        raise refused(msg)
    names = label_column(labels, reading.classes)
    return Table(np.full(len(rows), "", dtype="U16"), names, scores, ["{}"] * len(rows))


def _labels(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        try:
            found: list[object] = _flat(np.asarray(value), "labels").tolist()
        except (TypeError, ValueError, RuntimeError) as error:
            msg = f"labels of the answer are a {type(value).__name__} that is no array: {error}"
            raise refused(msg) from None
        return found
    shape, values = nested(value, "labels")
    _flat(np.broadcast_to(0, shape), "labels")
    return values


def _flat(values: NDArray[Any], what: str) -> NDArray[Any]:
    """One value a detection; further dimensions of length 1 are left out."""
    if not values.ndim or values.squeeze().ndim > 1:
        msg = f"{what} of the answer have shape {values.shape}; one for each detection is wanted"
        raise refused(msg)
    return values.reshape(-1)


def outlines(value: object, tile: Size) -> NDArray[Any]:
    """Outlines of instances, shape (N,); None for a mask without a pixel.

    Parameters
    ----------
    value
        Masks of shape (N, height, width), true, not 0, or above 0.5 if they are fractions; or one
        image of shape (height, width) in which each number but 0 is an instance.
    """
    masks = numbers(value, "masks")
    given = masks.shape
    if not given or given[0] == 0 < tile.height:
        return np.empty(0, dtype=object)
    if masks.ndim == _BATCH and 1 in given[:2]:
        masks = masks[0] if given[0] == 1 else masks[:, 0]
    if masks.ndim not in {_IMAGE, _STACK} or masks.shape[-2:] != (tile.height, tile.width):
        msg = (
            f"masks of the answer have shape {given}, but the tile has height {tile.height} and"
            f" width {tile.width}"
        )
        raise refused(msg)
    if masks.size > MAX_PIXELS:
        msg = f"masks of the answer have {masks.size} pixels, more than {MAX_PIXELS}"
        raise refused(msg)
    if masks.ndim == _STACK:
        check_count(len(masks))
        return _collected(_stack_pieces(masks), len(masks))
    if masks.dtype.kind == "f":
        msg = f"a mask image of the answer has type {masks.dtype}; whole numbers are wanted"
        raise refused(msg)
    return _instances(masks)


def _instances(image: NDArray[Any]) -> NDArray[Any]:
    """Outlines of the numbers in an image, in their order."""
    values, places = np.unique(image, return_inverse=True)
    check_count(n_instances := int(np.count_nonzero(values)))
    numbered = np.zeros(len(values), dtype=np.int32)
    numbered[values != 0] = np.arange(1, n_instances + 1)
    codes = numbered[places].reshape(image.shape)
    _check_edges(_edges(codes))
    return _collected(((owner - 1, piece) for owner, piece in _pieces(codes)), n_instances)


def _stack_pieces(masks: NDArray[Any]) -> Iterator[tuple[int, shapely.Polygon]]:
    """Pieces of each mask, with its index; only the part with pixels is traced."""
    n_edges = 0
    for index, mask in enumerate(masks):
        inside = mask > 0.5 if mask.dtype.kind == "f" else mask != 0  # noqa: PLR2004
        rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            continue
        corner = (int(cols[0]), int(rows[0]))
        part = inside[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].astype(np.uint8)
        n_edges += _edges(part)
        _check_edges(n_edges)
        for _, piece in _pieces(part, corner=corner):
            yield index, piece


def _pieces(
    codes: NDArray[Any], *, corner: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, shapely.Polygon]]:
    """Pieces of equal numbers other than 0."""
    if not codes.any():
        return
    from affine import Affine
    from rasterio.features import shapes

    place = Affine.translation(*corner)
    for shape, code in shapes(codes, mask=codes != 0, connectivity=4, transform=place):
        shell, *holes = shape["coordinates"]
        yield int(code), shapely.Polygon(shell, holes)


def _edges(codes: NDArray[Any]) -> int:
    down, across = codes[1:] != codes[:-1], codes[:, 1:] != codes[:, :-1]
    return int(np.count_nonzero(down) + np.count_nonzero(across))


def _check_edges(n_edges: int) -> None:
    """Refuse masks of noise: each of their pixels would be a polygon."""
    if n_edges > MAX_EDGES:
        msg = f"masks of the answer have outlines of {n_edges} pixel edges, more than {MAX_EDGES}"
        raise refused(msg)


def _collected(pieces: Iterator[tuple[int, shapely.Polygon]], n_instances: int) -> NDArray[Any]:
    """One geometry an instance; None without a piece."""
    parts: list[list[shapely.Polygon]] = [[] for _ in range(n_instances)]
    for owner, piece in pieces:
        parts[owner].append(piece)
    found = np.full(n_instances, None, dtype=object)
    for index, group in enumerate(parts):
        if group:
            found[index] = group[0] if len(group) == 1 else shapely.MultiPolygon(group)
    return found
