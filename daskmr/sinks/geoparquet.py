"""GeoParquet 1.1: the table as it is, with a covering box for readers that filter."""

from pathlib import Path
from typing import ClassVar

import geopandas as gpd

from daskmr.core.features import dumps
from daskmr.registry import plugin
from daskmr.sinks.base import Provenance


@plugin
class GeoParquet:
    """Compressed GeoParquet."""

    suffix: ClassVar[str] = ".parquet"

    def write(self, features: gpd.GeoDataFrame, path: Path, provenance: Provenance) -> None:
        """Write the whole table."""
        told = features.assign(
            job_id=provenance.job_id,
            feature_properties=dumps(list(provenance.feature_properties)),
            source_metadata=dumps(list(provenance.source_metadata)),
        )
        told.to_parquet(
            path, compression="zstd", index=False, write_covering_bbox=told.crs is not None
        )
