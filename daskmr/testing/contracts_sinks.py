"""Contracts of sinks: tests to inherit.

`LossySinkContract` is for formats that leave something out, such as geometry or properties, and
`SinkContract` for those that keep everything.
"""

import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from daskmr.core import features
from daskmr.core.imagery import ImageInfo
from daskmr.errors import SinkError
from daskmr.geolocate import pick
from daskmr.geolocate.table import to_world
from daskmr.geolocate.terrain.models import LevelModel
from daskmr.sinks._whole import write_all
from daskmr.sinks.base import GeometrySummary, Provenance, Sink, Whole

SHAPES = (
    shapely.box(0.1, 0.2, 30.3, 1 / 3),
    shapely.Point(1.5, 2.5),
    shapely.LineString([(0, 0), (5, 5), (9, 1)]),
    shapely.box(0, 0, 90, 90).difference(shapely.box(10, 10, 20, 20)),
    shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 7, 7)]),
)
"""Geometries of several types, in pixels."""

OWN = {"own": "ü", "list": [1, None]}
"""Properties that the model answered for each feature of `results`."""


def results(
    shapes: Sequence[Any] = SHAPES, *, placed: bool = True, height: float | None = None
) -> gpd.GeoDataFrame:
    """Return a result table; in pixels unless *placed*, with heights where there is a height."""
    flat = np.array(list(shapes), dtype=object)
    boxes = shapely.bounds(flat).reshape(-1, 4)
    n = len(flat)
    columns = {
        "feature_id": [f"{i:032x}" for i in range(n)],
        "label": [f"Güterzug {i} \"'" for i in range(n)],
        "score": np.linspace(0.1, 1 / 3, n),
        "answer_index": np.arange(n),
        "inferred_at": ["2026-01-02T03:04:05Z"] * n,
        "classes": ['[{"iri":"x","score":0.5}]'] * n,
        "properties": [features.dumps(OWN)] * n,
    }
    info = ImageInfo(
        url="x.tif",
        height=100,
        width=100,
        bands=1,
        dtype="uint8",
        driver="GTiff",
        crs="EPSG:32618" if placed else None,
        transform=(0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0) if placed else None,
    )
    model, _ = pick(info)
    if model is not None and height is not None:
        model = LevelModel(model=model, height=height)
    return to_world(features.table(flat, boxes, columns), model)


PROVENANCE = Provenance(job_id="job-1", feature_properties=({"campaign": "spring"},))


@dataclass(frozen=True)
class Batches:
    """`daskmr.sinks.base.Rows` that cut a table at some rows."""

    table: gpd.GeoDataFrame
    cuts: Sequence[int]

    @property
    def crs(self) -> Any:
        """Of the table."""
        return self.table.crs

    @property
    def geometry(self) -> GeometrySummary:
        """Of the table."""
        return GeometrySummary.of(self.table.geometry)

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """Return the pieces."""
        places = [0, *self.cuts, len(self.table)]
        return (self.table.iloc[start:stop] for start, stop in pairwise(places))


@dataclass(frozen=True)
class BrokenRows:
    """`daskmr.sinks.base.Rows` that fail after the first batch."""

    table: gpd.GeoDataFrame

    @property
    def crs(self) -> Any:
        """Of the table."""
        return self.table.crs

    @property
    def geometry(self) -> GeometrySummary:
        """Of the table."""
        return GeometrySummary.of(self.table.geometry)

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """Yield the table, then raise."""
        yield self.table
        msg = "the disk is full"
        raise OSError(msg)


