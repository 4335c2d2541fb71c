"""Read the georeferencing of a file besides transform and CRS: RPCs, GCPs, NITF, SICD, SIDD.

Layouts of NITF fields and extensions: MIL-STD-2500C, table A-3 (IGEOLO), and STDI-0002, volume 1:
appendices B (ICHIPB), D (CSCRNA), E (RPC00A, RPC00B) and N (BLOCKA).
"""

import base64
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import unescape

import numpy as np

from daskmr.core.imagery import ControlPoints, Rpcs

MOST_GCPS = 2500
"""Largest number of ground control points kept; the cost of splines is cubic in it."""

_MOST_XML = 8 * 2**20
"""Largest number of characters of one document of sensor metadata."""
_MOST_CONTENT = 64 * 2**20
# Patterns for untrusted text: none of them may backtrack over text it has matched.
_XML_CONTENT = re.compile(r"<xml_content>\s*(<.*?)</xml_content>", re.DOTALL)
_OLD_XML = re.compile(
    r'<des name="SI[CD]D_XML">(?:\s*<field name="\w+" value="[^"<>]*" ?/>)*?'
    r'\s*<field name="DESDATA" value="([^"<>]*)"'
)
_XML_ROOT = re.compile(r"\s*(?:<\?[^>]*>\s*)?<(?:\w+:)?(SICD|SIDD)\b")
_SAR_TIME = re.compile(r"<(?:\w+:)?(?:CollectStart|CollectionDateTime)\b[^<>]*>([^<>]+)<")
_SAR_NAME = re.compile(
    r'<(?:\w+:)?CoreName\b[^<>]*>([^<>]+)<|<(?:\w+:)?Collection identifier="([^"<>]+)"'
)
_NO_GEOMETRY = re.compile(
    r"<((?:\w+:)?(?:Antenna|Annotations|Display|DigitalElevationData|ErrorStatistics|"
    r"ExploitationFeatures|IPP|ImageCorners|MatchInfo|ProductProcessing|RadarCollection|Radiometric|"
    r"ValidData|WgtFunct))(?:\s[^<>]*)?(?<!/)>"
)
"""Long elements without geometry, left out because headers travel with every task."""
_UNUSED = frozenset({"SENSRA", "SENSRB", "CSEXRA", "CSEXRB"})
"""Extensions with sensor data that no sensor model uses."""
_GAPS = re.compile(r">\s+<")
_RSM_GEOMETRY = ("RSMIDA", "RSMPIA", "RSMPCA")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?")
_WGS84 = "EPSG:4326"
_CORNERS = 4
_HALF = 0.5
_FLATTENING = 1 / 298.257223563
_LIKE_AFFINE_PX = 0.5
_OFFSETS = ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")
_POLYNOMIALS = ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN")
_RPC00_LENGTH = 1041
_RPC00A_ORDER = (0, 1, 2, 3, 4, 5, 6, 10, 7, 8, 9, 11, 14, 17, 12, 15, 18, 13, 16, 19)
"""Position in RPC00B of each term of RPC00A."""
_CSCRNA_STARTS = (1, 28, 55, 82)
_ICHIPB_LENGTH = 224
_WHOLE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_DEGREES = re.compile(r"([+-]\d{2}\.\d{3,6})([+-]\d{3}\.\d{3,6})")
_SECONDS = re.compile(r"(\d{2})(\d{2})(\d{2})([NS])(\d{3})(\d{2})(\d{2})([EW])")
_BLOCKA_SECONDS = re.compile(
    r"([NS])(\d{2})(\d{2})(\d{2}\.\d{2})([EW])(\d{3})(\d{2})(\d{2}\.\d{2})"
)

LonLats = list[tuple[float, float]]


