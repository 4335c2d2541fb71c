"""Write tiles of radar images as SICD and SIDD in NITF, with sarkit.

Layouts: NGA.STND.0024-2 (SICD) and NGA.STND.0025-2 (SIDD). A tile keeps the metadata of the image;
its position is the first row and column in SICD, a geometric chip in SIDD. Security marks are not
copied.
"""

import io
import re
import zlib
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode.base import Corners
from daskmr.errors import EncodeError, RequestError

SICD_TYPES = {"RE32F_IM32F": "float32", "RE16I_IM16I": "int16", "AMP8I_PHS8I": "uint8"}
"""numpy types of the pixel types of SICD, all with two bands."""
SIDD_TYPES = {"MONO8I": ("uint8", 1), "MONO16I": ("uint16", 1), "RGB24I": ("uint8", 3)}
"""numpy types and numbers of bands of the pixel types of SIDD without a lookup table."""

_ROOT = re.compile(r"^\s*(?:<\?[^>]*\?>\s*)?<(?:\w+:)?(SICD|SIDD)\b")
_NAMESPACE = re.compile(r"urn:SICD:([\d.]+)")
_KNOWN = "urn:SICD:1.2.1"
_LATER = re.compile(r"1\.(?:1\.0|2\.1|[3-9].*)")
"""Versions of SICD that sarkit reads unchanged; earlier ones are read as `_KNOWN`."""
_CHIP = "DownstreamReprocessing/GeometricChip"
_CORNERS = ("UpperLeft", "UpperRight", "LowerLeft", "LowerRight")
_STATION = "daskmr"
_ANY_CORNERS = np.array([(1.0, 1.0), (1.1, 1.0), (1.1, 0.9), (1.0, 0.9)])


def is_carried(info: ImageInfo) -> bool:
    """Return whether an image is unchanged SICD or SIDD, so that its tiles can be so too."""
    return bool(info.document)


def check(info: ImageInfo) -> None:
    """Raise, at plan time, when no tile can be written with the metadata of an image.

    Raises
    ------
    RequestError
        When metadata or sarkit are missing or broken; names them.
    """
    try:
        _header(info, Window(row=0, col=0, height=1, width=1), _ANY_CORNERS)
    except ImportError as error:
        msg = "NITF tiles of SICD and SIDD images need sarkit: install daskmr[sar]"
        raise RequestError(msg) from error
    except EncodeError as error:
        msg = f"{error}; choose another tile format"
        raise RequestError(msg) from error


def header_bytes(info: ImageInfo) -> int:
    """Return an upper estimate of the bytes other than pixels."""
    return len(_document(info.document).text.encode()) + 4096


def radar_tile(pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners) -> bytes:
    """Return a tile as SICD or SIDD in NITF.

    Parameters
    ----------
    pixels
        Shape (band, y, x), as stored: two bands for the complex numbers of SICD.
    info
        The image.
    window
        Window of the tile in the image.
    corners
        See `daskmr.encode.base.Corners`.

    Raises
    ------
    EncodeError
        When the tile cannot be written with the metadata of the image.
    """
    jbp, xml = _header(info, window, corners)
    target = io.BytesIO()
    jbp.dump(target)
    target.seek(jbp["DataExtensionSegments"][0]["DESDATA"].get_offset())
    target.write(xml)
    target.seek(jbp["ImageSegments"][0]["Data"].get_offset())
    by_pixel = np.moveaxis(pixels, 0, -1)
    target.write(by_pixel.astype(pixels.dtype.newbyteorder(">"), order="C", copy=False).tobytes())
    return target.getvalue()


@dataclass(frozen=True, slots=True)
class _Document:
    """The XML metadata of an image, in a namespace that sarkit supports."""

    text: str
    kind: str
    namespace: str
    """Original namespace of the document; empty when sarkit supports it."""
    tree: Any


