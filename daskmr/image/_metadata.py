"""What the header of a file says of where its pixels lie, besides transform and CRS.

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
"""Ground control points that are kept of more; splines cost the cube of their number."""

_MOST_XML = 8 * 2**20
"""Characters of one document of sensor metadata that is kept."""
_MOST_CONTENT = 64 * 2**20
# Patterns over what strangers wrote: none may start over in the middle of what it has seen.
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
"""Elements that are long and say nothing of where pixels lie: headers travel with every task."""
_UNUSED = frozenset({"SENSRA", "SENSRB", "CSEXRA", "CSEXRB"})
"""Extensions that tell of a sensor in ways that no model reads."""
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
"""Where each term of RPC00A stands in RPC00B."""
_CSCRNA_STARTS = (1, 28, 55, 82)
_ICHIPB_LENGTH = 224
_WHOLE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_DEGREES = re.compile(r"([+-]\d{2}\.\d{3,6})([+-]\d{3}\.\d{3,6})")
_SECONDS = re.compile(r"(\d{2})(\d{2})(\d{2})([NS])(\d{3})(\d{2})(\d{2})([EW])")
_BLOCKA_SECONDS = re.compile(
    r"([NS])(\d{2})(\d{2})(\d{2}\.\d{2})([EW])(\d{3})(\d{2})(\d{2}\.\d{2})"
)

Pairs = list[tuple[float, float]]


def georeferencing(dataset: Any) -> dict[str, Any]:
    """Keyword arguments of `ImageInfo`: rpcs, gcps, corners, chip, sar, rsm and what belongs to it.

    What is there and makes no sense is told in ``unread``, and left out.

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
    found = {
        "rpcs": _read(_rpcs, _rpc_tags(dataset, extensions), unread),
        "chip": _read(_chip, extensions.get("ICHIPB", ""), unread),
        "gcps": gcps if len(points) > _CORNERS else None,
        "corners": corners,
        "rsm": tuple(
            (name, fields if name.startswith(_RSM_GEOMETRY) else "")
            for name, fields in extensions.items()
            if name.startswith("RSM")
        ),
    }
    if not (found["rpcs"] or found["rsm"]):
        unread += sorted(_UNUSED.intersection(extensions))
    sar = _read(_sar, dataset, unread) or "" if nitf else ""
    found |= {"sar": _geometry(sar), **_collection(dataset.tags(ns="IMAGERY"), sar)}
    found |= {"document": zlib.compress(sar.encode()) if sar else b""}
    return {**found, "unread": tuple(unread)}


def _read(parse: Any, given: Any, unread: list[str]) -> Any:
    """What *parse* makes of metadata; None, with a word about it, when it cannot."""
    try:
        return parse(given) if given else None
    except ValueError as error:
        unread.append(str(error))
        return None


def _rpc_tags(dataset: Any, extensions: Mapping[str, str]) -> Mapping[str, str]:
    """GDAL's tags of RPCs, with the terms of RPC00A in the order of RPC00B.

    GDAL (3.10) puts the terms lph, ll, pp, hh of RPC00A into each other's places.
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
    """From pixels of a chip to pixels of the full image; None for one that is the full image.

    Both are counted from the outer corner: the standard's first pixel has its centre at 0.5.
    """
    if len(text) < _ICHIPB_LENGTH:
        msg = f"ICHIPB of {len(text)} characters, not {_ICHIPB_LENGTH}"
        raise ValueError(msg)
    if int(text[:2]) != 0:  # pixels were moved by more than a chip's cut, and nobody says how
        msg = "ICHIPB of pixels that were warped"
        raise ValueError(msg)
    values = np.array([float(text[16 + 12 * i : 28 + 12 * i]) for i in range(16)])
    chip, full = values.reshape(2, 4, 2)[:, :, ::-1]
    system = np.column_stack([chip, np.ones(4)])
    solved, _, rank, _ = np.linalg.lstsq(system, full, rcond=None)
    off = np.abs(system @ solved - full).max()
    if rank < system.shape[1] or not off <= _LIKE_AFFINE_PX:
        msg = "ICHIPB that is no affine transform"
        raise ValueError(msg)
    found = solved.T.ravel()
    return None if np.allclose(found, _WHOLE, rtol=0, atol=1e-9) else tuple(found.tolist())


def _gcps(points: Any, crs: Any) -> ControlPoints | None:
    if not points:
        return None
    if len(points) > MOST_GCPS:  # some, from all over: their order may follow rows or columns
        chosen = np.random.default_rng(0).choice(len(points), MOST_GCPS, replace=False)
        points = [points[i] for i in np.sort(chosen)]
    return ControlPoints(
        source="GCPs",
        pixels=tuple((float(p.col), float(p.row)) for p in points),
        ground=tuple((float(p.x), float(p.y), float(p.z or 0.0)) for p in points),
        crs=crs.to_wkt() if crs else "",
    )


def _nitf_corners(dataset: Any, extensions: Mapping[str, str]) -> ControlPoints | None:
    """The best corners that a NITF image has, in degrees; None when a better place is known.

    BLOCKA is exact to 0.1 m, CSCRNA to about 1 m, IGEOLO to 30 m.
    """
    tags = dataset.tags()
    if _is_placed_otherwise(dataset, extensions):
        return None
    for source, corners in (
        ("BLOCKA", _blocka(tags, dataset.height)),
        ("CSCRNA", _cscrna(extensions.get("CSCRNA", ""))),
        ("IGEOLO", _igeolo(tags)),
    ):
        if len(corners) == _CORNERS:
            # CSCRNA speaks of the image's own corners, the others of the pixels that lie there.
            inset = 0.0 if source == "CSCRNA" else _HALF
            return ControlPoints(
                source=source,
                pixels=_rectangle(dataset.width, dataset.height, inset),
                ground=tuple((lon, lat, 0.0) for lon, lat in corners),
                crs=_WGS84,
            )
    return None


def _is_placed_otherwise(dataset: Any, extensions: Mapping[str, str]) -> bool:
    """Whether GDAL has the transform from elsewhere: a chart's frame, a grid, a file beside it."""
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


