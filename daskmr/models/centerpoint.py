"""A model that detects one object at the same place of every tile, for end-to-end tests."""

from math import sqrt
from typing import Any, ClassVar

from daskmr.core.imagery import Pixels
from daskmr.models.base import feature_class, feature_collection
from daskmr.registry import plugin

_BOX = 0.1  # half a side of the box, of the tile's
_CENTRE = 0.55  # centre of the hexagon, of the tile's sides
_RADIUS = 0.05  # of the hexagon, of the tile's sides
_H = sqrt(3) / 2
_STEPS = ((0.0, 1.0), (-_H, 0.5), (-_H, -0.5), (0.0, -1.0), (_H, -0.5), (_H, 0.5), (0.0, 1.0))


@plugin
class Centerpoint:
    """Answer each tile with one box around its centre."""

    thread_safe: ClassVar[bool] = True

    enable_segmentation: bool = True
    """True for a hexagon in addition to the box; else the geometry is a point at the origin."""

    def detect(self, pixels: Pixels) -> dict[str, Any]:
        """Return one ``sample_object`` with score 1.

        Examples
        --------
        >>> import numpy as np
        >>> answer = Centerpoint().detect(np.zeros((1, 512, 512)))
        >>> [round(v, 4) for v in answer["features"][0]["properties"]["imageBBox"]]
        [204.8, 204.8, 307.2, 307.2]
        """
        height, width = pixels.shape[-2:]
        low, high = 0.5 - _BOX, 0.5 + _BOX
        properties = {
            "imageGeometry": self._geometry(height, width),
            "imageBBox": [low * width, low * height, high * width, high * height],
            "featureClasses": feature_class("sample_object", 1.0),
            "modelMetadata": {
                "modelName": "centerpoint",
                "ontologyName": "sample_ontology",
                "ontologyVersion": "1.0",
                "classification": "none",
            },
        }
        return feature_collection([properties])

    def _geometry(self, height: int, width: int) -> dict[str, Any]:
        if not self.enable_segmentation:
            return {"type": "Point", "coordinates": [0.0, 0.0]}
        ring = [
            [(_CENTRE + _RADIUS * x) * width, (_CENTRE + _RADIUS * y) * height] for x, y in _STEPS
        ]
        # Model Runner's own model closes its ring twice; the same answer compares equal to it.
        return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
