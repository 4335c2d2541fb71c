"""Tiled rasters of heights with one file for each square degree: SRTM, DTED, GeoTIFF."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from daskmr.errors import RequestError

Cell = tuple[int, int]
"""Longitude and latitude of the lower left corner of a square degree."""
_KINDS = (".tif", ".tiff", ".hgt", ".dt2", ".dt1", ".dt0")
"""Best first, where there are several files of one degree."""
_NAME = re.compile(r"([ns])(\d{2})_?([ew])(\d{3})")
_COLUMN = re.compile(r"([ew])(\d{3})")
_ROW = re.compile(r"([ns])(\d{2})")
_FIELDS = "{ns}, {lat}, {ew}, {lon}, {NS} or {EW}"


def is_tiled(path: str) -> bool:
    """Return whether a path names many files: a local folder, or a pattern with braces."""
    return "{" in path or Path(path).is_dir()


def tiles(path: str, cells: Iterable[Cell]) -> list[str]:
    """Return files of square degrees, from a folder or a pattern.

    Parameters
    ----------
    path
        A local folder, with coordinates in the names of its files: ``N44E005.hgt``,
        ``n44_e005_1arc_v3.tif``, ``e005/n44.dt1``. Or a path or URL with ``{ns}``, ``{lat}``,
        ``{ew}``, ``{lon}`` in it (``n``, ``44``, ``e``, ``005``; ``{NS}`` and ``{EW}`` for capital
        letters), whose files need not exist.
    cells
        Square degrees; longitudes may be beyond -180 and 180.

    Raises
    ------
    RequestError
        When a pattern has other names in braces.
    """
    wanted = [((lon + 180) % 360 - 180, lat) for lon, lat in cells]
    if "{" in path:
        return [_file_name(path, cell) for cell in wanted]
    known = _list_files(path)
    return [known[cell] for cell in wanted if cell in known]


def _file_name(pattern: str, cell: Cell) -> str:
    """Return the file of a square degree.

    Examples
    --------
    >>> _file_name("s3://dem/{ns}{lat}_{ew}{lon}_1arc_v3.tif", (-2, -11))
    's3://dem/s11_w002_1arc_v3.tif'
    """
    lon, lat = cell
    ew, ns = "ew"[lon < 0], "ns"[lat < 0]
    words = {"ns": ns, "ew": ew, "NS": ns.upper(), "EW": ew.upper()}
    for name, word in {**words, "lat": f"{abs(lat):02}", "lon": f"{abs(lon):03}"}.items():
        pattern = pattern.replace(f"{{{name}}}", word)
    if "{" in pattern:
        msg = f"elevation: {pattern} has braces around something else than {_FIELDS}"
        raise RequestError(msg)
    return pattern


def _list_files(folder: str) -> dict[Cell, str]:
    """Return the best file of each square degree in a folder."""
    best: dict[Cell, tuple[int, str]] = {}
    for cell, path in _files(folder):
        kind = Path(path).suffix.lower()
        rank = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
        if rank < len(_KINDS) and (cell not in best or (rank, path) < best[cell]):
            best[cell] = (rank, path)
    return {cell: path for cell, (_, path) in best.items()}


def _files(folder: str) -> Iterator[tuple[Cell, str]]:
    """Yield files with coordinates in their names, in a folder and in DTED's folders below it."""
    for entry in os.scandir(folder):
        name = entry.name.lower()
        if match := _NAME.search(name):
            yield _cell(match[3], match[4], (match[1], match[2])), entry.path
        elif (column := _COLUMN.fullmatch(name)) and entry.is_dir():
            for below in os.scandir(entry.path):
                if row := _ROW.match(below.name.lower()):
                    yield _cell(column[1], column[2], (row[1], row[2])), below.path


def _cell(ew: str, lon: str, row: tuple[str, str]) -> Cell:
    ns, lat = row
    return int(lon) * (-1 if ew == "w" else 1), int(lat) * (-1 if ns == "s" else 1)
