"""A synthetic satellite scene whose objects are known: rolling ground with small bright vessels.

``python -m daskmr.testing.scene PATH [SIZE]`` writes one; ``make demo`` runs the detector on it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes

_BLOCK = 512
_CRS = "EPSG:32618"
_ORIGIN = (583_000.0, 4_507_000.0)
_PIXEL_M = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticScene:
    """A square scene; the same seed gives the same pixels."""

    size: int = 8192
    """Rows and columns."""
    spacing: int = 128
    """Each cell of this many pixels holds one object at most."""
    seed: int = 7
    """Of the objects and the noise."""

    def truth(self) -> Boxes:
        """Return the boxes of the objects, shape (N, 4), full-image pixels."""
        random = np.random.default_rng(self.seed)
        n = self.size // self.spacing
        cells = np.argwhere(random.random((n, n)) < 0.5)
        sides = random.integers(8, 15, (len(cells), 2))
        free = self.spacing - sides - 8
        corner = cells[:, ::-1] * self.spacing + 4 + (random.random(sides.shape) * free)
        corner = np.floor(corner)
        return np.hstack([corner, corner + sides]).astype(np.float64)

    def rows(self, first: int, height: int) -> NDArray[np.uint8]:
        """Return the pixels of whole rows, shape (3, height, size)."""
        random = np.random.default_rng((self.seed, first))
        y, x = np.mgrid[first : first + height, 0 : self.size].astype(np.float32)
        ground = 70 + 12 * np.sin(x / 311) + 10 * np.cos(y / 229)
        ground += random.integers(-2, 3, ground.shape)
        for x_min, y_min, x_max, y_max in self.truth().astype(int):
            if y_max > first and y_min < first + height:
                ground[max(0, y_min - first) : y_max - first, x_min:x_max] += 90
        tint = np.array([0.9, 1.0, 1.1], dtype=np.float32)[:, None, None]
        pixels: NDArray[np.uint8] = np.clip(ground * tint, 1, 255).astype(np.uint8)
        return pixels

    def strips(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield first row and pixels, shape (3, height, size), of blocks from top to bottom."""
        for first in range(0, self.size, _BLOCK):
            yield first, self.rows(first, min(_BLOCK, self.size - first))

    def write(self, path: Path) -> None:
        """Write the scene as a tiled, compressed GeoTIFF with 0.5 m pixels in UTM zone 18N."""
        from daskmr.testing.images import writing

        profile = {
            "driver": "GTiff",
            "height": self.size,
            "width": self.size,
            "count": 3,
            "dtype": "uint8",
            "tiled": True,
            "blockxsize": _BLOCK,
            "blockysize": _BLOCK,
            "compress": "deflate",
            "zlevel": 1,
            "photometric": "rgb",
            "crs": _CRS,
            "transform": (_PIXEL_M, 0.0, _ORIGIN[0], 0.0, -_PIXEL_M, _ORIGIN[1]),
        }
        with writing(path, profile) as write:
            for first, pixels in self.strips():
                write(first, 0, pixels)


def main() -> None:
    """Write a scene to the path given on the command line."""
    path = Path(sys.argv[1])
    scene = SyntheticScene(size=int(sys.argv[2])) if len(sys.argv) > 2 else SyntheticScene()
    path.parent.mkdir(parents=True, exist_ok=True)
    scene.write(path)
    sys.stderr.write(f"{path}: {scene.size} x {scene.size}, {len(scene.truth())} objects\n")


if __name__ == "__main__":
    main()
