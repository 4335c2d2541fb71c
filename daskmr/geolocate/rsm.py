"""Sensor model of images with an RSM: polynomials from the ground to the image; inverse solved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.arrays import Indices
from daskmr.core.imagery import ImageInfo
from daskmr.geolocate._crs import nearest_turn, wrap
from daskmr.geolocate._ellipsoid import EQUATOR_M
from daskmr.geolocate._newton import solve
from daskmr.geolocate._sections import Frame, Layout, ModelIdentity, Section
from daskmr.geolocate.base import Points

_BLOCK = 8192
_STEP_M = 1.0
"""Step of differences on the ground."""
_LAST_STEP_M = 1e-3
"""Last step of Newton's method; the remaining error is at most its square."""
_WITHIN_PX = 1e-6
_LONGEST = 0.3
"""Length of short steps, as a share of a section."""
_SHORT_STEPS = 60
_FARTHEST = 100.0
"""Sizes of a section from its centre beyond which points are invalid."""
_POLE = 90.0
_WITH_HEIGHT = 3
_UNSUPPORTED = {
    "RSMGGA": "RSM of ground grids (RSMGGA)",
    "RSMGIA": "RSM of ground grids (RSMGIA)",
    "RSMAPA": "RSM with adjustments (RSMAPA)",
    "RSMAPB": "RSM with adjustments (RSMAPB)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RsmModel:
    """Ratios of polynomials, one pair for each section of the image, exact in both directions.

    Heights are those of the model's reference point by default. Where polynomials have folded over,
    far outside of their domain, the result is NaN.
    """

    frame: Frame
    sections: tuple[Section, ...]
    """In order of rows."""
    layout: Layout | None
    """None for a single section."""
    reference: tuple[float, float, float]
    """lon, lat, height of a point in the scene."""

    def __post_init__(self) -> None:
        """Refuse polynomials whose derivatives at the centre of a section are singular."""
        for section in self.sections:
            if _Sight(self.frame, section).orientation[0] not in {-1.0, 1.0}:
                msg = f"RSM that cannot be solved in its section {section.number}"
                raise ValueError(msg)

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of an image, or of the one that a chip (`info.chip`) was cut out of.

        Raises
        ------
        ValueError
            When its model is not supported; the message names it.
        """
        if not info.rsm:
            return None
        for name, words in _UNSUPPORTED.items():
            if any(extension.startswith(name) for extension, _ in info.rsm):
                raise ValueError(words)
        try:
            return cls._read(dict(info.rsm))
        except KeyError as error:
            msg = f"RSM without {error.args[0]}"
            raise ValueError(msg) from error

    @classmethod
    def _read(cls, texts: Mapping[str, str]) -> Self:
        identity = ModelIdentity.read(texts["RSMIDA"])
        sections = sorted(
            (Section.read(name, texts[name]) for name in texts if name.startswith("RSMPCA")),
            key=lambda section: section.number,
        )
        layout = Layout.read(texts["RSMPIA"], identity.first) if "RSMPIA" in texts else None
        n = layout.n if layout else (1, 1)
        wanted = [(row + 1, col + 1) for row in range(n[0]) for col in range(n[1])]
        if [section.number for section in sections] != wanted:
            msg = f"RSM with {len(sections)} of {len(wanted)} sections"
            raise ValueError(msg)
        known = identity.reference or sections[len(sections) // 2].offsets[2:]
        lon, lat, height = identity.frame.world(np.array(known)[:, None])[:, 0].tolist()
        return cls(
            frame=identity.frame,
            sections=tuple(sections),
            layout=layout if len(sections) > 1 else None,
            reference=(lon, lat, height),
        )

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        levels = np.full(len(pixels), self.reference[2]) if heights is None else heights
        world = np.full((len(pixels), 3), np.nan)
        for section, some in self._by_section(pixels.T):
            sight = _Sight(self.frame, section)
            for start in range(0, len(some), _BLOCK):
                part = some[start : start + _BLOCK]
                lon, lat = sight.place(pixels[part].T, levels[part])
                high = np.where(np.isnan(lon), np.nan, levels[part])
                world[part] = np.stack([wrap(lon), lat, high], axis=1)
        return world

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points; see `SensorModel.to_image`."""
        world = np.asarray(world, dtype=np.float64)
        pixels = np.full((len(world), 2), np.nan)
        for start in range(0, len(world), _BLOCK):
            part = world[start : start + _BLOCK]
            level = np.full(len(part), self.reference[2])
            high = part[:, 2] if part.shape[1] >= _WITH_HEIGHT else level
            with np.errstate(all="ignore"):
                pixels[start : start + _BLOCK] = self._see(part[:, :2].T, high).T
        return pixels

    def _see(self, lonlat: Points, high: Points) -> Points:
        """Return pixels, by the section of their approximation, then by the one they lie in."""
        at = np.zeros_like(lonlat)
        if self.layout is not None:
            lon = nearest_turn(lonlat[0], self.reference[0])
            at = self.layout.approximate_pixels(self.frame.ground(np.stack([lon, lonlat[1]]), high))
        for _ in range(1 if self.layout is None else 2):
            pixels = np.full_like(lonlat, np.nan)
            for section, some in self._by_section(at):
                pixels[:, some] = _Sight(self.frame, section).see(lonlat[:, some], high[some])
            at = pixels
        return at

    def _by_section(self, pixels: Points) -> list[tuple[Section, Indices]]:
        """Return each section that contains some of the pixels, with their indices."""
        if self.layout is None:
            return [(self.sections[0], np.arange(pixels.shape[1]))]
        indices = self.layout.section_index(pixels)
        present = np.unique(indices[np.isfinite(indices)])
        return [(self.sections[int(i)], np.flatnonzero(indices == i)) for i in present]


class _Sight:
    """The mapping of a section in its frame, with the signs at the centre of the section.

    Where a denominator or the determinant of the derivatives has another sign than there, the
    polynomials have folded over and are not valid.
    """

    def __init__(self, frame: Frame, section: Section) -> None:
        self.frame = frame
        self.section = section
        self.start = np.array(section.offsets[2:])[:, None]
        self.reach = np.array(section.scales[2:])[:, None]
        centre = frame.world(self.start)
        self.centre = centre[:2]
        north = np.radians(EQUATOR_M)
        self.metres = np.stack([north * np.cos(np.radians(centre[1])), [north]])
        with np.errstate(all="ignore"):
            self.orientation = self._orientation(self.centre, centre[2])
            self.sign = section.image(self.start)[1]

    def see(self, lonlat: Points, high: Points) -> Points:
        """Return pixels of ground points; shape (2, N), NaN where the polynomials are not valid."""
        with np.errstate(all="ignore"):
            lonlat = np.stack([nearest_turn(lonlat[0], float(self.centre[0, 0])), lonlat[1]])
            ground = self.frame.ground(lonlat, high)
            pixels, sign = self.section.image(ground)
            far = np.abs((ground - self.start) / self.reach).max(axis=0)
            right = (far <= _FARTHEST) & (sign == self.sign) & (np.abs(lonlat[1]) <= _POLE)
            right &= self._orientation(lonlat, high) == self.orientation
            result: Points = np.where(right, pixels, np.nan)
            return result

    def place(self, pixels: Points, high: Points) -> Points:
        """Return lon, lat of pixels; shape (2, N), NaN where there is no solution.

        Points for which full steps of Newton's method do not converge start again with short ones.
        """
        lonlat = np.full_like(pixels, np.nan)
        left = np.arange(pixels.shape[1])
        size = float(np.abs(self.reach[:2]).max()) * (1 if self.frame.domain == "R" else EQUATOR_M)
        for longest, most in ((np.inf, 16), (_LONGEST * size, _SHORT_STEPS)):
            solution = self._solve(pixels[:, left], high[left], longest=longest, most=most)
            off = np.abs(self.see(solution, high[left]) - pixels[:, left]).max(axis=0)
            right = off <= _WITHIN_PX
            lonlat[:, left[right]] = solution[:, right]
            left = left[~right]
        return lonlat

    def _solve(self, aim: Points, high: Points, *, longest: float, most: int) -> Points:
        def off(place: Points, some: Indices) -> Points:
            ground = self.frame.ground(self.centre + place / self.metres, high[some])
            return self.section.image(ground)[0] - aim[:, some]

        start = np.where(np.isfinite(aim) & np.isfinite(high), 0.0, np.nan)
        with np.errstate(all="ignore"):
            place = solve(off, start, step=_STEP_M, within=_LAST_STEP_M, longest=longest, most=most)
        lonlat: Points = self.centre + place / self.metres
        return lonlat

    def _orientation(self, lonlat: Points, high: Points) -> Points:
        """Return the sign of the determinant of the derivatives; 0 or NaN when singular."""
        at, right, above = (
            self.section.image(self.frame.ground(lonlat + step / self.metres, high))[0]
            for step in (
                np.zeros((2, 1)),
                np.array([[_STEP_M], [0.0]]),
                np.array([[0.0], [_STEP_M]]),
            )
        )
        (a, c), (b, d) = right - at, above - at
        orientation: Points = np.sign(a * d - b * c)
        return orientation
