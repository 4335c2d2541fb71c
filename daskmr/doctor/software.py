"""Checks of installed software, here and in the processes of a cluster."""

import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from daskmr._version import __version__
from daskmr.doctor.check_result import CheckResult, ok, problem, warning

PACKAGES = (
    "dask", "distributed", "xarray", "rioxarray", "numpy", "pandas", "geopandas", "shapely",
    "pyarrow", "zarr",
)  # fmt: skip
_DECISIVE = frozenset({"daskmr", "python", "dask", "distributed"})
"""Packages whose objects are pickled between processes: their versions must agree."""
_DRIVERS = {
    "GTiff": "GeoTIFF images and tiles",
    "NITF": "NITF images and tiles",
    "JP2OpenJPEG": "JPEG 2000 images and tiles",
    "JPEG": "JPEG tiles",
    "PNG": "PNG tiles",
    "VRT": "virtual rasters",
}
_EXTRAS = {
    "coiled": "coiled", "gateway": "dask-gateway", "kubernetes": "dask-kubernetes",
    "notebooks": "jupyterlab", "onnx": "onnxruntime", "plot": "matplotlib", "sar": "sarkit",
    "service": "prometheus-client", "stac": "pystac", "testing": "pytest",
}  # fmt: skip
_SCRATCH_BYTES = 2 * 1024**3


def package_versions() -> dict[str, str]:
    """Return the versions of this process by package; runs on workers too."""
    from rasterio import __gdal_version__
    from rasterio import __version__ as rasterio_version

    python = platform.python_version()
    versions = {package: _version(package) for package in PACKAGES}
    gdal = {"rasterio": rasterio_version, "GDAL": __gdal_version__}
    return {"daskmr": __version__, "python": python, **versions, **gdal}


def installed() -> Iterator[CheckResult]:
    """Check the software of this process."""
    here = package_versions()
    yield ok("daskmr", f"{here.pop('daskmr')} on Python {here.pop('python')}, {_system()}")
    yield ok("packages", ", ".join(f"{name} {number}" for name, number in here.items()))
    extras = sorted(name for name, package in _EXTRAS.items() if _version(package))
    yield ok("extras", ", ".join(extras) or "none")
    yield _drivers()
    yield _proj()
    yield _scratch()


def compare_versions(
    others: Mapping[str, Mapping[str, str]], n_processes: int
) -> Iterator[CheckResult]:
    """Compare the versions of other processes with those of this one.

    Parameters
    ----------
    others
        `package_versions` of each process that answered, by its name.
    n_processes
        Number of all processes.
    """
    here = package_versions()
    differences: dict[tuple[str, str], list[str]] = {}
    for name, versions in others.items():
        for package, expected in here.items():
            number = versions.get(package, "")
            if number != expected:
                differences.setdefault((package, number), []).append(name)
    for (package, number), names in differences.items():
        count = f"{len(names)} of {n_processes} ({names[0]})"
        message = f"{number or 'none'} in {count}, {here[package]} here"
        is_decisive = package in _DECISIVE and _minor(number) != _minor(here[package])
        yield problem(package, message) if is_decisive else warning(package, message)
    if others and not differences:
        yield ok("versions", f"the same as here in {len(others)} of {n_processes} processes")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _minor(number: str) -> list[str]:
    return number.split(".")[:2]


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _drivers() -> CheckResult:
    from rasterio.drivers import raster_driver_extensions
    from rasterio.env import Env

    with Env() as env:
        available = {*env.drivers(), *raster_driver_extensions().values()}
    missing = [f"{name} ({use})" for name, use in _DRIVERS.items() if name not in available]
    if missing:
        return warning("GDAL", f"cannot do {', '.join(missing)}")
    return ok("GDAL", f"reads and writes {', '.join(_DRIVERS)}")


def _proj() -> CheckResult:
    """Check PROJ's database, which is easily that of another installation."""
    import numpy as np
    from pyproj import Transformer
    from pyproj.exceptions import ProjError
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        utm = CRS.from_epsg(32631).to_wkt()
        x, y = Transformer.from_crs(utm, 4326, always_xy=True).transform(500_000.0, 0.0)
    except (CRSError, ProjError) as error:
        return problem("PROJ", f"{error}; is PROJ_LIB or PROJ_DATA that of another installation?")
    if not np.allclose((x, y), (3.0, 0.0), atol=1e-9):
        return problem("PROJ", f"places (500000, 0) of EPSG:32631 at {x}, {y}")
    return ok("PROJ", "knows EPSG codes")


def _scratch() -> CheckResult:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    message = f"{free / 1024**3:.1f} GiB free in {folder}"
    if free < _SCRATCH_BYTES:
        return warning("scratch", f"{message}; large jobs need more (set TMPDIR)")
    return ok("scratch", message)
