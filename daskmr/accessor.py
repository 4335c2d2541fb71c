"""``DataArray.mr``: plan and run from an array at hand.

The accessor is there once daskmr and xarray are imported, in whichever order.
"""

from typing import TYPE_CHECKING, Any, Unpack

import xarray as xr

from daskmr.planning.options import JobOptions

if TYPE_CHECKING:
    from daskmr.api import Plan, Result


@xr.register_dataarray_accessor("mr")
class ModelRunner:
    """Models over an array with dimensions y and x, and band where there are several.

    Parameters
    ----------
    data
        The array; lazy ones are computed piece by piece, on the workers.
    """

    def __init__(self, data: xr.DataArray) -> None:
        self._data = data

    def plan(self, model: Any, **options: Unpack[JobOptions]) -> "Plan":
        """Return what `run` would do; see `daskmr.plan`."""
        from daskmr.api import plan

        return plan(self._data, model, **options)

    def run(self, model: Any, **options: Any) -> "Result":
        """Run a model over the array; see `daskmr.run`."""
        from daskmr.api import run

        return run(self._data, model, **options)