@lru_cache(maxsize=8)
def _document(compressed: bytes) -> _Document:
    from lxml import etree

    text = zlib.decompress(compressed).decode()
    match = _ROOT.match(text)
    kind = match[1] if match else ""
    version = _NAMESPACE.search(text)
    old_namespace = ""
    if kind == "SICD" and version and not _LATER.fullmatch(version[1]):
        old_namespace = version[0]
        text = text.replace(f'"{old_namespace}"', f'"{_KNOWN}"', 1)
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True
    )
    return _Document(
        text, kind, old_namespace, etree.fromstring(text.encode(), parser).getroottree()
    )


def _header(info: ImageInfo, window: Window, corners: Corners) -> tuple[Any, bytes]:
    """Return the file without pixels and metadata, and the metadata as XML."""
    import sarkit.sicd
    import sarkit.sidd
    from lxml import etree

    try:
        document = _document(info.document)
        tree = deepcopy(document.tree)
        if document.kind == "SICD":
            _crop_sicd(sarkit.sicd.XmlHelper(tree), info, window, corners=corners)
            jbp = _sicd(sarkit.sicd, tree)
        else:
            _crop_sidd(sarkit.sidd.XmlHelper(tree), info, window, corners=corners)
            jbp = _sidd(sarkit.sidd, tree)
        xml = etree.tostring(tree)
        _set_constant_fields(jbp, xml, document)
    # Untrusted documents can break any assumption of the library.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        place = f"tile at row {window.row}, column {window.col}"
        reason = f"{type(error).__name__}: {error}"
        msg = f"{info.url}: {place} cannot be written as SICD or SIDD: {reason}"
        raise EncodeError(msg) from error
    return jbp, xml if not document.namespace else _replace_namespace(xml, document.namespace)


def _crop_sicd(xml: Any, info: ImageInfo, window: Window, *, corners: Corners) -> None:
    """Set the first pixel in the full image, the size and the corners of a tile."""
    kind = xml.load("./{*}ImageData/{*}PixelType")
    _require(info, kind, {name: (SICD_TYPES[name], 2) for name in SICD_TYPES})
    first = {"Row": window.row, "Col": window.col}
    for axis, size in (("Row", window.height), ("Col", window.width)):
        before = xml.load(f"./{{*}}ImageData/{{*}}First{axis}")
        xml.set(f"./{{*}}ImageData/{{*}}First{axis}", before + first[axis])
        xml.set(f"./{{*}}ImageData/{{*}}Num{axis}s", size)
    xml.set("./{*}GeoData/{*}ImageCorners", _lat_lon(corners))


def _crop_sidd(xml: Any, info: ImageInfo, window: Window, *, corners: Corners) -> None:
    """Set the geometric chip, the size and the corners of a tile."""
    _require(info, xml.load("./{*}Display/{*}PixelType"), SIDD_TYPES)
    _chip(xml.element_tree.getroot(), info, window)
    size = np.array([window.height, window.width])
    xml.set("./{*}Measurement/{*}PixelFootprint", size)
    places = _lat_lon(corners)
    root = xml.element_tree.getroot()
    for path, value in {
        "./{*}GeographicAndTarget/{*}GeographicCoverage/{*}Footprint": places,
        "./{*}GeoData/{*}ImageCorners": places,
        "./{*}GeoData/{*}ValidData": places,
        "./{*}Measurement/{*}ValidData": (size - 1) * [(0, 0), (0, 1), (1, 1), (1, 0)],
    }.items():
        if root.find(path) is not None:
            xml.set(path, value)


def _chip(root: Any, info: ImageInfo, window: Window) -> None:
    """Set the geometric chip of a tile; an existing one positions the image in its product."""
    from lxml import etree

    namespace = etree.QName(root).namespace
    common = next(uri for uri in root.nsmap.values() if uri.startswith("urn:SICommon"))
    last = np.array([window.height - 1, window.width - 1])
    ends = [last * part for part in ((0, 0), (0, 1), (1, 0), (1, 1))]
    pixels = np.array([window.row, window.col]) + np.array(ends)
    old = root.find("/".join(f"{{*}}{name}" for name in _CHIP.split("/")))
    if old is not None:
        pixels = _in_product(old, info, pixels)
    parent = root.find("{*}DownstreamReprocessing")
    if parent is None:
        parent = etree.Element(f"{{{namespace}}}DownstreamReprocessing")
        root.find("{*}ExploitationFeatures").addnext(parent)
    chip = etree.Element(f"{{{namespace}}}GeometricChip")
    sizes = np.array([window.height, window.width])
    names = ["ChipSize", *(f"Original{corner}Coordinate" for corner in _CORNERS)]
    for name, values in zip(names, [sizes, *pixels], strict=True):
        pair = etree.SubElement(chip, f"{{{namespace}}}{name}")
        for axis, value in zip(("Row", "Col"), values.tolist(), strict=True):
            etree.SubElement(pair, f"{{{common}}}{axis}").text = repr(value)
    if old is not None:
        parent.replace(old, chip)
    else:
        parent.insert(0, chip)


