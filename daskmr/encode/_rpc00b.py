"""Write RPCs as the NITF extension RPC00B, which has few digits, whole pixels and whole metres.

Layout: STDI-0002, volume 1, appendix E.
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.imagery import Rpcs

_OFF_PX = 0.05
"""Largest shift of a pixel by the rounding of the extension."""
_LEAST_EXPONENT = -9
_LEAST_COEFFICIENT = 0.5e-15
_MOST_COEFFICIENT = 9.9999995e9
_WIDTHS = {
    "line_off": (6, 0), "samp_off": (5, 0), "lat_off": (8, 4), "long_off": (9, 4),
    "height_off": (5, 0), "line_scale": (6, 0), "samp_scale": (5, 0), "lat_scale": (8, 4),
    "long_scale": (9, 4), "height_scale": (5, 0),
}  # fmt: skip
"""Characters of each field, and its decimal places."""
_GROUND = ("long", "lat", "height")
_POLYNOMIALS = ("line_num", "line_den", "samp_num", "samp_den")


@lru_cache(maxsize=64)
def rpc00b(rpcs: Rpcs) -> tuple[str, float, float] | None:
    """Return the text of RPC00B, and the shift of its pixels from those of the RPCs.

    Offsets and scales are rounded to the digits of the fields. The polynomials are refitted to the
    rounded ones, which is exact: a cubic stays cubic when its variables are shifted and scaled.

    Returns
    -------
    1041 characters, and the shift in x and y from pixels of the RPCs to those of the extension, at
    least 0 and less than 1 for an image within its limits. None when the rounding would move pixels
    by more than 0.05.
    """
    rounded = _representable(rpcs)
    if rounded is None:
        return None
    shift = (max(0.0, getattr(rounded, n) - getattr(rpcs, n)) for n in ("samp_off", "line_off"))
    text = (
        "1" + "0" * 4 + ".00" + "0" * 4 + ".00" + "".join(_field(rounded, name) for name in _WIDTHS)
    )
    for name in _POLYNOMIALS:
        text += "".join(map(_coefficient, getattr(rounded, name)))
    return text, *shift


def _representable(rpcs: Rpcs) -> Rpcs | None:
    """Return RPCs whose numbers fit the fields, shifted by less than a pixel, or None."""
    scalars: dict[str, Any] = {}
    for name, (width, digits) in _WIDTHS.items():
        value = getattr(rpcs, name)
        up = name in {"line_off", "samp_off"} or name.endswith("scale")
        scalars[name] = (math.ceil if up else round)(round(value * 10**digits, 6)) / 10**digits
        signed = name.startswith(_GROUND)
        if abs(scalars[name]) >= 10 ** (width - signed - digits - bool(digits)):
            return None
        if scalars[name] < 0 and not signed:
            return None
    terms: dict[str, Any] = _refit_polynomials(rpcs, replace(rpcs, **scalars))
    moved = replace(rpcs, **scalars, **terms)
    written: dict[str, Any] = {
        name: tuple(map(_round_coefficient, getattr(moved, name))) for name in _POLYNOMIALS
    }
    if not all(map(math.isfinite, sum(written.values(), ()))):
        return None
    rounded = replace(moved, **written)
    return rounded if _apart_px(rpcs, rounded) <= _OFF_PX else None


def _refit_polynomials(old: Rpcs, new: Rpcs) -> dict[str, tuple[float, ...]]:
    """Return the polynomials of RPCs refitted to other offsets and scales."""
    terms = {name: getattr(old, name) for name in _POLYNOMIALS}
    if all(getattr(old, n) == getattr(new, n) for n in _WIDTHS if not n.endswith("p_off")):
        return terms
    place = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 3))
    ground = place * _ground_vector(new, "scale") + _ground_vector(new, "off")
    before = _monomials((ground - _ground_vector(old, "off")) / _ground_vector(old, "scale"))
    after = _monomials(place)
    solved = np.linalg.lstsq(after, before @ np.array(list(terms.values())).T, rcond=None)[0].T
    solved[0] *= old.line_scale / new.line_scale
    solved[2] *= old.samp_scale / new.samp_scale
    return {name: tuple(row.tolist()) for name, row in zip(terms, solved, strict=True)}


def _apart_px(one: Rpcs, other: Rpcs) -> float:
    """Return the largest distance of the pixels of two RPCs without their offsets in the image."""
    ground = np.random.default_rng(1).uniform(-1.0, 1.0, (500, 3)) * _ground_vector(one, "scale")
    pixels = [_image(each, ground + _ground_vector(one, "off")) for each in (one, other)]
    return float(np.abs(pixels[0] - pixels[1]).max())


def _image(rpcs: Rpcs, ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, y without their offsets at longitude, latitude, height; shape (N, 2)."""
    terms = _monomials((ground - _ground_vector(rpcs, "off")) / _ground_vector(rpcs, "scale"))
    line_num, line_den, samp_num, samp_den = (
        terms @ np.array(getattr(rpcs, name)) for name in _POLYNOMIALS
    )
    return np.stack(
        [samp_num / samp_den * rpcs.samp_scale, line_num / line_den * rpcs.line_scale], axis=1
    )


def _ground_vector(rpcs: Rpcs, kind: str) -> NDArray[np.float64]:
    return np.array([getattr(rpcs, f"{axis}_{kind}") for axis in _GROUND])


def _monomials(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 20 terms of the cubic at normalised longitude, latitude, height; shape (N, 20)."""
    x, y, z = place.T
    one = np.ones_like(x)
    quadratic = [one, x, y, z, x * y, x * z, y * z, x * x, y * y, z * z]
    cubic = [x * y * z, x**3, x * y * y, x * z * z, x * x * y, y**3, y * z * z]
    return np.stack([*quadratic, *cubic, x * x * z, y * y * z, z**3], axis=1)


def _field(rpcs: Rpcs, name: str) -> str:
    width, digits = _WIDTHS[name]
    sign = "+" if name.startswith(_GROUND) else ""
    return f"{getattr(rpcs, name):{sign}0{width}.{digits}f}"


def _round_coefficient(value: float) -> float:
    """Return a coefficient rounded to the digits of its field; NaN when it is too large."""
    return float(_coefficient(value)) if abs(value) < _MOST_COEFFICIENT else math.nan


def _coefficient(value: float) -> str:
    """Return a coefficient as ``+d.ddddddE+d``, 12 characters."""
    if abs(value) < _LEAST_COEFFICIENT:
        return "+0.000000E+0"
    mantissa, _, exponent = f"{value:+.6E}".partition("E")
    if int(exponent) < _LEAST_EXPONENT:
        return f"{value / 10.0**_LEAST_EXPONENT:+.6f}E{_LEAST_EXPONENT}"
    return f"{mantissa}E{int(exponent):+d}"
