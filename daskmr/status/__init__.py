"""What the outside is told of jobs: status events, metrics and logs; none ever changes a job."""

from daskmr.registry import Registry
from daskmr.status._courier import Courier
from daskmr.status._emf import Emf
from daskmr.status._logs import SCHEDULER, TIMELINE, JsonFormatter, JsonHandler, Redaction
from daskmr.status._metrics import DIMENSIONS, METRICS, NAMESPACE, Kind, Meter, Metric, Operation
from daskmr.status._prometheus import Prometheus, of_process
from daskmr.status._redaction import redacted
from daskmr.status.base import Shelf, StatusChannel

__all__ = [
    "DIMENSIONS",
    "METRICS",
    "NAMESPACE",
    "SCHEDULER",
    "STATUS",
    "TIMELINE",
    "Courier",
    "Emf",
    "JsonFormatter",
    "JsonHandler",
    "Kind",
    "Meter",
    "Metric",
    "Operation",
    "Prometheus",
    "Redaction",
    "Shelf",
    "StatusChannel",
    "of_process",
    "redacted",
]

STATUS: Registry[StatusChannel] = Registry(
    kind="status channel",
    builtin={
        "eventbridge": "daskmr.status.eventbridge:EventBridgeChannel",
        "log": "daskmr.status.log:LogChannel",
        "sns": "daskmr.status.sns:SnsChannel",
    },
)
