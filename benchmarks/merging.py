"""Exact NMS on synthetic tiled detections: 50 objects per megapixel, a fifth seen twice."""

from collections.abc import Iterator
from time import process_time

import numpy as np
import shapely

from benchmarks.figure import Figure
from daskmr.core import features
from daskmr.merge import merger

BUDGETS = {10_000: "", 100_000: "", 1_300_000: "<= 4"}


def scene(n: int) -> "features.gpd.GeoDataFrame":
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


def figures() -> Iterator[Figure]:
    """CPU seconds for tables of several sizes."""
    merge = merger("nms", {"iou_threshold": 0.5})
    merge(scene(1000))
    for n, budget in BUDGETS.items():
        table = scene(n)
        started = process_time()
        kept = merge(table)
        spent = process_time() - started
        name = f"exact NMS, {n:,} boxes: CPU seconds"
        yield Figure(name=name, value=spent, budget=budget, detail=f"{len(kept):,} kept")