def georeferencing(dataset: Any) -> dict[str, Any]:
    """Return keyword arguments of `ImageInfo` for rpcs, gcps, corners, chip, rsm, sar and related.

    Metadata that cannot be used is left out and listed in ``unread``.

    Parameters
    ----------
    dataset
        An open rasterio dataset.
    """
    unread: list[str] = []
    nitf = dataset.driver == "NITF"
    extensions = dataset.tags(ns="TRE") if nitf else {}
    points, crs = dataset.gcps
    gcps = _gcps(points, crs)
    corners = _nitf_corners(dataset, extensions) if nitf else None
    if corners is None and len(points) == _CORNERS:
        corners = gcps
    if 0 < len(points) < _CORNERS:
        unread.append(f"GCPs that are {len(points)} only")
    if len(points) > MOST_GCPS:
        unread.append(f"{len(points) - MOST_GCPS:,} of {len(points):,} GCPs")
    fields: dict[str, Any] = {
        "rpcs": _read(_rpcs, _rpc_tags(dataset, extensions), unread),
        "chip": _read(_chip, extensions.get("ICHIPB", ""), unread),
        "gcps": gcps if len(points) > _CORNERS else None,
        "corners": corners,
        "rsm": tuple(
            (name, text if name.startswith(_RSM_GEOMETRY) else "")
            for name, text in extensions.items()
            if name.startswith("RSM")
        ),
    }
    if not (fields["rpcs"] or fields["rsm"]):
        unread += sorted(_UNUSED.intersection(extensions))
    sar = _read(_sar, dataset, unread) or "" if nitf else ""
    fields |= {"sar": _geometry(sar), **_collection(dataset.tags(ns="IMAGERY"), sar)}
    fields |= {"document": zlib.compress(sar.encode()) if sar else b""}
    return {**fields, "unread": tuple(unread)}


def _read(parse: Any, value: Any, unread: list[str]) -> Any:
    """Return parsed metadata; None, and the error in `unread`, when it cannot be parsed."""
    try:
        return parse(value) if value else None
    except ValueError as error:
        unread.append(str(error))
        return None


def _rpc_tags(dataset: Any, extensions: Mapping[str, str]) -> Mapping[str, str]:
    """Return GDAL's tags of RPCs, with the terms of RPC00A in the order of RPC00B.

    GDAL (3.10) confuses the positions of the terms lph, ll, pp, hh of RPC00A.
    """
    tags = dict(dataset.tags(ns="RPC"))
    text = extensions.get("RPC00A", "")
    if "RPC00B" in extensions or len(text) < _RPC00_LENGTH:
        return tags
    for start, name in zip(range(81, _RPC00_LENGTH, 240), _POLYNOMIALS, strict=True):
        terms = [""] * len(_RPC00A_ORDER)
        for i, place in enumerate(_RPC00A_ORDER):
            terms[place] = text[start + 12 * i : start + 12 * (i + 1)]
        tags[f"{name}_COEFF"] = " ".join(terms)
    return tags


def _rpcs(tags: Mapping[str, str]) -> Rpcs:
    try:
        scalars: dict[str, Any] = {
            f"{name}_{kind}".lower(): float(tags[f"{name}_{kind}"])
            for name in _OFFSETS
            for kind in ("OFF", "SCALE")
        }
        terms: dict[str, Any] = {
            name.lower(): tuple(map(float, tags[f"{name}_COEFF"].split())) for name in _POLYNOMIALS
        }
        return Rpcs(**scalars, **terms)
    except KeyError as error:
        msg = f"RPCs without {error.args[0]}"
        raise ValueError(msg) from error
    except ValueError as error:
        msg = f"RPCs that are broken ({error})"
        raise ValueError(msg) from error


def _chip(text: str) -> tuple[float, ...] | None:
    """Return the affine transform from pixels of a chip to the full image; None for the identity.

    Pixels are counted from the outer corner: the first pixel of the standard has its centre at 0.5.
    """
    if len(text) < _ICHIPB_LENGTH:
        msg = f"ICHIPB of {len(text)} characters, not {_ICHIPB_LENGTH}"
        raise ValueError(msg)
    if int(text[:2]) != 0:  # pixels were also warped, by an unknown transform
        msg = "ICHIPB of pixels that were warped"
        raise ValueError(msg)
    values = np.array([float(text[16 + 12 * i : 28 + 12 * i]) for i in range(16)])
    chip, full = values.reshape(2, 4, 2)[:, :, ::-1]
    system = np.column_stack([chip, np.ones(4)])
    solved, _, rank, _ = np.linalg.lstsq(system, full, rcond=None)
    residual_px = np.abs(system @ solved - full).max()
    if rank < system.shape[1] or not residual_px <= _LIKE_AFFINE_PX:
        msg = "ICHIPB that is no affine transform"
        raise ValueError(msg)
    affine = solved.T.ravel()
    return None if np.allclose(affine, _WHOLE, rtol=0, atol=1e-9) else tuple(affine.tolist())


