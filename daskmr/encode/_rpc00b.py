"""RPCs as the extension RPC00B of NITF writes them: few digits, whole pixels, whole metres.

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
"""Most that the digits of the extension may move a pixel."""
_LEAST_EXPONENT = -9
_LEAST_COEFFICIENT = 0.5e-15
_MOST_COEFFICIENT = 9.9999995e9
_WIDTHS = {
    "line_off": (6, 0), "samp_off": (5, 0), "lat_off": (8, 4), "long_off": (9, 4),
    "height_off": (5, 0), "line_scale": (6, 0), "samp_scale": (5, 0), "lat_scale": (8, 4),
    "long_scale": (9, 4), "height_scale": (5, 0),
}  # fmt: skip
"""Characters of each field, and digits behind the point."""
_GROUND = ("long", "lat", "height")
_POLYNOMIALS = ("line_num", "line_den", "samp_num", "samp_den")


@lru_cache(maxsize=64)
def rpc00b(rpcs: Rpcs) -> tuple[str, float, float] | None:
    """The fields of RPC00B, and how far its pixels lie from those of the RPCs.

    Offsets and scales are rounded to what the fields hold. The polynomials are written anew for
    them, which is exact: a cubic stays a cubic when its variables are moved and scaled.

    Returns
    -------
    1041 characters, and what to add to x and y of the RPCs to get x and y of the extension, at
    least 0 and less than 1 for an image within its limits. None when its digits cannot tell the
    same to a twentieth of a pixel.
    """
    held = _held(rpcs)
    if held is None:
        return None
    shift = (max(0.0, getattr(held, n) - getattr(rpcs, n)) for n in ("samp_off", "line_off"))
    text = "1" + "0" * 4 + ".00" + "0" * 4 + ".00" + "".join(_field(held, name) for name in _WIDTHS)
    for name in _POLYNOMIALS:
        text += "".join(map(_coefficient, getattr(held, name)))
    return text, *shift


def _held(rpcs: Rpcs) -> Rpcs | None:
    """RPCs whose numbers all fit the fields, of the same image moved by less than a pixel."""
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
    terms: dict[str, Any] = _rewritten(rpcs, replace(rpcs, **scalars))
    moved = replace(rpcs, **scalars, **terms)
    written: dict[str, Any] = {
        name: tuple(map(_rounded, getattr(moved, name))) for name in _POLYNOMIALS
    }
    if not all(map(math.isfinite, sum(written.values(), ()))):
        return None
    held = replace(moved, **written)
    return held if _apart_px(rpcs, held) <= _OFF_PX else None


def _rewritten(old: Rpcs, new: Rpcs) -> dict[str, tuple[float, ...]]:
    """The polynomials of RPCs for other offsets and scales."""
    terms = {name: getattr(old, name) for name in _POLYNOMIALS}
    if all(getattr(old, n) == getattr(new, n) for n in _WIDTHS if not n.endswith("p_off")):
        return terms
    place = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 3))
    ground = place * _of(new, "scale") + _of(new, "off")
    before = _monomials((ground - _of(old, "off")) / _of(old, "scale"))
    after = _monomials(place)
    solved = np.linalg.lstsq(after, before @ np.array(list(terms.values())).T, rcond=None)[0].T
    solved[0] *= old.line_scale / new.line_scale
    solved[2] *= old.samp_scale / new.samp_scale
    return {name: tuple(row.tolist()) for name, row in zip(terms, solved, strict=True)}


def _apart_px(one: Rpcs, other: Rpcs) -> float:
    """How far two RPCs are apart, but for their offsets in the image."""
    ground = np.random.default_rng(1).uniform(-1.0, 1.0, (500, 3)) * _of(one, "scale")
    pixels = [_image(each, ground + _of(one, "off")) for each in (one, other)]
    return float(np.abs(pixels[0] - pixels[1]).max())


def _image(rpcs: Rpcs, ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """x, y less their offsets, of longitude, latitude, height; shape (N, 2)."""
    terms = _monomials((ground - _of(rpcs, "off")) / _of(rpcs, "scale"))
    line_num, line_den, samp_num, samp_den = (
        terms @ np.array(getattr(rpcs, name)) for name in _POLYNOMIALS
    )
    return np.stack(
        [samp_num / samp_den * rpcs.samp_scale, line_num / line_den * rpcs.line_scale], axis=1
    )


def _of(rpcs: Rpcs, kind: str) -> NDArray[np.float64]:
    return np.array([getattr(rpcs, f"{axis}_{kind}") for axis in _GROUND])


def _monomials(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 20 terms at normalised longitude, latitude, height; shape (N, 20)."""
    x, y, z = place.T
    one = np.ones_like(x)
    quadratic = [one, x, y, z, x * y, x * z, y * z, x * x, y * y, z * z]
    cubic = [x * y * z, x**3, x * y * y, x * z * z, x * x * y, y**3, y * z * z]
    return np.stack([*quadratic, *cubic, x * x * z, y * y * z, z**3], axis=1)


def _field(rpcs: Rpcs, name: str) -> str:
    width, digits = _WIDTHS[name]
    sign = "+" if name.startswith(_GROUND) else ""
    return f"{getattr(rpcs, name):{sign}0{width}.{digits}f}"


def _rounded(value: float) -> float:
    """A coefficient as its field holds it; nan when it does not."""
    return float(_coefficient(value)) if abs(value) < _MOST_COEFFICIENT else math.nan


def _coefficient(value: float) -> str:
    """``+d.ddddddE+d``: 12 characters."""
    if abs(value) < _LEAST_COEFFICIENT:
        return "+0.000000E+0"
    mantissa, _, exponent = f"{value:+.6E}".partition("E")
    if int(exponent) < _LEAST_EXPONENT:
        return f"{value / 10.0**_LEAST_EXPONENT:+.6f}E{_LEAST_EXPONENT}"
    return f"{mantissa}E{int(exponent):+d}"
