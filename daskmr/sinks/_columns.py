"""The columns of a result in Arrow, but for the geometries."""

from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa

from daskmr.sinks._features import json_text
from daskmr.sinks.base import Provenance

PROVENANCE_COLUMNS = ("job_id", "feature_properties", "source_metadata")
"""Columns of a file that the table of a result does not have: the same in every row."""
_TIME = pa.timestamp("ms", tz="UTC")


def arrow_columns(table: gpd.GeoDataFrame, provenance: Provenance, text: Any) -> dict[str, Any]:
    """Return the columns of a world table and of its provenance, each of one Arrow type.

    Parameters
    ----------
    table
        Batch of `daskmr.sinks.base.Rows`.
    provenance
        Of every row.
    text
        Arrow's type of text.

    Returns
    -------
    Arrays by name: numbers, booleans, ``timestamp[ms, UTC]`` and texts; ``geometry`` and
    ``image_geometry`` are None, in their places.
    """
    values = (
        provenance.job_id,
        json_text(list(provenance.feature_properties)),
        json_text(list(provenance.source_metadata)),
    )
    constant = dict(zip(PROVENANCE_COLUMNS, values, strict=True))
    plain = {name: table[name] for name in table.columns if name not in constant}
    columns: dict[str, Any] = {
        name: None if name in {"geometry", "image_geometry"} else _array(column, text)
        for name, column in plain.items()
    }
    return columns | {
        name: pa.repeat(pa.scalar(value, type=text), len(table)) for name, value in constant.items()
    }


def _array(column: "pd.Series[Any]", text: Any) -> Any:
    """Return a column as an Arrow array whose type does not depend on its values."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return pa.array(column, type=_TIME)
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        return pa.array(column)
    return pa.array(column).cast(text)
