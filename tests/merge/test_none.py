"""No merging."""

from daskmr.merge.none import KeepAll
from daskmr.testing.contracts_merge import MergeContract, ids, table


class TestKeepAll(MergeContract):
    def make(self) -> KeepAll:
        return KeepAll()


def test_every_row_stays_in_canonical_order() -> None:
    rows = table([[0, 0, 9, 9]] * 4, [0.1, 0.9, 0.5, 0.7])
    rows["tile_row"] = [5, 1, 1, 3]
    kept = KeepAll()(rows)
    assert kept["score"].tolist() == [0.9, 0.5, 0.7, 0.1]
    assert kept.index.tolist() == [0, 1, 2, 3]


def test_rows_of_one_place_are_ordered_by_their_hash() -> None:
    rows = table([[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 11, 11]], [0.5, 0.6, 0.7])
    rows["answer_index"] = 0
    assert ids(KeepAll()(rows.iloc[[2, 0, 1]])) == ids(rows)