def _gcps(points: Any, crs: Any) -> ControlPoints | None:
    if not points:
        return None
    if len(points) > MOST_GCPS:  # a random sample: their order may follow rows or columns
        chosen = np.random.default_rng(0).choice(len(points), MOST_GCPS, replace=False)
        points = [points[i] for i in np.sort(chosen)]
    return ControlPoints(
        source="GCPs",
        pixels=tuple((float(p.col), float(p.row)) for p in points),
        ground=tuple((float(p.x), float(p.y), float(p.z or 0.0)) for p in points),
        crs=crs.to_wkt() if crs else "",
    )


def _nitf_corners(dataset: Any, extensions: Mapping[str, str]) -> ControlPoints | None:
    """Return the most exact corners of a NITF image, in degrees; None if it has a better transform.

    BLOCKA is exact to 0.1 m, CSCRNA to about 1 m, IGEOLO to 30 m.
    """
    tags = dataset.tags()
    if _has_other_transform(dataset, extensions):
        return None
    for source, corners in (
        ("BLOCKA", _blocka(tags, dataset.height)),
        ("CSCRNA", _cscrna(extensions.get("CSCRNA", ""))),
        ("IGEOLO", _igeolo(tags)),
    ):
        if len(corners) == _CORNERS:
            # CSCRNA has the outer corners of the image, the others the centres of corner pixels.
            inset = 0.0 if source == "CSCRNA" else _HALF
            return ControlPoints(
                source=source,
                pixels=_rectangle(dataset.width, dataset.height, inset),
                ground=tuple((lon, lat, 0.0) for lon, lat in corners),
                crs=_WGS84,
            )
    return None


def _has_other_transform(dataset: Any, extensions: Mapping[str, str]) -> bool:
    """Return whether GDAL's transform comes from a chart frame, a grid or a sidecar file."""
    if dataset.crs is None or dataset.transform.is_identity:
        return False
    if "RPFHDR" in extensions or not dataset.crs.is_geographic:
        return True
    tags = dataset.tags()
    corners = _blocka(tags, dataset.height) or _igeolo(tags)
    if len(corners) != _CORNERS:
        return True
    pixels = np.array(_rectangle(dataset.width, dataset.height, _HALF))
    to_ground = np.array(dataset.transform).reshape(3, 3)[:2]
    placed = pixels @ to_ground[:, :2].T + to_ground[:, 2]
    pixel = np.abs(to_ground[:, :2]).sum(axis=1)
    return bool((np.abs(placed - corners) > pixel).any())


def _rectangle(width: int, height: int, inset: float) -> tuple[tuple[float, float], ...]:
    right, bottom = width - inset, height - inset
    return (inset, inset), (right, inset), (right, bottom), (inset, bottom)


def _blocka(tags: Mapping[str, str], height: int) -> LonLats:
    """Return the corners of the single block with all lines; empty when there is none."""
    prefix = "NITF_BLOCKA_"
    lines = tags.get(f"{prefix}L_LINES_01", "").strip()
    if tags.get(f"{prefix}BLOCK_COUNT", "").strip() not in {"1", "01"}:
        return []
    if not re.fullmatch("[0-9]{1,5}", lines) or int(lines) not in {0, height}:
        return []
    names = (f"{prefix}{corner}_LOC_01" for corner in ("FRFC", "FRLC", "LRLC", "LRFC"))
    return [pair for name in names for pair in _locations(tags.get(name, ""))]


def _cscrna(text: str) -> LonLats:
    """Return lon, lat of upper left, upper right, lower right, lower left; empty when malformed.

    Each corner has 9 characters of latitude, 10 of longitude, and a height.
    """
    try:
        return [
            (float(text[start + 9 : start + 19]), float(text[start : start + 9]))
            for start in _CSCRNA_STARTS
        ]
    except ValueError:
        return []


