"""The fields of a replacement sensor model, and the polynomials of its sections.

Layouts and formulas: STDI-0002, volume 1, appendix U (RSMIDA, RSMPIA, RSMPCA). Rows and columns are
counted from the outer corner of the first pixel of the original full image.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.geolocate._ellipsoid import cartesian, dot, geodetic, vertical
from daskmr.geolocate.base import Points
from daskmr.geolocate.radar.metadata_xml import Vector

_NUMBER = 21
_MOST_POWER = 9
GroundCoordinates = tuple[Points, Points, Points]
"""x, y, z in the model's own ground coordinates; shape (N,) each."""


class Fields:
    """Fixed-width fields of an extension, read one after the other.

    Parameters
    ----------
    name
        Name of the extension.
    text
        Its fields.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.place = 0

    def take(self, width: int) -> str:
        """Read the next field, without blanks around it."""
        end = self.place + width
        if end > len(self.text):
            msg = f"{self.name} of {len(self.text)} characters"
            raise ValueError(msg)
        text = self.text[self.place : end].strip()
        self.place = end
        return text

    def number(self, width: int = _NUMBER) -> float:
        """Read the next field, a finite number.

        Raises
        ------
        ValueError
            When it is none.
        """
        text = self.take(width)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            msg = f"{self.name} with {text!r} for a number"
            raise ValueError(msg)
        return value

    def numbers(self, n: int, width: int = _NUMBER) -> tuple[float, ...]:
        """Read the next n fields, all finite numbers."""
        return tuple(self.number(width) for _ in range(n))

    def optional_numbers(self, n: int) -> tuple[float, ...] | None:
        """Read the next n numbers; None when one of them is blank."""
        texts = [self.take(_NUMBER) for _ in range(n)]
        if not all(texts):
            return None
        return Fields(self.name, "".join(f"{text:>{_NUMBER}}" for text in texts)).numbers(n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polynomial:
    """A polynomial of three variables."""

    terms: tuple[float, ...]
    """Powers of x follow each other, then those of y, then those of z."""
    powers: tuple[int, int, int]
    """Highest of x, y, z."""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Read the next polynomial of RSMPCA.

        Raises
        ------
        ValueError
            When its size is not that of its powers.
        """
        powers = tuple(int(fields.number(1)) for _ in range(3))
        n_terms = int(fields.number(3))
        if n_terms != math.prod(power + 1 for power in powers) or max(powers) > _MOST_POWER:
            msg = f"{fields.name} with {n_terms} terms for powers {powers}"
            raise ValueError(msg)
        return cls(terms=fields.numbers(n_terms), powers=(powers[0], powers[1], powers[2]))

    def value(self, place: GroundCoordinates) -> Points:
        """Return values at ground coordinates that are normalised to about -1 to 1."""
        x, y, z = place
        n_x, n_y, n_z = (power + 1 for power in self.powers)
        total = np.zeros_like(x)
        for k in range(n_z - 1, -1, -1):
            level = np.zeros_like(x)
            for j in range(n_y - 1, -1, -1):
                first = (k * n_y + j) * n_x
                row = np.full_like(x, self.terms[first + n_x - 1])
                for term in self.terms[first : first + n_x - 1][::-1]:
                    row = row * x + term
                level = level * y + row
            total = total * z + level
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The polynomials of one rectangle of the image."""

    number: tuple[int, int]
    """Row and column of the section, from 1."""
    offsets: tuple[float, ...]
    """Offsets of row, column, x, y, z."""
    scales: tuple[float, ...]
    polynomials: tuple[Polynomial, Polynomial, Polynomial, Polynomial]
    """Row over and under, column over and under."""

    @classmethod
    def read(cls, name: str, text: str) -> Self:
        """Read the fields of RSMPCA.

        Raises
        ------
        ValueError
            When they are invalid.
        """
        fields = Fields(name, text)
        fields.take(120)
        number = int(fields.number(3)), int(fields.number(3))
        fields.numbers(2)  # errors of the fit
        offsets, scales = fields.numbers(5), fields.numbers(5)
        if not all(scales):
            msg = f"{name} with a scale of 0"
            raise ValueError(msg)
        polynomials = [Polynomial.read(fields) for _ in range(4)]
        return cls(
            number=number,
            offsets=offsets,
            scales=scales,
            polynomials=(polynomials[0], polynomials[1], polynomials[2], polynomials[3]),
        )

    def image(self, ground: Points) -> tuple[Points, Points]:
        """Return pixels of ground points, and signs that tell where the polynomials are valid.

        Parameters
        ----------
        ground
            x, y, z; shape (3, N).

        Returns
        -------
        x, y of shape (2, N); and the signs of the denominators' product, shape (N,).
        """
        _, _, *offsets = self.offsets
        _, _, *scales = self.scales
        x, y, z = ((g - o) / s for g, o, s in zip(ground, offsets, scales, strict=True))
        row_over, row_under, col_over, col_under = (p.value((x, y, z)) for p in self.polynomials)
        row = row_over / row_under * self.scales[0] + self.offsets[0]
        col = col_over / col_under * self.scales[1] + self.offsets[1]
        return np.stack([col, row]), np.sign(row_under * col_under)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The ground coordinates of a model: geodetic (``G``, ``H``) or rectangular (``R``)."""

    domain: str
    origin: Vector = (0.0, 0.0, 0.0)
    """Origin of rectangular coordinates, metres from the Earth's centre."""
    axes: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """Their unit vectors."""

    def ground(self, lonlat: Points, heights: Points) -> Points:
        """Return ground coordinates of points.

        Parameters
        ----------
        lonlat
            Degrees, unwrapped to the longitudes of the model; shape (2, N).
        heights
            Metres above the ellipsoid; shape (N,).

        Returns
        -------
        Radians and metres, or metres; shape (3, N).
        """
        if self.domain != "R":
            return np.stack([*np.radians(lonlat), heights])
        offset = cartesian(lonlat[0], lonlat[1], heights) - np.array(self.origin)[:, None]
        return np.stack([dot(np.array(axis)[:, None], offset) for axis in self.axes])

    def world(self, ground: Points) -> Points:
        """Return lon, lat and heights of ground coordinates; shape (3, N) both."""
        if self.domain != "R":
            return np.stack([*np.degrees(ground[:2]), ground[2]])
        points = np.array(self.origin)[:, None] + np.array(self.axes).T @ ground
        height, up = vertical(points)
        return np.stack([*geodetic(points, up), height])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """The used fields of RSMIDA."""

    edition: str
    frame: Frame
    reference: Vector | None
    """A point on the ground, in the frame."""
    first: tuple[float, float]
    """First row and column of the first section."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read the fields of RSMIDA.

        Raises
        ------
        ValueError
            When they are invalid.
        """
        fields = Fields("RSMIDA", text)
        fields.take(80)
        edition = fields.take(40)
        fields.take(199)  # names, time, and parameters of the scan
        domain = fields.take(1)
        values = fields.optional_numbers(12)
        fields.take(24 * _NUMBER)  # the corners of the ground domain
        reference = fields.optional_numbers(3)
        fields.take(16)
        first_row, _, first_col, _ = fields.numbers(4, 8)
        frame = Frame(domain=domain)
        if domain == "R" and values:
            # Nine components: those of the Earth's first axis along the three, then of the others.
            axes = tuple((values[i], values[i + 3], values[i + 6]) for i in (3, 4, 5))
            frame = Frame(domain=domain, origin=values[:3], axes=axes)  # type: ignore[arg-type]
        elif domain not in {"G", "H"}:
            msg = f"RSMIDA of a ground domain {domain!r}"
            raise ValueError(msg)
        return cls(
            edition=edition,
            frame=frame,
            reference=reference,  # type: ignore[arg-type]
            first=(first_row, first_col),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Division of the image into sections."""

    first: tuple[float, float]
    """First row and column of the first section."""
    size: tuple[float, float]
    """Rows and columns of a section."""
    n: tuple[int, int]
    """Rows and columns of sections."""
    rough: tuple[tuple[float, ...], tuple[float, ...]]
    """Approximate pixel of a ground point: coefficients of row and column, of 1, x, y, z, xx, xy,
    xz, yy, yz, zz."""

    @classmethod
    def read(cls, text: str, first: tuple[float, float]) -> Self:
        """Read the fields of RSMPIA.

        Raises
        ------
        ValueError
            When they are invalid.
        """
        fields = Fields("RSMPIA", text)
        fields.take(120)
        rough = fields.numbers(10), fields.numbers(10)
        n = int(fields.number(3)), int(fields.number(3))
        fields.take(3)
        size = fields.number(), fields.number()
        if min(n) < 1 or min(size) <= 0:
            msg = f"RSMPIA of {n[0]} x {n[1]} sections of {size[0]} x {size[1]} pixels"
            raise ValueError(msg)
        return cls(first=first, size=size, n=n, rough=rough)

    def section_index(self, pixels: Points) -> Points:
        """Return the index of the section of each pixel, row by row; shape (N,), whole numbers."""
        col, row = (
            np.clip(np.floor((place - start) / size), 0, n - 1)
            for place, start, size, n in zip(
                pixels, self.first[::-1], self.size[::-1], self.n[::-1], strict=True
            )
        )
        index: Points = row * self.n[1] + col
        return index

    def approximate_pixels(self, ground: Points) -> Points:
        """Return approximate pixels of ground points; shape (2, N)."""
        x, y, z = ground
        terms = (np.ones_like(x), x, y, z, x * x, x * y, x * z, y * y, y * z, z * z)
        row, col = (
            sum((c * term for c, term in zip(rough, terms, strict=True)), np.zeros_like(x))
            for rough in self.rough
        )
        return np.stack([col, row])
