"""Rasters of heights that come as one file for each degree: SRTM, DTED, GeoTIFF."""

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
    """Whether a path names many files: a local folder, or a pattern with braces."""
    return "{" in path or Path(path).is_dir()


def tiles(path: str, cells: Iterable[Cell]) -> list[str]:
    """Files of square degrees, those that a folder has, or those that a pattern names.

    Parameters
    ----------
    path
        A local folder, whose files tell their place by their names: ``N44E005.hgt``,
        ``n44_e005_1arc_v3.tif``, ``e005/n44.dt1``. Or a path or URL with ``{ns}``, ``{lat}``,
        ``{ew}``, ``{lon}`` in it (``n``, ``44``, ``e``, ``005``; ``{NS}`` and ``{EW}`` for capital
        letters), whose files are there or not.
    cells
        Longitudes may be of any turn.

    Raises
    ------
    RequestError
        When a pattern has other words in braces.
    """
    wanted = [((lon + 180) % 360 - 180, lat) for lon, lat in cells]
    if "{" in path:
        return [_named(path, cell) for cell in wanted]
    known = _listed(path)
    return [known[cell] for cell in wanted if cell in known]


def _named(pattern: str, cell: Cell) -> str:
    """The file of a square degree.

    Examples
    --------
    >>> _named("s3://dem/{ns}{lat}_{ew}{lon}_1arc_v3.tif", (-2, -11))
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


def _listed(folder: str) -> dict[Cell, str]:
    """The best file of each square degree in a folder."""
    found: dict[Cell, tuple[int, str]] = {}
    for cell, path in _files(folder):
        kind = Path(path).suffix.lower()
        rank = _KINDS.index(kind) if kind in _KINDS else len(_KINDS)
        if rank < len(_KINDS) and (cell not in found or (rank, path) < found[cell]):
            found[cell] = (rank, path)
    return {cell: path for cell, (_, path) in found.items()}


def _files(folder: str) -> Iterator[tuple[Cell, str]]:
    """Files whose names tell a place, in a folder and in DTED's folders of degrees below it."""
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
