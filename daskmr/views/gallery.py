"""A gallery of the features with the highest and the lowest scores."""

from html import escape

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from daskmr.core.features import IMAGE_BOX
from daskmr.core.grid import Window
from daskmr.image import Image
from daskmr.views.overview import data_uri, read_window, to_rgb
from daskmr.views.page import Page, page

CHIP_PX = 132
"""Minimal width and height of a chip in pixels."""
_MAX_CHIP_PX = 1024


def gallery_page(features: gpd.GeoDataFrame, image: Image, n: int = 12) -> Page:
    """Return a page of the *n* features with the highest scores and the *n* with the lowest."""
    return page("daskmr gallery", f"<main>{gallery_block(features, image, n)}</main>")


def gallery_block(features: gpd.GeoDataFrame, image: Image, n: int) -> str:
    """Return the gallery as HTML; reads only the pixels of the chips."""
    scored = features[np.isfinite(features["score"].to_numpy(dtype=np.float64))]
    ranked = scored.sort_values("score", ascending=False, kind="stable")
    best, worst = ranked.iloc[:n], ranked.iloc[max(n, len(ranked) - n) :].iloc[::-1]
    parts = [f"<h2>Highest scores</h2>{_figures(best, image)}"]
    if len(worst):
        parts.append(f"<h2>Lowest scores</h2>{_figures(worst, image)}")
    return "".join(parts) if len(ranked) else "<p>No feature has a score.</p>"


def _figures(features: gpd.GeoDataFrame, image: Image) -> str:
    boxes = features[IMAGE_BOX].to_numpy(dtype=np.float64)
    figures = "".join(
        _figure(box, str(label), float(score), image=image)
        for box, label, score in zip(boxes, features["label"], features["score"], strict=True)
    )
    return f'<div class="gallery">{figures}</div>'


def _figure(box: NDArray[np.float64], label: str, score: float, *, image: Image) -> str:
    window = chip(box, width=image.info.width, height=image.info.height)
    step = max(1, max(window.width, window.height) // (2 * CHIP_PX))
    picture = to_rgb(read_window(image, window)[:, ::step, ::step])
    left, top = (box[0] - window.col) / window.width, (box[1] - window.row) / window.height
    wide, tall = (box[2] - box[0]) / window.width, (box[3] - box[1]) / window.height
    style = ";".join(
        f"{side}:{max(0.0, min(value, 1.0)):.2%}"
        for side, value in {"left": left, "top": top, "width": wide, "height": tall}.items()
    )
    return (
        f'<figure><span><img src="{data_uri(picture)}" alt=""><b style="{style}"></b></span>'
        f"<figcaption>{escape(label) or '(no class)'} {score:.3f}</figcaption></figure>"
    )


def chip(box: NDArray[np.float64], *, width: int, height: int) -> Window:
    """Return a square window around a box, within the image; of a huge box its centre.

    Parameters
    ----------
    box
        x_min, y_min, x_max, y_max in full-image pixels.
    width, height
        Size of the image in pixels.

    Examples
    --------
    >>> chip(np.array([10.0, 500.0, 30.0, 520.0]), width=1000, height=1000)
    Window(row=444, col=0, height=132, width=132)
    """
    side = int(np.clip(1.6 * max(box[2] - box[0], box[3] - box[1]), CHIP_PX, _MAX_CHIP_PX))
    wide, tall = min(side, width), min(side, height)
    col = int(np.clip(round((box[0] + box[2] - wide) / 2), 0, width - wide))
    row = int(np.clip(round((box[1] + box[3] - tall) / 2), 0, height - tall))
    return Window(row=row, col=col, height=tall, width=wide)
