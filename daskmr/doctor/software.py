"""What is installed: here, and in the processes of a cluster."""

import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from daskmr import __version__
from daskmr.doctor.finding import Finding, ok, problem, warning

PACKAGES = (
    "dask", "distributed", "xarray", "rioxarray", "numpy", "pandas", "geopandas", "shapely",
    "pyarrow", "zarr",
)  # fmt: skip
_DECISIVE = frozenset({"daskmr", "python", "dask", "distributed"})
"""A job sends objects of these between processes."""
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
    "onnx": "onnxruntime", "plot": "matplotlib", "sar": "sarkit", "service": "prometheus-client",
    "stac": "pystac",
}  # fmt: skip
_SCRATCH_BYTES = 2 * 1024**3


def facts() -> dict[str, str]:
    """Versions of this process, by package; runs on workers too."""
    from rasterio import __gdal_version__
    from rasterio import __version__ as rasterio_version

    python = platform.python_version()
    found = {package: _version(package) for package in PACKAGES}
    gdal = {"rasterio": rasterio_version, "GDAL": __gdal_version__}
    return {"daskmr": __version__, "python": python, **found, **gdal}


def installed() -> Iterator[Finding]:
    """What is installed here, and whether it works."""
    here = facts()
    yield ok("daskmr", f"{here.pop('daskmr')} on Python {here.pop('python')}, {_system()}")
    yield ok("packages", ", ".join(f"{name} {said}" for name, said in here.items()))
    extras = sorted(name for name, package in _EXTRAS.items() if _version(package))
    yield ok("extras", ", ".join(extras) or "none")
    yield _drivers()
    yield _places_on_earth()
    yield _scratch()


def compared(there: Mapping[str, Mapping[str, str]], n: int) -> Iterator[Finding]:
    """How the versions of other processes differ from ours.

    Parameters
    ----------
    there
        `facts` of each process that told them, by its name.
    n
        Processes in all.
    """
    here = facts()
    wrong: dict[tuple[str, str], list[str]] = {}
    for name, theirs in there.items():
        for package, mine in here.items():
            said = theirs.get(package, "")
            if said != mine:
                wrong.setdefault((package, said), []).append(name)
    for (package, said), names in wrong.items():
        told = f"{said or 'none'} in {len(names)} of {n} ({names[0]}), {here[package]} here"
        decides = package in _DECISIVE and _minor(said) != _minor(here[package])
        yield problem(package, told) if decides else warning(package, told)
    if there and not wrong:
        yield ok("versions", f"the same as here in {len(there)} of {n} processes")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _minor(said: str) -> list[str]:
    return said.split(".")[:2]


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _drivers() -> Finding:
    from rasterio.drivers import raster_driver_extensions
    from rasterio.env import Env

    with Env() as env:
        known = {*env.drivers(), *raster_driver_extensions().values()}
    missing = [f"{name} ({use})" for name, use in _DRIVERS.items() if name not in known]
    if missing:
        return warning("GDAL", f"cannot do {', '.join(missing)}")
    return ok("GDAL", f"reads and writes {', '.join(_DRIVERS)}")


def _places_on_earth() -> Finding:
    """PROJ's database is easily another installation's."""
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


def _scratch() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    told = f"{free / 1024**3:.1f} GiB free in {folder}"
    if free < _SCRATCH_BYTES:
        return warning("scratch", f"{told}; results of large jobs need more (TMPDIR names a place)")
    return ok("scratch", told)
