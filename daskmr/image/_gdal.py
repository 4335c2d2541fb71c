"""What the modules that use GDAL share: its errors, and types of pixels."""

from typing import Any


def pixel_type(dataset: Any) -> str:
    """Return the numpy name of the type of an open dataset's pixels."""
    name: str = dataset.dtypes[0]
    return "complex64" if name == "complex_int16" else name


def faults(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the errors of rasterio for broken files, and *others*; they share no base class."""
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import RasterioError

    return (RasterioError, CPLE_BaseError, ValueError, *others)
