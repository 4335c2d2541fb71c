"""A stream: one line of JSON over TCP for each feature."""

import json
import socket

from daskmr.errors import SinkError
from daskmr.registry import plugin
from daskmr.sinks.base import Provenance, Rows, Sent


@plugin
class LineStream:
    """Id, label, score and centre of each feature, to a server of the own network."""

    host: str
    port: int
    timeout_s: float = 30.0

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"lines:{self.host}:{self.port}"

    def send(self, rows: Rows, provenance: Provenance) -> Sent:
        """Connect once, and send batch by batch."""
        names = ["feature_id", "label", "score", "center_longitude", "center_latitude"]
        n = 0
        try:
            with socket.create_connection((self.host, self.port), self.timeout_s) as connection:
                for table in rows:
                    for record in table[names].to_dict("records"):
                        line = json.dumps({"job_id": provenance.job_id, **record})
                        connection.sendall(line.encode() + b"\n")
                        n += 1
        except OSError as error:
            msg = f"{self.name}: {error}, after {n:,} features"
            raise SinkError(msg) from error
        return Sent(n_sent=n)
