"""Read arrays of boxes and instance masks, with their scores and labels.

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
    odd_scores,
    refusal,
)
from daskmr.decode.shapes import Drop
from daskmr.decode.symptoms import UNREAD

MAX_PIXELS = 2**28
"""Largest total number of pixels in the masks of one tile."""

MAX_EDGES = 2**22
"""Largest total number of pixel edges in the outlines of one tile."""

_FIELDS = frozenset({"boxes", "masks", "scores", "labels"})
_BOX, _SCORE, _CLASS = 4, 5, 6  # number of columns up to this one
_IMAGE, _STACK, _BATCH = 2, 3, 4  # dimensions of masks


def from_arrays(value: object, reading: Reading) -> Detections:
    """Return the detections of boxes or masks, with scores and labels as columns or keys.

    Parameters
    ----------
    value
        Boxes, or an object with ``boxes`` or ``masks`` or both, and optional ``scores`` and
        ``labels``.
    reading
        The tile, and the names of class numbers.
    """
    fields: Mapping[str, Any] = value if isinstance(value, Mapping) else {"boxes": value}
    if "boxes" not in fields and "masks" not in fields:
        msg = f'the answer {keys_of(fields)} has no "boxes" and no "masks"'
        raise refusal(msg)
    rows = _matrix(fields.get("boxes"))
    if fields.get("masks") is None:
        table = _table(fields, rows, reading)
        return _boxes(table, rows[:, :_BOX], reading.tile)
    shapes = outlines(fields["masks"], reading.tile)
    if fields.get("boxes") is None:
        rows = np.empty((len(shapes), 0))
    elif len(rows) != len(shapes):
        msg = f"{len(rows)} boxes, but {len(shapes)} masks"
        raise refusal(msg)
    return _masks(_table(fields, rows, reading), (shapes, rows[:, :_BOX]), reading.tile)


def keys_of(value: Mapping[Any, Any]) -> str:
    """Return the keys of an object, shortened for a message."""
    names = [key[:80] if isinstance(key, str) else type(key).__name__ for key in islice(value, 20)]
    return f"{{{ascii(', '.join(names))[1:-1][:80]}}}"


def _boxes(table: Table, boxes: Boxes, tile: Size) -> Detections:
    """Return detections whose geometries are their boxes."""
    reasons = table.reasons
    _mark_unusable(reasons, boxes)
    return table.detections(polygons(boxes[reasons == ""]), tile)


def _masks(table: Table, columns: tuple[NDArray[Any], Boxes], tile: Size) -> Detections:
    """Return detections of masks, with the model's boxes when there are some."""
    shapes, boxes = columns
    reasons = table.reasons
    reasons[shapely.is_missing(shapes)] = Drop.NO_SHAPE
    if not boxes.shape[1]:
        return table.detections(shapes[reasons == ""], tile)
    _mark_unusable(reasons, boxes)
    used = reasons == ""
    return table.detections(shapes[used], tile, boxes=boxes[used])


def _mark_unusable(reasons: NDArray[np.str_], boxes: Boxes) -> None:
    """Write into `reasons` why boxes cannot be used."""
    finite = np.isfinite(boxes).all(axis=1)
    inverted = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    reasons[(reasons == "") & ~finite] = Drop.NOT_FINITE
    reasons[(reasons == "") & inverted] = Drop.BAD_SHAPE


def _matrix(value: object) -> NDArray[np.float64]:
    """Return rows of 4 to 6 numbers."""
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
        raise refusal(msg)
    check_count(len(rows))
    return _float64(rows)


def _float64(values: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):  # what float64 cannot hold becomes infinite
        return values.astype(np.float64)


def _table(fields: Mapping[str, Any], rows: NDArray[np.float64], reading: Reading) -> Table:
    """Return the scores and labels of boxes or masks, no row marked unusable yet."""
    scores: NDArray[np.float64] = np.full(len(rows), nan)
    labels: Sequence[object] = [""] * len(rows)
    if rows.shape[1] >= _SCORE:
        scores = rows[:, _SCORE - 1]
    if rows.shape[1] >= _CLASS:
        labels = rows[:, _CLASS - 1].tolist()
    if fields.get("scores") is not None:
        scores = _float64(_flat(numbers(fields["scores"], "scores"), "scores"))
    if fields.get("labels") is not None:
        labels = _labels(fields["labels"])
    if not len(labels) == len(scores) == len(rows):
        shapes = "boxes" if rows.shape[1] else "masks"
        msg = f"{len(rows)} {shapes}, but {len(scores)} scores and {len(labels)} labels"
        raise refusal(msg)
    names = label_column(labels, reading.classes)
    has_scores = rows.shape[1] >= _SCORE or fields.get("scores") is not None
    unread = set(map(str, fields)) - _FIELDS
    return Table(
        np.full(len(rows), "", dtype="U16"),
        names,
        scores,
        ["{}"] * len(rows),
        rows=rows[:, :_BOX] if rows.shape[1] else None,
        symptoms={
            **(odd_scores(scores) if has_scores else {}),
            **({UNREAD: keys_of(dict.fromkeys(sorted(unread)))} if unread else {}),
        },
    )


