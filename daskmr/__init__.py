"""daskmr: computer-vision models over very large satellite images, on Dask.

An image goes through these stages, in this order::

    request - image - grid - encode - endpoint - features - merge - geolocate - sink

`run` does it all; `plan` says beforehand what it would do. Read `daskmr.pipeline.run` for the
story.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daskmr.api import Image, Plan, Result, open_image, plan, run
    from daskmr.core.grid import TileGrid
    from daskmr.core.request import ImageRequest
    from daskmr.jobs import Job, submit

__version__ = "0.1.0"

_WHERE = {
    "Image": "daskmr.api",
    "ImageRequest": "daskmr.core.request",
    "Job": "daskmr.jobs",
    "Plan": "daskmr.api",
    "Result": "daskmr.api",
    "TileGrid": "daskmr.core.grid",
    "open_image": "daskmr.api",
    "plan": "daskmr.api",
    "run": "daskmr.api",
    "submit": "daskmr.jobs",
}

__all__ = [
    "Image",
    "ImageRequest",
    "Job",
    "Plan",
    "Result",
    "TileGrid",
    "open_image",
    "plan",
    "run",
    "submit",
]


def __getattr__(name: str) -> Any:
    """Import what is public on first use, so that ``import daskmr`` stays light."""
    if name not in _WHERE:
        msg = f"module 'daskmr' has no attribute {name!r}"
        raise AttributeError(msg)
    import_module("daskmr.accessor")  # DataArray.mr
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if "xarray" in sys.modules:
    import_module("daskmr.accessor")
