"""GeoParquet 1.1: the table as it is, with a covering box for readers that filter."""

from pathlib import Path
from typing import ClassVar

import geopandas as gpd

from daskmr.registry import plugin
from daskmr.sinks._features import json_text
from daskmr.sinks.base import Provenance


@plugin
class GeoParquet:
    """Compressed GeoParquet."""

    suffix: ClassVar[str] = ".parquet"

    def write(self, features: gpd.GeoDataFrame, path: Path, provenance: Provenance) -> None:
        """Write the whole table."""
        told = features.assign(
            job_id=provenance.job_id,
            feature_properties=json_text(list(provenance.feature_properties)),
            source_metadata=json_text(list(provenance.source_metadata)),
        )
        told.to_parquet(
            path, compression="zstd", index=False, write_covering_bbox=told.crs is not None
        )