def _igeolo(tags: Mapping[str, str]) -> LonLats:
    """Return the corners in degrees; empty when they are in a metric grid."""
    kind = tags.get("NITF_ICORDS", "").strip()
    if kind not in {"G", "D", "C"}:
        return []
    corners = list(_locations(tags.get("NITF_IGEOLO", "")))
    if kind != "C":
        return corners
    return [(lon, _geodetic(lat)) for lon, lat in corners]


def _geodetic(lat: float) -> float:
    """Return the geodetic latitude of a geocentric one, degrees, on the ellipsoid of WGS 84."""
    tangent = math.tan(math.radians(lat)) / (1 - _FLATTENING) ** 2
    return math.degrees(math.atan(tangent))


def _locations(text: str) -> Iterator[tuple[float, float]]:
    """Yield lon, lat of each location in a field, in any of its three notations."""
    for match in _DEGREES.finditer(text):
        yield float(match[2]), float(match[1])
    for match in _SECONDS.finditer(text):
        south, west = match[4] == "S", match[8] == "W"
        yield _degrees(match.group(5, 6, 7), west), _degrees(match.group(1, 2, 3), south)
    for match in _BLOCKA_SECONDS.finditer(text):
        south, west = match[1] == "S", match[5] == "W"
        yield _degrees(match.group(6, 7, 8), west), _degrees(match.group(2, 3, 4), south)


def _degrees(parts: Any, negative: bool) -> float:  # noqa: FBT001 - the sign
    degrees, minutes, seconds = map(float, parts)
    size = degrees + minutes / 60 + seconds / 3600
    return -size if negative else size


def _sar(dataset: Any) -> str:
    """Return the XML of the radar product of an image, not that of its source products.

    SIDD files also contain the SICD of their sources. Products are in the order of the images,
    whose index is part of their name (``SIDDpppsss`` in IID1). GDAL returns XML that is declared as
    XML, and older SICD in base 64.
    """
    content = dataset.tags(ns="xml:DES").get("xml:DES", "")
    if len(content) > _MOST_CONTENT:
        msg = f"sensor metadata of {len(content):,} characters"
        raise ValueError(msg)
    texts = [match[1].rstrip() for match in _XML_CONTENT.finditer(content)]
    texts += [_decode_base64(match[1]) for match in _OLD_XML.finditer(content)]
    for kind in ("SIDD", "SICD"):
        products = [text for text in texts if (root := _XML_ROOT.match(text)) and root[1] == kind]
        if products:
            numbered = re.match(r"SIDD(\d{3})", dataset.tags().get("NITF_IID1", ""))
            place = max(int(numbered[1]), 1) - 1 if numbered else 0
            product = products[min(place, len(products) - 1)]
            if len(product) > _MOST_XML:
                msg = f"{kind} of {len(product):,} characters"
                raise ValueError(msg)
            return product
    return ""


def _geometry(xml: str) -> str:
    """Return radar metadata without the long elements that do not describe the geometry."""
    kept, place = [], 0
    while match := _NO_GEOMETRY.search(xml, place):
        close = f"</{match[1]}>"
        end = xml.find(close, match.end())
        if end < 0:
            return xml
        kept.append(xml[place : match.start()])
        place = end + len(close)
    return _GAPS.sub("><", "".join([*kept, xml[place:]]))


def _decode_base64(text: str) -> str:
    try:
        return base64.b64decode(text).decode()
    except ValueError as error:
        msg = f"SICD that is broken ({error})"
        raise ValueError(msg) from error


def _collection(imagery: Mapping[str, str], sar: str) -> dict[str, str]:
    """Return the time and the name of the collection from the metadata of the sensor."""
    time = _first(_SAR_TIME, sar) or _moment(imagery)
    return {"collected": time, "collection": _first(_SAR_NAME, sar)}


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return unescape(next(filter(None, match.groups()))).strip() if match else ""


def _moment(tags: Mapping[str, str]) -> str:
    """Return the ISO 8601 time that GDAL reads from sidecar files, which are in UTC."""
    text = tags.get("ACQUISITIONDATETIME", "").strip().replace(" ", "T")
    return f"{text}Z" if _MOMENT.fullmatch(text) else ""
