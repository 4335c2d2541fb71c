"""What is done to pixels before a model sees them: bands, magnitude, size, contrast, type (pure).

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

Ranges = tuple[tuple[float, float], ...]
"""Lowest and highest value of each band that is told apart from what lies beyond."""
_DARK_PERCENT, _BRIGHT_PERCENT = 2.0, 97.0
_BELOW, _ABOVE = 0.2, 0.4
_LEAST_MAGNITUDE = 1e-10
_WHOLE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


@plugin
class Recipe:
    """What is done to the pixels of an image; nothing by default."""

    bands: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_split)] = ()
    """Numbers of bands in the order in which the model gets them, from 1; empty for all."""
    complex_as: Literal["amplitude", "decibel", "quarter_power"] | None = None
    """What becomes of complex pixels: magnitude, 20 log10 of it, or its square root (the fourth
    root of the power); float32."""
    gsd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Metres of a pixel on the ground, in the middle of the image; None for those it has."""
    stretch: Literal["none", "minmax", "percentile", "dra"] = "none"
    """How values are spread over those that the type has: from least to most, between two
    percentiles, or by dynamic range adjustment. The range is that of a sample of at most 64 windows
    of 256 x 256 pixels from all over the image, each band by itself, the same for every tile."""
    percent: Annotated[float, Field(gt=0, lt=50)] = 2.0
    """Share of pixels, in percent, that ``percentile`` makes black, and white."""
    dtype: Literal["uint8", "int16", "uint16", "float32"] | None = None
    """Type of the pixels. Stretched ones are uint8 when nothing is said, 0 to 1 in float32."""
    fill: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """What the model sees where there is no data; 0 when values are changed and nothing is said."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is done."""
        return self == replace(Recipe(), percent=self.percent)

    @property
    def changes_values(self) -> bool:
        """Whether a nodata value would not be one any more."""
        return self.stretch != "none" or self.fill is not None or self.complex_as is not None

    def type_of(self, dtype: str) -> str:
        """What pixels of a type become."""
        if self.dtype is not None:
            return self.dtype
        if self.stretch != "none":
            return "uint8"
        return "float32" if self.complex_as is not None else dtype


def recipe(options: Mapping[str, Any]) -> Recipe:
    """The recipe of options.

    Raises
    ------
    RequestError
        Names every option that is unknown or has a wrong value.

    Examples
    --------
    >>> recipe({"bands": "3,2,1"}).bands
    (3, 2, 1)
    """
    try:
        return TypeAdapter(Recipe).validate_python(dict(options))
    except ValidationError as error:
        raise RequestError(
            *(f"prepare.{'.'.join(map(str, e['loc']))}: {e['input']!r}: {e['msg']}"
              for e in error.errors())
        ) from None  # fmt: skip


def check(made: Recipe, info: ImageInfo) -> None:
    """Refuse a recipe that does not fit an image.

    Raises
    ------
    RequestError
        One sentence for each reason.
    """
    problems = [
        f"prepare.bands: {info.url} has no band {band}, only {info.bands}"
        for band in made.bands
        if band > info.bands
    ]
    is_complex = np.dtype(info.dtype).kind == "c"
    if made.complex_as is not None and not is_complex:
        problems.append(f"prepare.complex_as: the pixels of {info.url} are {info.dtype}")
    if made.complex_as is None and is_complex and not set_apart(made):
        problems.append(
            f"prepare: the pixels of {info.url} are {info.dtype}; say complex_as as well"
        )
    if problems:
        raise RequestError(*problems)


def set_apart(made: Recipe) -> bool:
    """Whether a recipe leaves complex pixels what they are."""
    return made.stretch == "none" and made.dtype is None and made.gsd is None


def prepared_info(made: Recipe, info: ImageInfo, scale: tuple[float, float]) -> ImageInfo:
    """The header of an image once it is prepared.

    Parameters
    ----------
    made
        What is done.
    info
        Of the image.
    scale
        Columns and rows of the image that make one of the prepared one.
    """
    colors = info.colorinterp
    bands = made.bands or tuple(range(1, info.bands + 1))
    dtype = made.type_of(info.dtype)
    keeps = not made.changes_values and dtype == info.dtype
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
    """The header of an image with larger or smaller pixels; what names pixels is scaled too."""
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
        width=_shrunk(info.width, x),
        height=_shrunk(info.height, y),
        block_width=_shrunk(info.block_width, x),
        block_height=_shrunk(info.block_height, y),
        transform=transform,
        chip=chip,
        gcps=_scaled(info.gcps, scale),
        corners=_scaled(info.corners, scale),
        sar="",
        document=b"",
    )


