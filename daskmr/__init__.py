"""daskmr: computer-vision models over very large satellite images, on Dask.

A request becomes a plan, and a plan is run in these steps::

    open the job - dispatch its regions - summarise - merge - georeference - publish

where a worker does this with each region::

    read - encode - infer - decode - commit

`daskmr.run` does it all; `daskmr.plan` returns what it would do. Read `daskmr.pipeline.run` first.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from daskmr._on_import import register
from daskmr._version import __version__ as __version__

if TYPE_CHECKING:
    from daskmr.api import Image, Plan, Result, open_image, plan, run
    from daskmr.core.grid import TileGrid
    from daskmr.core.request import ImageRequest
    from daskmr.errors import (
        CanceledError,
        ClusterError,
        DaskmrError,
        EndpointError,
        ImageError,
        JobError,
        RequestError,
        SinkError,
        StoreError,
    )
    from daskmr.jobs import Job, list_jobs, submit
    from daskmr.pipeline.probe import probe

_WHERE = {
    "CanceledError": "daskmr.errors",
    "ClusterError": "daskmr.errors",
    "DaskmrError": "daskmr.errors",
    "EndpointError": "daskmr.errors",
    "Image": "daskmr.api",
    "ImageError": "daskmr.errors",
    "ImageRequest": "daskmr.core.request",
    "Job": "daskmr.jobs",
    "JobError": "daskmr.errors",
    "Plan": "daskmr.api",
    "RequestError": "daskmr.errors",
    "Result": "daskmr.api",
    "SinkError": "daskmr.errors",
    "StoreError": "daskmr.errors",
    "TileGrid": "daskmr.core.grid",
    "list_jobs": "daskmr.jobs",
    "open_image": "daskmr.api",
    "plan": "daskmr.api",
    "probe": "daskmr.pipeline.probe",
    "run": "daskmr.api",
    "submit": "daskmr.jobs",
}

__all__ = [
    "CanceledError",
    "ClusterError",
    "DaskmrError",
    "EndpointError",
    "Image",
    "ImageError",
    "ImageRequest",
    "Job",
    "JobError",
    "Plan",
    "RequestError",
    "Result",
    "SinkError",
    "StoreError",
    "TileGrid",
    "list_jobs",
    "open_image",
    "plan",
    "probe",
    "run",
    "submit",
]


def __getattr__(name: str) -> Any:
    """Import what is public on first use, so that ``import daskmr`` stays light."""
    if name not in _WHERE:
        msg = f"module 'daskmr' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


register()
