"""A matplotlib figure of an image and its features."""

from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from daskmr.errors import RequestError
from daskmr.image import Image
from daskmr.views.overview import overview


def plot(pixels: gpd.GeoDataFrame, image: Image | None, ax: Any = None) -> Any:
    """Plot outlines over the image, in full-image pixels, with a colour for each class.

    Parameters
    ----------
    pixels
        The features with geometry in full-image pixels, and their labels.
    image
        The image; None draws outlines alone.
    ax
        Axes to plot on; None creates them.

    Returns
    -------
    matplotlib.axes.Axes.

    Raises
    ------
    RequestError
        If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
        from matplotlib.collections import LineCollection
    except ImportError as error:
        msg = f"plot: install daskmr[plot] ({error})"
        raise RequestError(msg) from error
    if ax is None:
        _, ax = pyplot.subplots(figsize=(8, 8))
    picture = overview(image, None) if image is not None else None
    if image is not None and picture is not None:
        ax.imshow(picture.pixels, extent=(0, image.info.width, image.info.height, 0))
    flat = pixels.geometry.to_numpy()
    labels = pixels["label"].astype(str).to_numpy()
    for i, label in enumerate(np.unique(labels)):
        outlines = [shapely.get_coordinates(shape) for shape in flat[labels == label]]
        lines = LineCollection(outlines, colors=f"C{(i + 1) % 10}", label=label or "(no class)")
        ax.add_collection(lines)
    if len(pixels):
        ax.legend(loc="upper right")
    if picture is None:
        ax.autoscale_view()
        ax.invert_yaxis()
    ax.set_aspect("equal")
    return ax
