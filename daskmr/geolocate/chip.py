"""Sensor model of chips: images cut out of another one that the metadata describe."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points, SensorModel, has_heights
from daskmr.geolocate.rpc import RpcModel
from daskmr.geolocate.rsm import RsmModel
from daskmr.geolocate.sidd import SiddModel, chip

_WHOLES: tuple[type[SensorModel], ...] = (SiddModel, RsmModel, RpcModel)
"""Models of the image that a chip was cut out of; best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChippedModel:
    """The model of a whole image, for pixels of a chip: moved, scaled, turned."""

    model: SensorModel
    """Model of the whole image."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f of ``X = a x + b y + c, Y = d x + e y + f`` from pixels x, y of the chip to
    pixels X, Y of the whole image."""

    def __post_init__(self) -> None:
        """Refuse a transform that is not invertible."""
        a, b, _, d, e, _ = self.transform
        if not np.isfinite(self.transform).all() or a * e - b * d == 0:
            msg = f"chip transform {self.transform} is not invertible"
            raise ValueError(msg)

    @property
    def has_heights(self) -> bool:
        """Whether the model of the whole image knows them."""
        return has_heights(self.model)

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of a chip; None for an image without metadata of the whole image."""
        for kind in _WHOLES:
            try:
                model = kind.from_image(info)
            except ValueError:
                continue  # as `daskmr.geolocate.pick`, which reports it
            if model is not None:
                chipped = chip_model(model, info)
                return chipped if isinstance(chipped, cls) else None
        return None

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of the chip's pixels; see `SensorModel.to_world`.

        Examples
        --------
        >>> from daskmr.geolocate.affine import AffineModel
        >>> whole = AffineModel(transform=(0.1, 0, 0, 0, -0.1, 0), crs="EPSG:4326")
        >>> chip = ChippedModel(model=whole, transform=(2, 0, 10, 0, 2, 10))
        >>> chip.to_world(np.array([[2.0, 2.0]])).round(9).tolist()
        [[1.4, -1.4, 0.0]]
        """
        a, b, c, d, e, f = self.transform
        x, y = np.asarray(pixels, dtype=np.float64).reshape(-1, 2).T
        with np.errstate(invalid="ignore"):
            whole = np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
        return self.model.to_world(whole, heights)

    def to_image(self, world: Points) -> Points:
        """Return the chip's pixels of ground points; see `SensorModel.to_image`."""
        a, b, c, d, e, f = self.transform
        x, y = (self.model.to_image(world) - [c, f]).T
        scale = 1.0 / (a * e - b * d)
        return np.stack([scale * (e * x - b * y), scale * (a * y - d * x)], axis=1)


def chip_model(model: SensorModel, info: ImageInfo) -> SensorModel:
    """Return the model for the pixels of an image, which may be a chip of the model's image."""
    transform = chip(info) if isinstance(model, SiddModel) else info.chip
    if transform is None or not isinstance(model, _WHOLES):
        return model
    return ChippedModel(model=model, transform=transform)
