"""Flat properties that a model said of its features, as columns of their own types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from daskmr.core.features import COLUMNS, IMAGE_BOX, TEXT
from daskmr.core.truncation import EDGE_DISTANCE, MERGED_FROM, TRUNCATED

MAX_COLUMNS = 100
"""Properties that become columns at most; names are the model's, and so is their number."""
_MAX_NAME = 63
_INT64 = range(-(2**63), 2**63)
_DTYPES: Mapping[str, Any] = {"bool": "boolean", "int": "Int64", "float": "Float64", "text": TEXT}
_RESERVED = frozenset({
    *COLUMNS, *IMAGE_BOX, TRUNCATED, EDGE_DISTANCE, MERGED_FROM, "geometry", "image_geometry",
    "image_bbox", "center_longitude", "center_latitude", "bbox", "geom", "fid", "ogc_fid", "index",
    "job_id", "feature_properties", "source_metadata",
})  # fmt: skip
"""Names that mean something else in a table or in one of the formats."""


@dataclass
class PropertyColumns:
    """Finds the columns of a job's properties batch by batch; small, whatever models say.

    A property is a column when all of its values are booleans, numbers or texts; those of other
    kinds, of several kinds, or with a name that a table has already, stay in ``properties`` alone.
    """

    kinds: dict[str, str | None] = field(default_factory=dict)
    """Kind of each property, in the order of their first feature; None for one that is no column,
    "" while all of its values are null."""
    _with_gaps: set[str] = field(default_factory=set)
    _n_rows: int = 0
    _names: set[str] = field(default_factory=set)

    def split(self, table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return a batch with a column for each of its properties that may become one."""
        rows = [json.loads(text) if len(text) > len("{}") else {} for text in table["properties"]]
        present = dict.fromkeys(name for row in rows for name in row)
        columns: dict[str, Any] = {}
        for name in present:
            if not self._is_column(name):
                continue
            values = [row.get(name) for row in rows]
            kind = _kind(values)
            self.kinds[name] = _both(self.kinds[name], kind)
            if kind and self.kinds[name]:
                columns[name] = pd.Series(values, index=table.index, dtype=_DTYPES[kind])
            if None in values:
                self._with_gaps.add(name)
        if len(table):
            self._with_gaps |= self.kinds.keys() - present.keys()
        self._n_rows += len(table)
        return table.assign(**columns)

    def join(self, table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return a batch of `split` with the columns of the whole job, each with its final type.

        Numbers of which some are missing are ``Int64``, others ``int64``; alike with booleans.
        """
        final = {name: kind for name, kind in self.kinds.items() if kind}
        left = table.drop(columns=[name for name in self.kinds if name in table])
        return left.assign(**{
            name: _typed(table.get(name), table.index, kind, has_gaps=name in self._with_gaps)
            for name, kind in final.items()
        })  # fmt: skip

    def _is_column(self, name: str) -> bool:
        """Return whether a property may be a column, and remember it."""
        if name in self.kinds:
            return self.kinds[name] is not None
        key = name.casefold()
        is_usable = 0 < len(name) <= _MAX_NAME and name.isprintable() and key not in _RESERVED
        if not is_usable or key in self._names or len(self.kinds) >= MAX_COLUMNS:
            return False
        self._names.add(key)
        self.kinds[name] = ""
        if self._n_rows:
            self._with_gaps.add(name)
        return True


def _kind(values: list[Any]) -> str | None:
    """Return what all values of a property are; "" when all are null."""
    types = {type(value) for value in values} - {type(None)}
    if not types:
        return ""
    if types == {int}:
        return "int" if all(value is None or value in _INT64 for value in values) else None
    if types in ({float}, {int, float}):
        return "float"
    return {bool: "bool", str: "text"}.get(types.pop()) if len(types) == 1 else None


def _both(one: str | None, other: str | None) -> str | None:
    """Return the kind of a property that is of two kinds in two batches."""
    if other in (one, ""):
        return one
    if one == "":
        return other
    return "float" if {one, other} == {"int", "float"} else None


def _typed(column: Any, index: pd.Index, kind: str, *, has_gaps: bool) -> Any:
    """Return the column of a batch in its final type, or one of nulls."""
    if column is None:
        column = pd.Series([None] * len(index), index=index, dtype=_DTYPES[kind])
    if kind == "float":
        return column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "text" or has_gaps:
        return column.astype(_DTYPES[kind])
    return column.astype(np.int64 if kind == "int" else np.bool_)
