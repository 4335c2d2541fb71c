"""What every merge algorithm must do; subclass in the test of one."""

import geopandas as gpd
import numpy as np

from daskmr.core import features
from daskmr.core.boxes import Boxes, polygons
from daskmr.merge.base import Merge


def table(boxes: object, scores: object, labels: object = "") -> gpd.GeoDataFrame:
    """A feature table of boxes; the label may be one for all."""
    found: Boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    n = len(found)
    names = [labels] * n if isinstance(labels, str) else list(labels)  # type: ignore[call-overload]
    columns = {
        "score": np.asarray(scores, dtype=np.float64).reshape(-1),
        "label": names,
        "answer_index": np.arange(n),
        "feature_id": [f"{i:032x}" for i in range(n)],
    }
    return features.table(polygons(found), found, columns)


def crowd(n: int, seed: int) -> gpd.GeoDataFrame:
    """Boxes of two labels that overlap a lot, with ties and missing scores."""
    random = np.random.default_rng(seed)
    corner = random.integers(0, 60, (n, 2)).astype(np.float64)
    boxes = np.hstack([corner, corner + random.integers(0, 20, (n, 2))])
    scores = random.integers(0, 5, n) / 4
    scores[random.random(n) < 0.1] = np.nan
    return table(boxes, scores, random.choice(["car", "ship"], n).tolist())


def ids(rows: gpd.GeoDataFrame) -> list[str]:
    """Identities of rows, in their order."""
    return [str(value) for value in rows["feature_id"]]


class MergeContract:
    """A subclass says how the algorithm is made."""

    def make(self) -> Merge:
        """The algorithm under test."""
        raise NotImplementedError

    def test_an_empty_table_stays_empty(self) -> None:
        assert len(self.make()(features.empty())) == 0

    def test_rows_are_never_invented_or_changed(self) -> None:
        before = crowd(200, 1)
        after = self.make()(before)
        assert 0 < len(after) <= len(before)
        known = before.set_index("feature_id")
        assert after.set_index("feature_id").equals(known.loc[ids(after)])

    def test_the_answer_does_not_depend_on_the_order_of_rows(self) -> None:
        before = crowd(200, 2)
        expected = ids(self.make()(before))
        for seed in range(5):
            shuffled = before.sample(frac=1, random_state=seed).reset_index(drop=True)
            assert ids(self.make()(shuffled)) == expected

    def test_merging_again_changes_nothing(self) -> None:
        once = self.make()(crowd(200, 3))
        assert ids(self.make()(once)) == ids(once)

    def test_rows_that_no_chain_of_links_joins_may_be_merged_apart(self) -> None:
        merge, before = self.make(), crowd(300, 5)
        group = np.arange(len(before))
        for _ in range(len(before)):
            joined = group.copy()
            for one, other in merge.links(before):
                least = np.minimum(joined[one], joined[other])
                np.minimum.at(joined, one, least)
                np.minimum.at(joined, other, least)
            if (joined == group).all():
                break
            group = joined
        apart = [ids(merge(before[group == number])) for number in np.unique(group)]
        assert sorted(name for names in apart for name in names) == sorted(ids(merge(before)))
        reach = merge.reach_px
        found = features.boxes(before)
        for one, other in merge.links(before):
            assert reach is not None
            gaps = np.maximum(found[one, :2], found[other, :2]) - np.minimum(
                found[one, 2:], found[other, 2:]
            )
            assert gaps.max(initial=-np.inf) <= reach

    def test_the_best_row_always_stays(self) -> None:
        before = crowd(200, 4)
        best = before["score"].max()
        assert (self.make()(before)["score"] == best).any()