def _labels(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        try:
            labels: list[object] = _flat(np.asarray(value), "labels").tolist()
        except (TypeError, ValueError, RuntimeError) as error:
            msg = f"labels of the answer are a {type(value).__name__} that is no array: {error}"
            raise refusal(msg) from None
        return labels
    shape, values = nested(value, "labels")
    _flat(np.broadcast_to(0, shape), "labels")
    return values


def _flat(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return one value for each detection; further dimensions of length 1 are left out."""
    if not values.ndim or values.squeeze().ndim > 1:
        msg = f"{name} of the answer have shape {values.shape}; expected one for each detection"
        raise refusal(msg)
    return values.reshape(-1)


def outlines(value: object, tile: Size) -> NDArray[Any]:
    """Return the outlines of instances, shape (N,); None for a mask without pixels.

    Parameters
    ----------
    value
        Masks of shape (N, height, width), true, not 0, or above 0.5 if they are fractions; or one
        image of shape (height, width) in which each number other than 0 is an instance.
    tile
        Size of the tile, which masks must have.
    """
    masks = numbers(value, "masks")
    shape = masks.shape
    if not shape or shape[0] == 0 < tile.height:
        return np.empty(0, dtype=object)
    if masks.ndim == _BATCH and 1 in shape[:2]:
        masks = masks[0] if shape[0] == 1 else masks[:, 0]
    if masks.ndim not in {_IMAGE, _STACK} or masks.shape[-2:] != (tile.height, tile.width):
        msg = (
            f"masks of the answer have shape {shape}, but the tile has height {tile.height} and"
            f" width {tile.width}"
        )
        raise refusal(msg)
    if masks.size > MAX_PIXELS:
        msg = f"masks of the answer have {masks.size} pixels, more than {MAX_PIXELS}"
        raise refusal(msg)
    if masks.ndim == _STACK:
        check_count(len(masks))
        return _group_pieces(_stack_pieces(masks), len(masks))
    if masks.dtype.kind == "f":
        msg = f"a mask image of the answer has type {masks.dtype}; expected whole numbers"
        raise refusal(msg)
    return _instances(masks)


def _instances(image: NDArray[Any]) -> NDArray[Any]:
    """Return the outline of each number in an image, in ascending order."""
    values, places = np.unique(image, return_inverse=True)
    check_count(n_instances := int(np.count_nonzero(values)))
    numbered = np.zeros(len(values), dtype=np.int32)
    numbered[values != 0] = np.arange(1, n_instances + 1)
    codes = numbered[places].reshape(image.shape)
    _check_edges(_edges(codes))
    return _group_pieces(((owner - 1, piece) for owner, piece in _pieces(codes)), n_instances)


def _stack_pieces(masks: NDArray[Any]) -> Iterator[tuple[int, shapely.Polygon]]:
    """Yield the index of a mask and each of its polygons; only the part with pixels is traced."""
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
    """Yield each number other than 0 and the polygons of its pixels."""
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
    """Refuse masks of noise, in which each pixel would become a polygon."""
    if n_edges > MAX_EDGES:
        msg = f"masks of the answer have outlines of {n_edges} pixel edges, more than {MAX_EDGES}"
        raise refusal(msg)


def _group_pieces(pieces: Iterator[tuple[int, shapely.Polygon]], n_instances: int) -> NDArray[Any]:
    """Return one geometry for each instance; None for an instance without polygons."""
    parts: list[list[shapely.Polygon]] = [[] for _ in range(n_instances)]
    for owner, piece in pieces:
        parts[owner].append(piece)
    geometry = np.full(n_instances, None, dtype=object)
    for index, group in enumerate(parts):
        if group:
            geometry[index] = group[0] if len(group) == 1 else shapely.MultiPolygon(group)
    return geometry