def _shrunk(size: int, by: float) -> int:
    """Pixels that cover others; one that sticks out by rounding alone is left out."""
    return max(1, int(np.ceil(size / by - 1e-9)))


def _scaled(points: ControlPoints | None, scale: tuple[float, float]) -> ControlPoints | None:
    if points is None:
        return None
    x, y = scale
    return replace(points, pixels=tuple((px / x, py / y) for px, py in points.pixels))


def real(pixels: Pixels, how: str | None) -> Pixels:
    """Complex pixels as real ones, float32; real ones as they are."""
    if how is None or pixels.dtype.kind != "c":
        return pixels
    size = np.abs(pixels).astype(np.float32)
    if how == "amplitude":
        return size
    if how == "quarter_power":
        found: Pixels = np.sqrt(size)
        return found
    return (20.0 * np.log10(np.maximum(size, _LEAST_MAGNITUDE))).astype(np.float32)


def ranges(made: Recipe, samples: Sequence[NDArray[Any]]) -> Ranges:
    """What is spread over all values of the type, by a sample of the valid pixels of each band.

    ``dra`` is the dynamic range adjustment of the OversightML toolkit: from a fifth of the distance
    between the 2nd and the 97th percentile below the one to two fifths above the other, but not
    beyond what there is.

    Examples
    --------
    >>> counts = [0] + [1] * 98 + [0] + [200] * 300 + [0] * 622 + [1, 0]
    >>> ranges(Recipe(stretch="dra"), [np.repeat(np.arange(1024), counts)])
    ((47.8, 505.4),)
    """
    return tuple(_range(made, sample) for sample in samples)


def _range(made: Recipe, sample: NDArray[Any]) -> tuple[float, float]:
    if not sample.size:
        return 0.0, 0.0
    low, high = float(sample.min()), float(sample.max())
    if made.stretch == "percentile":
        tails = np.percentile(sample, [made.percent, 100.0 - made.percent])
        return float(tails[0]), float(tails[1])
    if made.stretch == "dra":
        dark, bright = np.percentile(sample, [_DARK_PERCENT, _BRIGHT_PERCENT])
        bright += sample.dtype.kind in "iu"  # the end of a bin of a histogram of whole numbers
        reach = float(bright - dark)
        return max(low, float(dark) - _BELOW * reach), min(high, float(bright) + _ABOVE * reach)
    return low, high


def stretched(pixels: NDArray[Any], found: Ranges, dtype: str) -> NDArray[np.float32]:
    """Pixels (band, y, x) spread over the values of a type, 0 to 1 for float32.

    Examples
    --------
    >>> tile = np.array([[[10, 20, 30], [40, 50, 60]]])
    >>> stretched(tile, ((10, 60),), "uint8").tolist()
    [[[0.0, 51.0, 102.0], [153.0, 204.0, 255.0]]]
    """
    top = 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)
    out = np.empty(pixels.shape, np.float32)
    for band, (low, high) in enumerate(found):
        if high > low:
            share = (pixels[band].astype(np.float64) - low) / (high - low)
            out[band] = top * np.clip(share, 0.0, 1.0)
        else:  # all of the sample is alike: neither dark nor bright
            out[band] = top / 2
    return out


def cast(pixels: NDArray[Any], dtype: str) -> Pixels:
    """Pixels of another type; what it cannot hold becomes the next that it can, NaN becomes 0."""
    wanted = np.dtype(dtype)
    if pixels.dtype == wanted or wanted.kind not in "iu":
        return pixels.astype(wanted, copy=False)
    limits = np.iinfo(wanted)
    whole = np.rint(np.nan_to_num(pixels)) if pixels.dtype.kind == "f" else pixels
    found: Pixels = np.clip(whole, limits.min, limits.max).astype(wanted)
    return found
