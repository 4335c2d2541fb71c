"""Status events, metrics and logs of jobs; none of them ever changes a job.

`base` defines channels, one a file; `_dispatcher` delivers events to them by `_outbox` and
`_retry_queue`. `_metrics` is rendered by `_prometheus` and `_emf`, `_logs` writes JSON lines, and
`_redaction` removes secrets from all.
"""

from daskmr.registry import Registry
from daskmr.status._contained import contained
from daskmr.status._dispatcher import StatusDispatcher
from daskmr.status._emf import Emf
from daskmr.status._logs import (
    SCHEDULER,
    TIMELINE,
    JsonFormatter,
    JsonHandler,
    Redaction,
    logs_about,
)
from daskmr.status._metrics import DIMENSIONS, METRICS, NAMESPACE, Kind, Meter, Metric, Operation
from daskmr.status._prometheus import Prometheus, process_metrics
from daskmr.status._redaction import redact
from daskmr.status.base import EventStore, StatusChannel

__all__ = [
    "DIMENSIONS",
    "METRICS",
    "NAMESPACE",
    "SCHEDULER",
    "STATUS",
    "TIMELINE",
    "Emf",
    "EventStore",
    "JsonFormatter",
    "JsonHandler",
    "Kind",
    "Meter",
    "Metric",
    "Operation",
    "Prometheus",
    "Redaction",
    "StatusChannel",
    "StatusDispatcher",
    "contained",
    "logs_about",
    "process_metrics",
    "redact",
]

STATUS: Registry[StatusChannel] = Registry(
    kind="status channel",
    builtin={
        "eventbridge": "daskmr.status.eventbridge:EventBridgeChannel",
        "log": "daskmr.status.log:LogChannel",
        "sns": "daskmr.status.sns:SnsChannel",
    },
)
