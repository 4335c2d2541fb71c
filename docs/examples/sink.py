"""An output format: one line of CSV for each feature."""

from pathlib import Path
from typing import ClassVar

from daskmr.registry import plugin
from daskmr.sinks.base import Provenance, Rows


@plugin
class CsvSink:
    """Label, score and centre."""

    suffix: ClassVar[str] = ".csv"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Batch by batch, so that memory does not grow with the number of features."""
        names = ["feature_id", "label", "score", "center_longitude", "center_latitude"]
        for i, table in enumerate(rows):
            lines = table[names].assign(job_id=provenance.job_id)
            lines.to_csv(path, mode="a" if i else "w", header=not i, index=False)