def _in_product(old: Any, info: ImageInfo, pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows and columns of a chip as those of its product, by an affine transform."""
    first, right, below = (
        np.array([float(old.findtext(f"{{*}}Original{c}Coordinate/{{*}}{a}")) for a in _AXES])
        for c in _CORNERS[:3]
    )
    by_row = (below - first) / max(info.height - 1, 1)
    by_col = (right - first) / max(info.width - 1, 1)
    positions: NDArray[np.float64] = first + pixels[:, :1] * by_row + pixels[:, 1:] * by_col
    return positions


_AXES = ("Row", "Col")


def _require(info: ImageInfo, kind: str, known: Any) -> None:
    if known.get(kind) != (info.dtype, info.bands):
        msg = f"PixelType {kind} of {info.bands} bands of {info.dtype}"
        raise ValueError(msg)


def _lat_lon(corners: Corners) -> Corners:
    """Return corners as lat, lon; zeros become 1e-9, since sarkit cannot write zero."""
    return np.where(corners == 0.0, 1e-9, corners)[:, ::-1]


def _sicd(sicd: Any, tree: Any) -> Any:
    marks = sicd.NitfSecurityFields(clas="U")
    metadata = sicd.NitfMetadata(
        xmltree=tree,
        file_header_part=sicd.NitfFileHeaderPart(ostaid=_STATION, security=marks),
        im_subheader_part=sicd.NitfImSubheaderPart(isorce="", security=marks),
        de_subheader_part=sicd.NitfDeSubheaderPart(security=marks),
    )
    return sicd.jbp_from_nitf_metadata(metadata)


def _sidd(sidd: Any, tree: Any) -> Any:
    marks = sidd.NitfSecurityFields(clas="U")
    metadata = sidd.NitfMetadata(
        file_header_part=sidd.NitfFileHeaderPart(ostaid=_STATION, security=marks)
    )
    # NitfProductImageMetadata would validate every tile, and warn about faults of the image.
    product = SimpleNamespace(
        xmltree=tree,
        im_subheader_part=sidd.NitfImSubheaderPart(security=marks),
        de_subheader_part=sidd.NitfDeSubheaderPart(security=marks),
        legends=[],
        lookup_table=None,
    )
    metadata.images.append(product)
    return sidd.jbp_from_nitf_metadata(metadata)


def _set_constant_fields(jbp: Any, xml: bytes, document: _Document) -> None:
    """Set the original namespace of the document, and dates that are the same in every run."""
    segment = jbp["DataExtensionSegments"][0]
    date = jbp["ImageSegments"][0]["subheader"]["IDATIM"].value
    day, time = f"{date[:4]}-{date[4:6]}-{date[6:8]}", f"{date[8:10]}:{date[10:12]}:{date[12:14]}"
    segment["subheader"]["DESSHDT"].value = f"{day}T{time}Z"
    if document.namespace:
        segment["subheader"]["DESSHTN"].value = document.namespace
        segment["subheader"]["DESSHSV"].value = document.namespace.rpartition(":")[2]
        segment["subheader"]["DESSHSD"].value = "0000-00-00T00:00:00Z"
        segment["DESDATA"].size = len(_replace_namespace(xml, document.namespace))
    jbp.finalize()
    jbp["FileHeader"]["FDT"].value = date


def _replace_namespace(xml: bytes, namespace: str) -> bytes:
    return xml.replace(f'"{_KNOWN}"'.encode(), f'"{namespace}"'.encode(), 1)
