"""Soft non-maximum suppression: duplicates lose score, and are dropped when it is too low."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from daskmr.core.arrays import Floats, Index
from daskmr.core.features import TEXT, dumps
from daskmr.merge._decay import decay
from daskmr.merge._greedy import Scene, suppress
from daskmr.merge._rules import Rules, Share
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class SoftNms(Rules):
    """From best to worst, lower the scores of the features of one class that each one overlaps.

    Bodla et al. 2017 (arXiv:1704.04503). ``score`` is the lowered score, and so is the score of
    that class in ``classes``, with the model's own beside it as ``rawScore``. A feature without a
    score is dropped when one that stays overlaps it by more than `iou_threshold`.
    """

    method: Literal["gaussian", "linear"] = "gaussian"
    """Score times ``exp(-overlap ** 2 / sigma)``; or times ``1 - overlap``, above `iou_threshold`
    only."""
    sigma: Annotated[float, Field(gt=0)] = 0.1
    """Width of ``gaussian``."""
    skip_box_threshold: Share = 0.0001
    """Score at or below which features are dropped."""

    __hash__ = Rules.__hash__

    def scene(self, features: gpd.GeoDataFrame, order: Index | None = None) -> Scene:
        """Return the scene of some rows; with ``gaussian``, all that overlap are in conflict."""
        scene = super().scene(features, order)
        if self.method == "linear":
            return scene
        return Scene(scene.shapes, np.zeros_like(scene.threshold), scene.group)

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Return pairs of rows that overlap enough to count."""
        conflicts = self.scene(features).conflicts(np.arange(len(features)))
        return ((one, other) for one, other, _ in conflicts)

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return the rows with some score left, in canonical order."""
        order = self.order(features)
        raw = features["score"].to_numpy(dtype=np.float64)[order]
        pairs = self._pairs(features, order)
        one, other, overlap = pairs
        weight = np.exp(-(overlap**2) / self.sigma) if self.method == "gaussian" else 1 - overlap
        known = ~np.isnan(raw)
        scored = known[one] & known[other]
        left = decay(
            raw, (one[scored], other[scored]), weight[scored], least=self.skip_box_threshold
        )
        stays = left > self.skip_box_threshold
        stays[~known] = True
        stays &= ~self._lost(features, order, pairs=pairs, stays=stays)
        kept = np.flatnonzero(stays)
        kept = kept[np.argsort(order[kept])]
        return self.limit(_lower_scores(features.iloc[order[kept]], left[kept]))

    def _pairs(self, features: gpd.GeoDataFrame, order: Index) -> tuple[Index, Index, Floats]:
        """Return all pairs that count, the better row first, and their overlap."""
        conflicts = list(self.scene(features, order).conflicts(np.arange(len(order))))
        none = np.empty(0, dtype=np.int64)
        return (
            np.concatenate([none, *(one for one, _, _ in conflicts)]),
            np.concatenate([none, *(other for _, other, _ in conflicts)]),
            np.concatenate([none.astype(np.float64), *(overlap for _, _, overlap in conflicts)]),
        )

    def _lost(
        self,
        features: gpd.GeoDataFrame,
        order: Index,
        *,
        pairs: tuple[Index, Index, Floats],
        stays: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Return rows without a score that yield to a row that stays."""
        one, other, overlap = pairs
        unknown = np.isnan(features["score"].to_numpy(dtype=np.float64)[order])
        threshold = self._of_label(features, self.iou_threshold, self.class_thresholds)[order]
        over = unknown[other] & (overlap > np.minimum(threshold[one], threshold[other]))
        over &= stays[one] & stays[other]
        return suppress(one[over], other[over], len(order))


def _lower_scores(rows: gpd.GeoDataFrame, scores: Floats) -> gpd.GeoDataFrame:
    """Return the rows with other scores, in the column and in ``classes``."""
    # A loop: each row has its own JSON, of a length and form of its own.
    classes = [
        _rescore(text, label, score)
        for text, label, score in zip(rows["classes"], rows["label"], scores.tolist(), strict=True)
    ]
    return rows.assign(score=scores, classes=classes).astype({"classes": TEXT})


def _rescore(text: str, label: str, score: float) -> str:
    """Return ``featureClasses`` in which one class has a new score, with ``rawScore`` beside it."""
    if np.isnan(score) or text in {"", "[]"}:
        return text
    entries: list[Any] = json.loads(text)
    for entry in entries:
        if isinstance(entry, dict) and entry.get("iri") == label and "score" in entry:
            entry |= {"rawScore": entry["score"], "score": score}
    return dumps(entries)
