"""Preparation of pixels for a model: bands, magnitude, pixel size, contrast, type (pure).

In this order: bands are picked, complex pixels become real, the image is brought to another pixel
size, contrast is stretched, and pixels without data get their value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from daskmr.core.imagery import ControlPoints, ImageInfo, Pixels
from daskmr.errors import RequestError
from daskmr.registry import plugin
from daskmr.validation import dotted, sentences

Ranges = tuple[tuple[float, float], ...]
"""Lowest and highest value of each band; values beyond are clipped."""
_DARK_PERCENT, _BRIGHT_PERCENT = 2.0, 97.0
_BELOW, _ABOVE = 0.2, 0.4
_LEAST_MAGNITUDE = 1e-10
_WHOLE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


@plugin
class Recipe:
    """Steps of the preparation of pixels; none by default."""

    bands: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_split)] = ()
    """Numbers of bands in the order in which the model gets them, from 1; empty for all."""
    complex_as: Literal["amplitude", "decibel", "quarter_power"] | None = None
    """Real value of complex pixels: magnitude, 20 log10 of it, or its square root (the fourth
    root of the power); float32."""
    gsd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Metres of a pixel on the ground, in the middle of the image; None for those it has."""
    stretch: Literal["none", "minmax", "percentile", "dra"] = "none"
    """Contrast stretch to the range of the type: from the least to the greatest value, between two
    percentiles, or by dynamic range adjustment. The range is that of a sample of at most 64 windows
    of 256 x 256 pixels from all over the image, each band by itself, the same for every tile."""
    percent: Annotated[float, Field(gt=0, lt=50)] = 2.0
    """Percent of pixels that ``percentile`` makes black, and as many white."""
    dtype: Literal["uint8", "int16", "uint16", "float32"] | None = None
    """Type of the pixels; by default uint8 for stretched ones, which are 0 to 1 in float32."""
    fill: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Value of pixels without data; 0 by default where values are changed."""

    @property
    def is_empty(self) -> bool:
        """True for a recipe without steps."""
        return self == replace(Recipe(), percent=self.percent)

    @property
    def changes_values(self) -> bool:
        """True when the nodata value of the image does not apply to prepared pixels."""
        return self.stretch != "none" or self.fill is not None or self.complex_as is not None

    def type_of(self, dtype: str) -> str:
        """Return the dtype of prepared pixels of a dtype."""
        if self.dtype is not None:
            return self.dtype
        if self.stretch != "none":
            return "uint8"
        return "float32" if self.complex_as is not None else dtype


def parse_recipe(options: Mapping[str, Any]) -> Recipe:
    """Parse the options of a recipe.

    Raises
    ------
    RequestError
        Names every option that is unknown or has a wrong value.

    Examples
    --------
    >>> parse_recipe({"bands": "3,2,1"}).bands
    (3, 2, 1)
    """
    try:
        return TypeAdapter(Recipe).validate_python(dict(options))
    except ValidationError as error:
        raise RequestError(*sentences(error, lambda place: f"prepare.{dotted(place)}")) from None


def check(recipe: Recipe, info: ImageInfo) -> None:
    """Refuse a recipe that does not fit an image.

    Raises
    ------
    RequestError
        One sentence for each reason.
    """
    problems = [
        f"prepare.bands: {info.url} has no band {band}, only {info.bands}"
        for band in recipe.bands
        if band > info.bands
    ]
    is_complex = np.dtype(info.dtype).kind == "c"
    if recipe.complex_as is not None and not is_complex:
        problems.append(f"prepare.complex_as: the pixels of {info.url} are {info.dtype}")
    if recipe.complex_as is None and is_complex and not keeps_complex(recipe):
        problems.append(
            f"prepare: the pixels of {info.url} are {info.dtype}; say complex_as as well"
        )
    if problems:
        raise RequestError(*problems)


def keeps_complex(recipe: Recipe) -> bool:
    """Return whether a recipe leaves complex pixels complex."""
    return recipe.stretch == "none" and recipe.dtype is None and recipe.gsd is None


def prepared_info(recipe: Recipe, info: ImageInfo, scale: tuple[float, float]) -> ImageInfo:
    """Return the header of a prepared image.

    Parameters
    ----------
    recipe
        Steps of the preparation.
    info
        Header of the image.
    scale
        Columns and rows of the image for one of the prepared image.
    """
    colors = info.colorinterp
    bands = recipe.bands or tuple(range(1, info.bands + 1))
    dtype = recipe.type_of(info.dtype)
    keeps = not recipe.changes_values and dtype == info.dtype
    return replace(
        scaled_info(info, scale),
        bands=len(bands),
        dtype=dtype,
        colorinterp=tuple(colors[band - 1] for band in bands) if colors else (),
        nodata=info.nodata if keeps else None,
        has_mask=info.has_mask or (info.nodata is not None and not keeps),
        document=b"",
    )


def scaled_info(info: ImageInfo, scale: tuple[float, float]) -> ImageInfo:
    """Return the header of an image with larger or smaller pixels, with all pixel coordinates."""
    x, y = scale
    if scale == (1.0, 1.0):
        return info
    a, b, c, d, e, f = info.chip or _WHOLE
    chip = (a * x, b * y, c, d * x, e * y, f) if info.rpcs or info.rsm else None
    transform = info.transform
    if transform is not None:
        a, b, c, d, e, f = transform
        transform = (a * x, b * y, c, d * x, e * y, f)
    return replace(
        info,
        width=_shrink(info.width, x),
        height=_shrink(info.height, y),
        block_width=_shrink(info.block_width, x),
        block_height=_shrink(info.block_height, y),
        transform=transform,
        chip=chip,
        gcps=_scale_points(info.gcps, scale),
        corners=_scale_points(info.corners, scale),
        sar="",
        document=b"",
    )


def _shrink(size: int, by: float) -> int:
    """Return the number of larger pixels that cover a size, rounded up but for rounding errors."""
    return max(1, int(np.ceil(size / by - 1e-9)))


def _scale_points(points: ControlPoints | None, scale: tuple[float, float]) -> ControlPoints | None:
    if points is None:
        return None
    x, y = scale
    return replace(points, pixels=tuple((px / x, py / y) for px, py in points.pixels))


def real(pixels: Pixels, method: str | None) -> Pixels:
    """Return complex pixels as real ones, float32; real ones unchanged."""
    if method is None or pixels.dtype.kind != "c":
        return pixels
    size = np.abs(pixels).astype(np.float32)
    if method == "amplitude":
        return size
    if method == "quarter_power":
        root: Pixels = np.sqrt(size)
        return root
    return (20.0 * np.log10(np.maximum(size, _LEAST_MAGNITUDE))).astype(np.float32)


def ranges(recipe: Recipe, samples: Sequence[NDArray[Any]]) -> Ranges:
    """Return the range to stretch of each band, from a sample of its valid pixels.

    ``dra`` is the dynamic range adjustment of the OversightML toolkit: from a fifth of the distance
    between the 2nd and the 97th percentile below the one to two fifths above the other, within the
    range of the sample.

    Examples
    --------
    >>> counts = [0] + [1] * 98 + [0] + [200] * 300 + [0] * 622 + [1, 0]
    >>> ranges(Recipe(stretch="dra"), [np.repeat(np.arange(1024), counts)])
    ((47.8, 505.4),)
    """
    return tuple(_range(recipe, sample) for sample in samples)


def _range(recipe: Recipe, sample: NDArray[Any]) -> tuple[float, float]:
    if not sample.size:
        return 0.0, 0.0
    low, high = float(sample.min()), float(sample.max())
    if recipe.stretch == "percentile":
        tails = np.percentile(sample, [recipe.percent, 100.0 - recipe.percent])
        return float(tails[0]), float(tails[1])
    if recipe.stretch == "dra":
        dark, bright = np.percentile(sample, [_DARK_PERCENT, _BRIGHT_PERCENT])
        bright += sample.dtype.kind in "iu"  # the end of a bin of a histogram of whole numbers
        reach = float(bright - dark)
        return max(low, float(dark) - _BELOW * reach), min(high, float(bright) + _ABOVE * reach)
    return low, high


def stretch(pixels: NDArray[Any], limits: Ranges, dtype: str) -> NDArray[np.float32]:
    """Return pixels (band, y, x) stretched from ranges to that of a type, 0 to 1 for float32.

    Examples
    --------
    >>> tile = np.array([[[10, 20, 30], [40, 50, 60]]])
    >>> stretch(tile, ((10, 60),), "uint8").tolist()
    [[[0.0, 51.0, 102.0], [153.0, 204.0, 255.0]]]
    """
    top = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    out = np.empty(pixels.shape, np.float32)
    for band, (low, high) in enumerate(limits):
        if high > low:
            share = (pixels[band].astype(np.float64) - low) / (high - low)
            out[band] = top * np.clip(share, 0.0, 1.0)
        else:  # a constant sample: neither dark nor bright
            out[band] = top / 2
    return out


def cast(pixels: NDArray[Any], dtype: str) -> Pixels:
    """Return pixels of another type, rounded and clipped to its range; NaN becomes 0."""
    wanted = np.dtype(dtype)
    if pixels.dtype == wanted or wanted.kind not in "iu":
        return pixels.astype(wanted, copy=False)
    limits = np.iinfo(wanted)
    whole = np.rint(np.nan_to_num(pixels)) if pixels.dtype.kind == "f" else pixels
    least, most = limits.min, limits.max
    if whole.dtype.kind in "iu":  # numpy 2.0 takes no limits that the type cannot hold
        stored = np.iinfo(whole.dtype)
        least, most = max(least, stored.min), min(most, stored.max)
    clipped: Pixels = np.clip(whole, least, most).astype(wanted)
    return clipped
