"""Headers of images: size, type, georeferencing, metadata; known without reading a pixel."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]
"""Pixels of one window, shape (band, y, x), dtype of the image."""

SAR_AS_BANDS: Mapping[str, bool] = {"NITF_SAR_AS_COMPLEX_TYPE": False}
"""GDAL's setting under which SICD has two real bands, the parts of its complex pixels, as the file
stores them. GDAL up to 3.10 knows nothing else; 3.12 makes one complex band of them by default."""

_FORMATS = {"GTiff": "TIFF", "COG": "TIFF", "JP2OpenJPEG": "JPEG2000"}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_TERMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpcs:
    """Rational polynomials from the ground to the image.

    ``line = line_off + line_scale * N(l, p, h) / D(l, p, h)``, and ``samp`` alike, where l, p, h
    are longitude, latitude and height less their offset over their scale. Lines and samples are
    counted from the centre of the first pixel; the terms stand in the order of RPC00B (STDI-0002,
    volume 1, appendix E).
    """

    line_off: float
    samp_off: float
    lat_off: float
    """Degrees, like `long_off` and the scales of both."""
    long_off: float
    height_off: float
    """Metres above the ellipsoid."""
    line_scale: float
    samp_scale: float
    lat_scale: float
    long_scale: float
    height_scale: float
    line_num: tuple[float, ...]
    """20 coefficients, like the three that follow."""
    line_den: tuple[float, ...]
    samp_num: tuple[float, ...]
    samp_den: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be computed with."""
        for name in self.__slots__:
            value = getattr(self, name)
            terms = value if isinstance(value, tuple) else (value,)
            if isinstance(value, tuple) and len(value) != _TERMS:
                msg = f"{name} has {len(value)} coefficients, not {_TERMS}"
                raise ValueError(msg)
            if not all(map(math.isfinite, terms)) or (name.endswith("scale") and not value):
                msg = f"{name} is {value}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPoints:
    """Pixels whose ground position is in the header."""

    source: str
    """Part of the header: ``GCPs``, ``BLOCKA``, ``CSCRNA``, ``IGEOLO``."""
    pixels: tuple[tuple[float, float], ...]
    """x, y from the outer corner of the first pixel."""
    ground: tuple[tuple[float, float, float], ...]
    """x, y in GIS order along the axes of `crs`, and height in metres."""
    crs: str
    """As `ImageInfo.crs`; "" when the header has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """Header of an image; plain data that pickles and travels with a plan."""

    url: str
    """Path or URL of the image, as the user wrote it; ``"<array>"`` for an array."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    bands: int
    """Number of bands."""
    dtype: str
    """numpy name of the pixel type."""
    driver: str
    """GDAL short name of the format, ``"Zarr"`` or ``"array"``."""
    nodata: float | None = None
    """Value of pixels without data, when the image declares one."""
    has_mask: bool = False
    """True when the image has a mask band (internal TIFF mask, alpha)."""
    block_height: int = 512
    """Rows of one storage block."""
    block_width: int = 512
    """Columns of one storage block."""
    crs: str | None = None
    """Coordinate reference system as WKT (or ``AUTHORITY:CODE``)."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """a, b, c, d, e, f of ``X = a x + b y + c, Y = d x + e y + f``; x, y are pixels from the outer
    corner of the first pixel, X, Y the axes of `crs` in GIS order (east, north)."""
    rpcs: Rpcs | None = None
    """Rational polynomial coefficients."""
    gcps: ControlPoints | None = None
    """Ground control points, when there are more than four."""
    corners: ControlPoints | None = None
    """Four points, one near each corner of the image."""
    chip: tuple[float, float, float, float, float, float] | None = None
    """a, b, c, d, e, f from pixels of this image to pixels of the one that it was cut out of,
    which `rpcs` describe; None for a whole image."""
    sar: str = ""
    """XML of SICD or SIDD metadata, without long parts that do not concern the position of pixels;
    "" for an image without."""
    document: bytes = field(default=b"", repr=False)
    """All of the XML that `sar` is of, compressed by zlib; empty for pixels that were changed."""
    rsm: tuple[tuple[str, str], ...] = ()
    """Names and fields of the NITF extensions of a replacement sensor model; fields are empty for
    those that do not concern the position of pixels, or that no model reads."""
    collected: str = ""
    """Time of collection in the sensor's metadata, ISO 8601; "" when missing."""
    collection: str = ""
    """Name of the collection in the sensor's metadata; "" when missing."""
    images: tuple[str, ...] = ()
    """URLs of the images of a file that has several, when none was picked."""
    unread: tuple[str, ...] = ()
    """Georeferencing in the header that is not supported, a few words each."""
    colorinterp: tuple[str, ...] = ()
    """GDAL's name of each band's colour (``"red"``, ``"alpha"``), empty when unknown."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Default-domain metadata."""
    etag: str = ""
    """Strong identity of the source's bytes when one is known (entity tag, or size and mtime)."""

    def __post_init__(self) -> None:
        """Refuse an image without pixels."""
        if self.height < 1 or self.width < 1 or self.bands < 1:
            msg = f"{self.url}: no pixels ({self.width} x {self.height} x {self.bands} bands)"
            raise ValueError(msg)

    @property
    def itemsize(self) -> int:
        """Bytes of one pixel of one band."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def format(self) -> str:
        """Model Runner's name of the format, such as ``TIFF`` or ``NITF``."""
        return _FORMATS.get(self.driver, self.driver.upper())

    @property
    def has_affine(self) -> bool:
        """True when `transform` and `crs` place the pixels on the ground.

        The identity does not, whatever the CRS; and the transform of a NITF image has no more
        information than the corners that GDAL computed it from.
        """
        if self.driver == "NITF" and self.corners is not None:
            return False
        return bool(self.crs) and self.transform is not None and self.transform != _IDENTITY


def source_metadata(info: ImageInfo) -> Sequence[Mapping[str, str | None]]:
    """Return Model Runner's ``sourceMetadata`` of an image: a list of one entry.

    ``sourceId`` falls back to the location, as Model Runner documents. ``category`` is known for
    NITF only; ``sourceDT`` is the time of collection of the sensor's metadata or of the header of
    NITF, else None.
    """
    return [
        {
            "location": info.url,
            "format": info.format,
            "category": info.tags.get("NITF_ICAT"),
            "sourceId": info.collection or info.tags.get("NITF_FTITLE") or info.url,
            "sourceDT": info.collected or _nitf_time(info.tags.get("NITF_IDATIM", "")),
        }
    ]


def _nitf_time(text: str) -> str | None:
    """Return ISO 8601 of a NITF IDATIM field (``CCYYMMDDhhmmss``, MIL-STD-2500C table A-3)."""
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.isoformat().replace("+00:00", "Z")
