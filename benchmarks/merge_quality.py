"""Which merge is right: simulated scenes, labelled trees, and a real detector tiled two ways.

``python -m benchmarks.merge_quality`` prints the tables of docs/merging.md.
"""

import os
import sys
import tempfile
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from benchmarks.figure import Figure
from benchmarks.merge_scenes import SCENES, Score, Shapes, grid_of, looked_at, scored, seen
from daskmr.core.features import IMAGE_BOX
from daskmr.merge import merger

SEEDS = range(5)
RULES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "none": ("none", {}),
    "nms 0.75": ("nms", {"iou_threshold": 0.75}),
    "nms 0.5": ("nms", {"iou_threshold": 0.5}),
    "nms 0.3": ("nms", {"iou_threshold": 0.3}),
    "nms ios 0.5": ("nms", {"iou_threshold": 0.5, "metric": "ios"}),
    "soft_nms 0.5": ("soft_nms", {"iou_threshold": 0.5, "score_threshold": None}),
    "nmm ios 0.5": ("nmm", {"iou_threshold": 0.5, "metric": "ios"}),
    "wbf 0.5": ("wbf", {"iou_threshold": 0.5}),
    "edge_aware": ("edge_aware", {"iou_threshold": 0.5}),
}
"""Merges with their options, by the name in the tables."""
_LEAST_F1 = ">= 0.999"


def figures() -> Iterator[Figure]:
    """F1 at 0.5 of edge-aware merging in each simulated scene."""
    for scene in SCENES:
        scores = [_score("edge_aware", looked_at(scene, seed)) for seed in SEEDS]
        value = float(np.mean([score.f1(0.5) for score in scores]))
        yield Figure(
            name=f"edge_aware F1@0.5, {scene.name}",
            value=value,
            budget=_LEAST_F1,
            detail=f"{sum(score.n_truth for score in scores):,} objects, {len(SEEDS)} seeds",
        )


def _score(rule: str, found: Any) -> Score:
    name, options = RULES[rule]
    left = merger(name, options)(found.table)
    return scored(np.asarray(left.geometry.to_numpy(), dtype=object), found.truth)


def _row(name: str, scores: list[Score]) -> str:
    def mean(value: Any) -> float:
        return float(np.mean([value(score) for score in scores]))

    return (
        f"| {name} | {100 * mean(lambda s: s.doubled):.2f} | {100 * mean(lambda s: s.lost):.2f} "
        f"| {mean(lambda s: s.f1(0.5)):.4f} | {mean(lambda s: s.f1(0.75)):.4f} |"
    )


_HEAD = "| merge | doubled % | lost % | F1@0.5 | F1@0.75 |\n|---|---|---|---|---|"


def simulated() -> None:
    """Return the table of each scene."""
    for scene in SCENES:
        views = [looked_at(scene, seed) for seed in SEEDS]
        n = sum(len(view.truth) for view in views)
        print(f"\n**{scene.name}** ({n:,} objects)\n\n{_HEAD}")
        for rule in RULES:
            print(_row(rule, [_score(rule, view) for view in views]), flush=True)


def labelled(folder: Path, tile: int = 400, overlap: int = 32) -> None:
    """Labelled trees of real pictures, cut by real tiles."""
    for path in sorted(folder.glob("*YELL*.xml")):
        objects, height, width = _labels(path)
        grid = grid_of(height, width, tile=tile, overlap=overlap)
        views = [seen(objects, grid, np.random.default_rng(seed)) for seed in SEEDS]
        about = f"{len(objects)} trees, tiles {tile}, overlap {overlap}"
        print(f"\n**{path.stem}** ({about})\n\n{_HEAD}")
        for rule in RULES:
            print(_row(rule, [_score(rule, view) for view in views]), flush=True)


def _labels(path: Path) -> tuple[Shapes, int, int]:
    """Boxes of a file in the format of Pascal VOC, and the size of its picture."""
    root = ET.parse(path).getroot()  # noqa: S314 - a file of our own choice
    size = {name: int(root.findtext(f"size/{name}") or 0) for name in ("height", "width")}
    names = ("xmin", "ymin", "xmax", "ymax")
    found = [[float(o.findtext(f"bndbox/{n}") or 0) for n in names] for o in root.iter("object")]
    boxes = np.array(found)
    boxes[:, 2:] = np.minimum(boxes[:, 2:], [size["width"], size["height"]])
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    return shapely.box(*boxes.T), size["height"], size["width"]


def detected(model: Path, pictures: Path, *, tile: int = 512, overlap: int = 96) -> None:
    """Compare a real detector's features of a picture in tiles with those of the whole."""
    import daskmr

    print(f"\n**{model.stem}, tiles of {tile}, overlap {overlap}, against the whole picture**\n")
    print(f"| picture | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}")
    for path in sorted([*pictures.glob("sahi/*.jp*g"), *pictures.glob("neon_deepforest/*.JPG")]):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            options = {
                "model": str(model),
                "store": folder,
                "merge": "nms",
                "iou": 0.5,
                "workers": 1,
            }
            options["endpoint_options"] = {
                "boxes": "centernet", "layout": "NHWC", "scale": 1.0, "multiple": 32,
            }  # fmt: skip
            sides = daskmr.open_image(str(path)).info
            whole = (sides.width // 32 * 32, sides.height // 32 * 32)
            one = daskmr.run(str(path), tile_size=whole, overlap=0, job_id="one", **options)
            daskmr.run(str(path), tile_size=tile, overlap=overlap, job_id="many", **options)
            truth = _sure(one.features, least=0.3)
            cells = [_f1(folder, rule, truth) for rule in RULES]
        print(f"| {path.name} ({len(truth)}) | {' | '.join(cells)} |", flush=True)


def _f1(folder: str, rule: str, truth: Shapes) -> str:
    """F1 at 0.5 of a merge of the tiles' answers."""
    import daskmr

    name, options = RULES[rule]
    more = {k: v for k, v in options.items() if k != "iou_threshold" and v is not None}
    left = daskmr.Job(folder, "many").merge(
        merge=name, iou=options.get("iou_threshold", 0.75), merge_options=more
    )
    found = _sure(left, least=0.3)
    return f"{scored(found, truth).f1(0.5):.3f}" if len(found) and len(truth) else "-"


def _sure(table: Any, *, least: float) -> Shapes:
    """Boxes of features that the model is sure enough of."""
    boxes = table[IMAGE_BOX].to_numpy()
    found: Shapes = shapely.box(*boxes[table["score"].to_numpy() >= least].T)
    return found


def main() -> None:
    """Print all tables; real pixels from the folders of DASKMR_IMAGES and DASKMR_MODELS."""
    simulated()
    pictures, models = (os.environ.get(f"DASKMR_{name}") for name in ("IMAGES", "MODELS"))
    if pictures:
        labelled(Path(pictures) / "neon_deepforest")
    if pictures and models:
        detected(Path(models) / "centernet-mbv3.onnx", Path(pictures))
    if not pictures or not models:
        print(
            "real pixels: left out, DASKMR_IMAGES or DASKMR_MODELS names no folder", file=sys.stderr
        )


if __name__ == "__main__":
    main()
