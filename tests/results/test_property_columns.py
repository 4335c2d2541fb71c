"""Flat properties of models as columns: of one type in all batches, lossless, not too many."""

import json
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.features import TEXT
from daskmr.results.property_columns import MAX_COLUMNS, PropertyColumns


def table(rows: list[dict[str, Any]]) -> gpd.GeoDataFrame:
    texts = pd.Series([json.dumps(row) for row in rows], dtype=TEXT)
    return gpd.GeoDataFrame({"properties": texts}, geometry=[None] * len(rows))


def joined(*batches: list[dict[str, Any]]) -> pd.DataFrame:
    columns = PropertyColumns()
    split = [columns.split(table(rows)) for rows in batches]
    tables = [pd.DataFrame(columns.join(each)) for each in split]
    assert all(each.dtypes.equals(tables[0].dtypes) for each in tables)
    return pd.concat(tables, ignore_index=True).drop(columns=["properties", "geometry"])


@pytest.mark.parametrize(
    ("batches", "dtype", "values"),
    [
        ([[{"a": 1}, {"a": 2}]], "int64", [1, 2]),
        ([[{"a": 1}], [{}]], "Int64", [1, None]),
        ([[{}], [{"a": 1}]], "Int64", [None, 1]),
        ([[{"a": 1}, {"a": None}]], "Int64", [1, None]),
        ([[{"a": 1}], [{"a": 0.5}]], "float64", [1.0, 0.5]),
        ([[{"a": 0.5}], [{}]], "float64", [0.5, None]),
        ([[{"a": True}], [{"a": False}]], "bool", [True, False]),
        ([[{"a": True}], []], "bool", [True]),
        ([[{"a": True}, {}]], "boolean", [True, None]),
        ([[{"a": "x"}], [{}]], "string", ["x", None]),
        ([[{"a": None}], [{"a": "x"}]], "string", [None, "x"]),
        ([[{"a": 2**63 - 1}], [{}]], "Int64", [2**63 - 1, None]),
    ],
)
def test_a_column_has_the_type_of_all_its_values(
    batches: list[list[dict[str, Any]]], dtype: str, values: list[Any]
) -> None:
    column = joined(*batches)["a"]
    assert str(column.dtype) == dtype
    assert [None if pd.isna(value) else value for value in column] == values


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": [1]}],
        [{"a": {"b": 1}}],
        [{"a": 1}, {"a": "x"}],
        [{"a": True}, {"a": 1}],
        [{"a": 2**63}],
        [{"a": None}],
        [{"Score": 1}],
        [{"fid": 1}],
        [{"image_xmin": 1}],
        [{"": 1}],
        [{"a\n": 1}],
        [{"\ud800": 1}],
        [{"x" * 64: 1}],
    ],
)
def test_what_is_not_flat_or_not_a_name_is_no_column(rows: list[dict[str, Any]]) -> None:
    assert joined(rows).columns.tolist() == []
    assert joined(*[[row] for row in rows]).columns.tolist() == []


def test_a_property_of_several_kinds_is_a_column_in_no_batch() -> None:
    found = joined([{"a": 1, "b": 1}], [{"a": "x", "b": 2}], [{"a": 3, "b": 3}])
    assert found.columns.tolist() == ["b"]


def test_names_that_differ_by_case_are_one_column() -> None:
    assert joined([{"Kind": "x"}, {"kind": "y"}]).columns.tolist() == ["Kind"]


def test_there_are_not_more_columns_than_that() -> None:
    rows = [{f"p{i}": i} for i in range(3 * MAX_COLUMNS)]
    found = joined(rows[:40], rows[40:200], rows[200:])
    assert found.columns.tolist() == [f"p{i}" for i in range(MAX_COLUMNS)]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
ROWS = st.lists(st.dictionaries(st.sampled_from("abcdA"), VALUES, max_size=4), max_size=12)


@given(rows=ROWS, places=st.lists(st.integers(0, 12), max_size=3))
def test_batches_make_the_columns_of_the_whole(
    rows: list[dict[str, Any]], places: list[int]
) -> None:
    whole = joined(rows)
    edges = sorted({0, len(rows), *(place for place in places if place < len(rows))})
    batches = [rows[start:stop] for start, stop in pairwise(edges)] or [[]]
    pd.testing.assert_frame_equal(joined(*batches), whole)
    for name, column in whole.items():
        for row, value in zip(rows, column, strict=True):
            expected = row.get(str(name))
            if expected is None:
                assert pd.isna(value)
            else:
                assert value == (np.float64(expected) if column.dtype == "float64" else expected)
