"""From pixels to the ground: sensor models, best first, and the table of the world."""

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import SensorModel
from daskmr.registry import Registry

SENSOR_MODELS: Registry[SensorModel] = Registry(
    kind="sensor model",
    builtin={"AFFINE": "daskmr.geolocate.affine:AffineModel"},
)
"""The order of the entries is the order in which `pick` tries them."""


def pick(info: ImageInfo) -> tuple[SensorModel | None, str]:
    """The best sensor model of an image, and what the user should know about it.

    Returns
    -------
    The model, or None when results can only be given in pixels; and one sentence that says why, or
    what was left unused. The sentence is "" when there is nothing to say.

    Raises
    ------
    ImageError
        When the image has georeferencing that makes no sense.
    """
    unused = _unused(info)
    for name in SENSOR_MODELS.builtin:
        model: SensorModel | None = SENSOR_MODELS.load(name).from_image(info)
        if model is not None:
            coarse = f"{unused} are not supported yet; positions come from the transform and CRS"
            return model, coarse if unused else ""
    return None, f"{_obstacle(info, unused)}; results are in pixels only"


def _unused(info: ImageInfo) -> str:
    """Metadata that would place the pixels better, and that no model reads yet."""
    found = ["RPCs"] * info.has_rpcs + [f"{info.n_gcps} GCPs"] * (info.n_gcps > 0)
    return " and ".join(found)


def _obstacle(info: ImageInfo, unused: str) -> str:
    if info.has_affine:
        return "the CRS does not place pixels on the Earth"
    if unused:
        return f"{unused} are present but not supported yet"
    if info.transform is not None and not info.crs:
        return "the image has a transform but no CRS"
    return "the image has no georeferencing"