class LossySinkContract:
    """Tests of any format: inherit, name the class ``Test...``, define `make` and `read`."""

    columns: ClassVar[Sequence[str]] = ("label",)
    """Columns of a result that come back as they were."""

    def make(self) -> Sink:
        """Return the sink under test."""
        raise NotImplementedError

    def read(self, path: Path) -> pd.DataFrame:
        """Return the file as a table of one row for each feature, with at least `columns`."""
        raise NotImplementedError

    def write(self, table: gpd.GeoDataFrame, folder: Path) -> Path:
        """Return the file of a table."""
        sink = self.make()
        path = folder / f"x{sink.suffix}"
        sink.write(Whole(table), path, PROVENANCE)
        return path

    def test_columns_come_back_in_the_order_of_the_rows(self, tmp_path: Path) -> None:
        table = results()
        again = self.read(self.write(table, tmp_path))
        assert len(again) == len(table)
        for name in self.columns:
            assert again[name].tolist() == table[name].tolist(), name

    def test_batches_make_the_same_rows_as_the_whole_table(self, tmp_path: Path) -> None:
        table = results()
        table.loc[3, "geometry"] = None
        whole = self.read(self.write(table, tmp_path))
        for number, cuts in enumerate([(0, 2), (1, 2, 4), (5,), ()]):
            sink = self.make()
            path = tmp_path / f"{number}{sink.suffix}"
            sink.write(Batches(table, cuts), path, PROVENANCE)
            again = self.read(path)
            assert list(again.columns) == list(whole.columns)
            for name in self.columns:
                assert again[name].tolist() == whole[name].tolist(), name

    def test_an_empty_table_makes_a_file_without_rows(self, tmp_path: Path) -> None:
        for placed in (True, False):
            table = results([], placed=placed)
            path = self.write(table, tmp_path)
            assert len(self.read(path)) == 0
            path.unlink()

    def test_an_empty_geometry_is_a_row_like_others(self, tmp_path: Path) -> None:
        table = results([shapely.Polygon(), shapely.box(0, 0, 1, 1)])
        assert len(self.read(self.write(table, tmp_path))) == 2

    def test_half_a_surrogate_pair_is_written(self, tmp_path: Path) -> None:
        odd = Provenance(job_id="odd", feature_properties=({"name": "\ud800"},))
        (path,) = write_all(Whole(results()), str(tmp_path), [self.make()], provenance=odd)
        assert len(self.read(Path(path))) == len(SHAPES)

    def test_rows_that_fail_leave_nothing_behind(self, tmp_path: Path) -> None:
        with pytest.raises(SinkError, match="the disk is full"):
            write_all(BrokenRows(results()), str(tmp_path), [self.make()], provenance=PROVENANCE)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_is_named_by_job_and_suffix(self, tmp_path: Path) -> None:
        sink = self.make()
        assert sink.suffix.startswith(".")
        (path,) = write_all(Whole(results()), str(tmp_path), [sink], provenance=PROVENANCE)
        assert Path(path) == tmp_path / f"job-1{sink.suffix}"

    def test_it_is_plain_data(self) -> None:
        sink = self.make()
        assert pickle.loads(pickle.dumps(sink)) == sink  # noqa: S301 - our own bytes
        assert hash(sink) == hash(self.make())


class SinkContract(LossySinkContract):
    """Tests of a format that keeps everything, geometry and the model's properties included."""

    mixed_heights: ClassVar[bool] = True
    """True if heights are kept in a table of several types of geometry."""

    def read(self, path: Path) -> gpd.GeoDataFrame:
        """Return the file as a table with `geometry`, `label` and `properties` (JSON of `OWN`)."""
        raise NotImplementedError

    def test_geometry_of_every_type_comes_back_exactly(self, tmp_path: Path) -> None:
        for height in (None, 12.5):
            table = results(height=height)
            path = self.write(table, tmp_path)
            again = self.read(path)
            path.unlink()
            assert len(again) == len(table)
            for actual, expected in zip(again.geometry, table.geometry, strict=True):
                assert shapely.equals_exact(actual, expected, tolerance=0)
                assert bool(shapely.has_z(actual)) == (height is not None and self.mixed_heights)

    def test_batches_make_the_file_of_the_whole_table(self, tmp_path: Path) -> None:
        table = results()
        table.loc[3, "geometry"] = None
        whole = self.read(self.write(table, tmp_path))
        for number, cuts in enumerate([(0, 2), (1, 2, 4), (5,), ()]):
            sink = self.make()
            path = tmp_path / f"{number}{sink.suffix}"
            sink.write(Batches(table, cuts), path, PROVENANCE)
            again = self.read(path)
            assert again.crs == whole.crs
            assert list(again.columns) == list(whole.columns)
            assert again.to_wkb().equals(whole.to_wkb())

    def test_properties_come_back(self, tmp_path: Path) -> None:
        again = self.read(self.write(results(), tmp_path))
        assert [json.loads(text) for text in again["properties"]] == [OWN] * len(SHAPES)

    def test_one_type_of_geometry_is_kept_as_it_is(self, tmp_path: Path) -> None:
        for height in (None, -3.5):
            path = self.write(results([shapely.box(0, 0, 1, 1)] * 3, height=height), tmp_path)
            again = self.read(path)
            path.unlink()
            assert set(again.geom_type) == {"Polygon"}
            assert set(again.has_z) == {height is not None}
            heights = shapely.get_coordinates(again.geometry, include_z=True)[:, 2]
            assert height is None or set(heights) == {height}

    def test_writing_that_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        bad = Provenance(job_id="bad", feature_properties=({"value": object()},))
        with pytest.raises(SinkError, match=r"bad\..*ValueError: Object of type object"):
            write_all(Whole(results()), str(tmp_path), [self.make()], provenance=bad)
        assert list(tmp_path.iterdir()) == []

    def test_rows_without_a_place_on_the_ground_are_kept(self, tmp_path: Path) -> None:
        table = results()
        table.loc[1, "geometry"] = None
        again = self.read(self.write(table, tmp_path))
        assert len(again) == len(table)
        assert again.geometry.iloc[1] is None
