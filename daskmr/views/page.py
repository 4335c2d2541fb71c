"""Self-contained HTML pages, and the map of features; nothing is loaded from elsewhere.

Our own: pages of folium, and of geopandas' explore, load scripts and tiles from other hosts.
"""

import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from daskmr.views.overview import Overview, mercator

MAX_FEATURES = 50_000
"""Maximal number of features on a map; those with the highest scores are shown."""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page that notebooks display and that can be saved."""

    html: str
    """The complete document."""
    height: int = 560
    """Height in a notebook, pixels."""

    def save(self, path: str | Path) -> Path:
        """Write the page to a file and return its path."""
        file = Path(path)
        file.write_text(self.html, encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" '
            f'style="width:100%;height:{self.height}px;border:1px solid #8884"></iframe>'
        )


def page(title: str, body: str, *, height: int = 560) -> Page:
    """Return a page around *body*, HTML that is escaped already.

    Parameters
    ----------
    title
        Title, not escaped.
    body
        HTML of the body.
    height
        Height in a notebook, pixels.
    """
    style = _static("page.css")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style>"
    )
    html = f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>'
    return Page(html, height)


def map_page(features: gpd.GeoDataFrame, picture: Overview | None, *, title: str) -> Page:
    """Return a page with a map of features over the picture of their image."""
    body = f"<main class=full>{map_block(features, picture)}</main>"
    return page(title, body)


def map_block(
    features: gpd.GeoDataFrame, picture: Overview | None, *, tiles: gpd.GeoDataFrame | None = None
) -> str:
    """Return the HTML of a map.

    Parameters
    ----------
    features
        World table of `daskmr.geolocate`.
    picture
        Picture of the image, in the same plane; None for none.
    tiles
        Rectangles with a column ``status``, drawn below the features.
    """
    content = {
        "picture": None if picture is None else {"uri": picture.uri, "bounds": picture.bounds},
        "tiles": [] if tiles is None else _tiles(tiles),
        **_feature_layer(features),
    }
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        '<div class="map"><canvas tabindex="0" aria-label="map"></canvas>'
        '<div class="box" hidden></div>'
        '<form class="legend"></form><output class="place"></output>'
        f'<script type="application/json">{data}</script></div>'
        f"<script>{_static('map.js')}</script>"
    )


def _feature_layer(features: gpd.GeoDataFrame) -> dict[str, Any]:
    """Return outlines in the plane of the map, with label, score and id of each."""
    is_placed = features.crs is not None
    shapes = features.geometry
    score = np.nan_to_num(features["score"].to_numpy(dtype=np.float64))
    is_drawn = ~shapely.is_missing(shapes.to_numpy()) & ~shapely.is_empty(shapes.to_numpy())
    best = np.flatnonzero(is_drawn)[np.argsort(-score[is_drawn], kind="stable")][:MAX_FEATURES]
    labels, index = np.unique(
        features["label"].to_numpy(dtype=object)[best].astype(str), return_inverse=True
    )
    rings = [_ring(shape, is_placed=is_placed) for shape in shapes.to_numpy()[best]]
    return {
        "n": len(features),
        "placed": is_placed,
        "labels": labels.tolist(),
        "rings": rings,
        "label": index.tolist(),
        "score": score[best].round(4).tolist(),
        "id": features["feature_id"].to_numpy(dtype=object)[best].astype(str).tolist(),
    }


def _ring(shape: Any, *, is_placed: bool) -> list[float]:
    """Return the outline as x, y, x, y ...; of the convex hull if *shape* is no simple geometry."""
    if shape.geom_type not in {"Polygon", "Point", "LineString"}:
        shape = shape.convex_hull
    outline = shape.exterior if shape.geom_type == "Polygon" else shape
    return _plane(shapely.get_coordinates(outline), is_placed=is_placed)


def _tiles(tiles: gpd.GeoDataFrame) -> list[dict[str, Any]]:
    is_placed = tiles.crs is not None
    return [
        {"ring": _ring(shape, is_placed=is_placed), "status": str(status), "reason": str(reason)}
        for shape, status, reason in zip(
            tiles.geometry, tiles["status"], tiles["reason"], strict=True
        )
        if shape is not None
    ]


def _plane(points: Any, *, is_placed: bool) -> list[float]:
    flat = mercator(points) if is_placed else points * [1.0, -1.0]
    values: list[float] = flat.round(2).ravel().tolist()
    return values


def _static(name: str) -> str:
    return (files("daskmr.views") / "static" / name).read_text(encoding="utf-8")