def _blocka(tags: Mapping[str, str], height: int) -> Pairs:
    """Corners of the one block that holds all lines."""
    prefix = "NITF_BLOCKA_"
    lines = tags.get(f"{prefix}L_LINES_01", "").strip()
    if tags.get(f"{prefix}BLOCK_COUNT", "").strip() not in {"1", "01"} or not lines.isdigit():
        return []
    if int(lines) not in {0, height}:
        return []
    names = (f"{prefix}{corner}_LOC_01" for corner in ("FRFC", "FRLC", "LRLC", "LRFC"))
    return [pair for name in names for pair in _locations(tags.get(name, ""))]


def _cscrna(text: str) -> Pairs:
    """Upper left, upper right, lower right, lower left; 9 and 10 characters each, and a height."""
    try:
        return [
            (float(text[start + 9 : start + 19]), float(text[start : start + 9]))
            for start in _CSCRNA_STARTS
        ]
    except ValueError:
        return []


def _igeolo(tags: Mapping[str, str]) -> Pairs:
    """Corners in degrees; none for those that are given in a grid of metres."""
    kind = tags.get("NITF_ICORDS", "").strip()
    if kind not in {"G", "D", "C"}:
        return []
    corners = list(_locations(tags.get("NITF_IGEOLO", "")))
    if kind != "C":
        return corners
    return [(lon, _geodetic(lat)) for lon, lat in corners]


def _geodetic(lat: float) -> float:
    """Geodetic latitude of a geocentric one, degrees, on the ellipsoid of WGS 84."""
    tangent = math.tan(math.radians(lat)) / (1 - _FLATTENING) ** 2
    return math.degrees(math.atan(tangent))


def _locations(text: str) -> Iterator[tuple[float, float]]:
    """lon, lat of each location in a field, in any of the three ways of writing one."""
    for match in _DEGREES.finditer(text):
        yield float(match[2]), float(match[1])
    for match in _SECONDS.finditer(text):
        south, west = match[4] == "S", match[8] == "W"
        yield _degrees(match.group(5, 6, 7), west), _degrees(match.group(1, 2, 3), south)
    for match in _BLOCKA_SECONDS.finditer(text):
        south, west = match[1] == "S", match[5] == "W"
        yield _degrees(match.group(6, 7, 8), west), _degrees(match.group(2, 3, 4), south)


def _degrees(parts: Any, negative: bool) -> float:  # noqa: FBT001 - a sign
    degrees, minutes, seconds = map(float, parts)
    size = degrees + minutes / 60 + seconds / 3600
    return -size if negative else size


def _sar(dataset: Any) -> str:
    """XML of a radar product: that of the image, not those of what the image was made from.

    Files of SIDD hold the SICD of their sources as well; products stand in the order of images,
    whose place in the file is part of their name (``SIDDpppsss`` in IID1). GDAL hands out XML that
    was declared as such, and older SICD in base 64.
    """
    content = dataset.tags(ns="xml:DES").get("xml:DES", "")
    if len(content) > _MOST_CONTENT:
        msg = f"sensor metadata of {len(content):,} characters"
        raise ValueError(msg)
    texts = [match[1].rstrip() for match in _XML_CONTENT.finditer(content)]
    texts += [_decoded(match[1]) for match in _OLD_XML.finditer(content)]
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
    """Radar metadata without the long elements that say nothing of where pixels lie."""
    kept, place = [], 0
    while match := _NO_GEOMETRY.search(xml, place):
        close = f"</{match[1]}>"
        end = xml.find(close, match.end())
        if end < 0:
            return xml
        kept.append(xml[place : match.start()])
        place = end + len(close)
    return _GAPS.sub("><", "".join([*kept, xml[place:]]))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode()
    except ValueError as error:
        msg = f"SICD that is broken ({error})"
        raise ValueError(msg) from error


def _collection(imagery: Mapping[str, str], sar: str) -> dict[str, str]:
    """When and as what the sensor's metadata say that the image was taken."""
    time = _first(_SAR_TIME, sar) or _moment(imagery)
    return {"collected": time, "collection": _first(_SAR_NAME, sar)}


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return unescape(next(filter(None, match.groups()))).strip() if match else ""


def _moment(tags: Mapping[str, str]) -> str:
    """ISO 8601 of what GDAL reads in the files beside an image; they are in UTC."""
    text = tags.get("ACQUISITIONDATETIME", "").strip().replace(" ", "T")
    return f"{text}Z" if _MOMENT.fullmatch(text) else ""
