"""Exact NMS and edge-aware merging against what peers use: the same boxes, in one run.

Peers that are not installed are left out, and so is whoever would take more than a minute.
Compilation is not counted: everybody merges a small scene first.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from time import process_time
from typing import Any

import numpy as np
import shapely

from benchmarks.figure import Figure
from benchmarks.merge_scenes import SIDE, grid_of, seen, ships, uniform
from daskmr.core import features
from daskmr.core.boxes import Boxes
from daskmr.merge import merger

SIZES = (10_000, 100_000, 1_300_000)
_IOU = 0.5
_MOST_S = 60.0
Keep = Callable[[Boxes, Any, Any], int]
"""Boxes, scores and class numbers to the number of those that are kept."""


def _sahi(boxes: Boxes, scores: Any, classes: Any, *, backend: str) -> int:
    from sahi.postprocess import backends
    from sahi.postprocess.combine import batched_nms

    backends.set_postprocess_backend(backend)
    rows = np.column_stack([boxes, scores, classes])
    return len(batched_nms(rows, match_metric="IOU", match_threshold=_IOU))


def _lsnms(boxes: Boxes, scores: Any, classes: Any) -> int:
    from lsnms import nms

    kept = nms(boxes, scores, iou_threshold=_IOU, score_threshold=0.0, class_ids=classes)
    return len(kept)


def _ensemble_boxes(boxes: Boxes, scores: Any, classes: Any) -> int:
    from ensemble_boxes import nms

    scale = boxes.max()
    found, _, _ = nms([boxes / scale], [scores], [classes], iou_thr=_IOU)
    return len(found)


def _torchvision(boxes: Boxes, scores: Any, classes: Any) -> int:
    import torch
    from torchvision.ops import batched_nms

    as_tensors = (torch.as_tensor(part) for part in (boxes, scores, classes))
    return len(batched_nms(*as_tensors, _IOU))


PEERS: dict[str, tuple[str, Keep]] = {
    "lsnms": ("lsnms", _lsnms),
    "SAHI, numpy": ("sahi", partial(_sahi, backend="numpy")),
    "SAHI, numba": ("sahi", partial(_sahi, backend="numba")),
    "ensemble-boxes": ("ensemble_boxes", _ensemble_boxes),
    "torchvision": ("torchvision", _torchvision),
}
"""Package and function by name."""


def figures() -> Iterator[Figure]:
    """CPU seconds of ours, and those of each peer over ours."""
    slow: set[str] = set()
    _warm()
    for n in SIZES:
        table = uniform(n)
        ours, kept = _spent(lambda t=table: len(merger("nms", {"iou_threshold": _IOU})(t)))
        budget = "<= 4" if n == SIZES[-1] else ""
        yield Figure(
            name=f"exact NMS, {n:,} boxes: CPU seconds", value=ours, budget=budget,
            detail=f"{kept:,} kept",
        )  # fmt: skip
        edge, left = _spent(lambda t=table: len(merger("edge_aware", {"iou_threshold": _IOU})(t)))
        yield Figure(
            name=f"edge_aware / NMS, {n:,} boxes", value=edge / ours, budget="",
            detail=f"{edge:.2f} s, {left:,} left, none cut",
        )  # fmt: skip
        yield from _peers(table, ours, kept, slow=slow)
    yield from _tiled()
    yield _oriented()


def _peers(table: Any, ours: float, kept: int, *, slow: set[str]) -> Iterator[Figure]:
    boxes, scores = features.boxes(table), table["score"].to_numpy(dtype=np.float64)
    classes = np.unique(table["label"].to_numpy(dtype=str), return_inverse=True)[1]
    for name, (package, keep) in PEERS.items():
        if name in slow or find_spec(package) is None:
            continue
        spent, n = _spent(partial(keep, boxes, scores, classes))
        if spent * (SIZES[-1] / len(boxes)) > _MOST_S:
            slow.add(name)
        yield Figure(
            name=f"{name} / ours, {len(boxes):,} boxes", value=spent / ours,
            budget=">= 1" if len(boxes) == SIZES[-1] else "",
            detail=f"{spent:.2f} s, {n:,} kept, {n - kept:+,} of ours",
        )  # fmt: skip


def _tiled() -> Iterator[Figure]:
    """Yield a large scene through tiles: a seventh of the detections are cut."""
    random = np.random.default_rng(2)
    side, size = 66_000, 36.0
    xs, ys = np.meshgrid(np.arange(50, side - 100, 65.0), np.arange(50, side - 100, 65.0))
    corners = np.stack([xs.ravel(), ys.ravel()], axis=1) + random.uniform(0, 25, (xs.size, 2))
    objects = shapely.box(*np.hstack([corners, corners + size]).T)
    table = seen(objects, grid_of(side, side, tile=512, overlap=64), random).table
    times = {}
    for name in ("nms", "edge_aware"):
        times[name], n = _spent(lambda m=name: len(merger(m, {"iou_threshold": _IOU})(table)))
        detail = f"{times[name]:.2f} s, {n:,} left of {len(objects):,} objects"
    yield Figure(
        name=f"edge_aware / NMS, {len(table):,} detections through tiles: CPU seconds",
        value=times["edge_aware"] / times["nms"], budget="<= 2", detail=detail,
    )  # fmt: skip


def _oriented() -> Figure:
    """Ships that lie aslant, each seen through tiles."""
    random = np.random.default_rng(3)
    views = [
        seen(ships(random), grid_of(SIDE, SIDE, tile=512, overlap=80), random).table
        for _ in range(8)
    ]
    for number, view in enumerate(views):  # side by side
        view["geometry"] = view.geometry.translate(xoff=number * (SIDE + 100))
        view[["x_min", "x_max"]] += number * (SIDE + 100)
        view["tile_col"] += number * (SIDE + 100)
    table = features.concat(views).iloc[:100_000]
    spent, n = _spent(lambda: len(merger("nms", {"iou_threshold": _IOU})(table)))
    return Figure(
        name=f"exact NMS, {len(table):,} oriented boxes: CPU seconds", value=spent, budget="<= 5",
        detail=f"{n:,} kept",
    )  # fmt: skip


def _spent(act: Callable[[], int]) -> tuple[float, int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = process_time()
        n = act()
        return process_time() - started, n


def _warm() -> None:
    table = uniform(2000)
    for name in ("nms", "edge_aware"):
        merger(name, {"iou_threshold": _IOU})(table)
    for _ in _peers(table, 1.0, 0, slow=set()):
        pass
