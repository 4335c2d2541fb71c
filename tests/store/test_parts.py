"""Parts: what a region found, whole or not at all, and back again."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from daskmr.core import features
from daskmr.core.report import TileOutcome, TileStatus
from daskmr.errors import StoreError
from daskmr.store import Part, PartStore


def part(n: int) -> Part:
    boxes = np.arange(4.0 * n).reshape(n, 4) + np.array([0, 0, 9, 9])
    table = features.table(
        shapely.box(*boxes.T),
        boxes,
        {
            "label": ["Güterzug"] * n,
            "score": np.linspace(0, 1, n) if n else [],
            "answer_index": np.arange(n),
            "feature_id": [f"{i:032x}" for i in range(n)],
        },
    )
    outcomes = [
        TileOutcome(row=0, col=0, status=TileStatus.SUCCEEDED, n_features=n, attempts=1),
        TileOutcome(
            row=0, col=9, status=TileStatus.FAILED, reason="HTTP_500", message="x", attempts=4
        ),
        TileOutcome(row=9, col=0, status=TileStatus.SKIPPED, reason="NODATA"),
        TileOutcome(row=9, col=9, status=TileStatus.SUCCEEDED, dropped={"NO_SHAPE": 2}),
    ]
    return Part(features=table, outcomes=outcomes)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_a_part_comes_back_as_it_was_written(n: int, tmp_path: Path) -> None:
    store = PartStore(url=str(tmp_path / "parts"))
    written = part(n)
    store.write("r0c0", written)
    read = store.read("r0c0")
    assert read.outcomes == written.outcomes
    assert read.features.dtypes.to_dict() == written.features.dtypes.to_dict()
    assert read.features.equals(written.features)
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["r0c0.parquet"]


def test_a_part_is_plain_geoparquet(tmp_path: Path) -> None:
    store = PartStore(url=str(tmp_path))
    store.write("r0c0", part(3))
    table = gpd.read_parquet(tmp_path / "r0c0.parquet")
    assert table.crs is None
    assert table.geometry.iloc[0].equals(shapely.box(0, 1, 11, 12))


def test_equal_parts_are_equal_bytes(tmp_path: Path) -> None:
    store = PartStore(url=str(tmp_path))
    store.write("a", part(9))
    store.write("b", part(9))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_first_part_that_is_committed_stays(tmp_path: Path) -> None:
    store = PartStore(url=str(tmp_path))
    assert len(store.write("a", part(9)).features) == 9
    assert len(store.write("a", part(3)).features) == 9
    assert len(store.read("a").features) == 9


def test_a_missing_or_foreign_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = PartStore(url=str(tmp_path))
    with pytest.raises(StoreError, match=r"nothing\.parquet"):
        store.read("nothing")
    (tmp_path / "foreign.parquet").write_text("no parquet")
    with pytest.raises(StoreError, match=r"foreign\.parquet"):
        store.read("foreign")


def test_a_store_that_this_process_does_not_see_is_refused(tmp_path: Path) -> None:
    here, there = PartStore(url=str(tmp_path / "a")), PartStore(url=str(tmp_path / "b"))
    here.check(here.probe())
    with pytest.raises(StoreError, match="not visible"):
        here.check(there.probe())


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file/parts"):
        PartStore(url=str(tmp_path / "file" / "parts")).write("x", part(1))


def test_removing_a_store_removes_all_of_it_and_may_be_repeated(tmp_path: Path) -> None:
    store = PartStore(url=str(tmp_path / "parts"))
    store.write("x", part(1))
    store.remove()
    store.remove()
    assert not (tmp_path / "parts").exists()
