"""Soft non-maximum suppression: duplicates lose score, and leave when little is left of it."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from daskmr.core.features import TEXT, dumps
from daskmr.merge._decay import decayed
from daskmr.merge._greedy import Scene, suppressed
from daskmr.merge._ranking import Index
from daskmr.merge._rules import Rules, Share
from daskmr.merge.base import Pairs
from daskmr.registry import plugin

Floats = NDArray[np.float64]


@plugin
class SoftNms(Rules):
    """From best to worst, lower the scores of the features of one class that each one overlaps.

    Bodla et al. 2017 (arXiv:1704.04503). ``score`` is what is left of the score, and so is the
    score of that class in ``classes``, with the model's own beside it as ``rawScore``. A feature
    without a score has nothing to lose: it leaves when one that stays overlaps it by more than
    `iou_threshold`.
    """

    method: Literal["gaussian", "linear"] = "gaussian"
    """Score times ``exp(-overlap ** 2 / sigma)``; or times ``1 - overlap``, above `iou_threshold`
    only."""
    sigma: Annotated[float, Field(gt=0)] = 0.1
    """How softly ``gaussian`` lowers scores."""
    skip_box_threshold: Share = 0.0001
    """Features whose score falls to this or below leave."""

    __hash__ = Rules.__hash__

    def scene(self, features: gpd.GeoDataFrame, order: Index | None = None) -> Scene:
        """The contest of some rows; with ``gaussian``, of all that overlap at all."""
        scene = super().scene(features, order)
        if self.method == "linear":
            return scene
        return Scene(scene.shapes, np.zeros_like(scene.threshold), scene.group)

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Pairs of rows that overlap enough to count."""
        found = self.scene(features).conflicts(np.arange(len(features)))
        return ((one, other) for one, other, _ in found)

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """The rows with some score left, in canonical order."""
        order = self.order(features)
        raw = features["score"].to_numpy(dtype=np.float64)[order]
        pairs = self._pairs(features, order)
        one, other, overlap = pairs
        weight = np.exp(-(overlap**2) / self.sigma) if self.method == "gaussian" else 1 - overlap
        known = ~np.isnan(raw)
        scored = known[one] & known[other]
        left = decayed(
            raw, (one[scored], other[scored]), weight[scored], least=self.skip_box_threshold
        )
        stays = left > self.skip_box_threshold
        stays[~known] = True
        stays &= ~self._lost(features, order, pairs=pairs, stays=stays)
        kept = np.flatnonzero(stays)
        kept = kept[np.argsort(order[kept])]
        return self.limited(_lowered(features.iloc[order[kept]], left[kept]))

    def _pairs(self, features: gpd.GeoDataFrame, order: Index) -> tuple[Index, Index, Floats]:
        """All pairs that count, the better row first, and their overlap."""
        found = list(self.scene(features, order).conflicts(np.arange(len(order))))
        none = np.empty(0, dtype=np.int64)
        return (
            np.concatenate([none, *(one for one, _, _ in found)]),
            np.concatenate([none, *(other for _, other, _ in found)]),
            np.concatenate([none.astype(np.float64), *(overlap for _, _, overlap in found)]),
        )

    def _lost(
        self,
        features: gpd.GeoDataFrame,
        order: Index,
        *,
        pairs: tuple[Index, Index, Floats],
        stays: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Rows without a score that yield to a row that stays."""
        one, other, overlap = pairs
        unknown = np.isnan(features["score"].to_numpy(dtype=np.float64)[order])
        threshold = self._of_label(features, self.iou_threshold, self.class_thresholds)[order]
        over = unknown[other] & (overlap > np.minimum(threshold[one], threshold[other]))
        over &= stays[one] & stays[other]
        return suppressed(one[over], other[over], len(order))


def _lowered(rows: gpd.GeoDataFrame, scores: Floats) -> gpd.GeoDataFrame:
    """The rows with other scores, in the column and in ``classes``."""
    # A loop: each row has its own JSON, of a length and form of its own.
    classes = [
        _reclassified(text, label, score)
        for text, label, score in zip(rows["classes"], rows["label"], scores.tolist(), strict=True)
    ]
    return rows.assign(score=scores, classes=classes).astype({"classes": TEXT})


def _reclassified(text: str, label: str, score: float) -> str:
    """``featureClasses`` in which one class has another score, and its own beside it."""
    if np.isnan(score) or text in {"", "[]"}:
        return text
    entries: list[Any] = json.loads(text)
    for entry in entries:
        if isinstance(entry, dict) and entry.get("iri") == label and "score" in entry:
            entry |= {"rawScore": entry["score"], "score": score}
    return dumps(entries)
