"""From pixels to the ground: sensor models, best first, and the table of the world."""

from dataclasses import replace

from daskmr.core.imagery import ImageInfo
from daskmr.errors import RequestError
from daskmr.geolocate._terrain import on_terrain
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.chip import chipped
from daskmr.registry import Registry

__all__ = ["SENSOR_MODELS", "on_terrain", "pick"]

SENSOR_MODELS: Registry[SensorModel] = Registry(
    kind="sensor model",
    builtin={
        "SICD": "daskmr.geolocate.sicd:SicdModel",
        "SIDD": "daskmr.geolocate.sidd:SiddModel",
        "RSM": "daskmr.geolocate.rsm:RsmModel",
        "RPC": "daskmr.geolocate.rpc:RpcModel",
        "GCP": "daskmr.geolocate.gcp:GcpModel",
        "AFFINE": "daskmr.geolocate.affine:AffineModel",
        "CORNERS": "daskmr.geolocate.corners:CornersModel",
        "CHIP": "daskmr.geolocate.chip:ChippedModel",
    },
)
"""The order of the entries is the order in which `pick` tries them; a chip is one of the others."""

_RIGHT_TO = {"IGEOLO": "some 30 m", "CSCRNA": "about 1 m", "BLOCKA": "about 0.1 m"}
_SOURCES = {
    "SICD": "the SICD",
    "SIDD": "the SIDD",
    "RSM": "the RSM",
    "RPC": "the RPCs",
    "GCP": "the GCPs",
    "AFFINE": "the transform and CRS",
}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def pick(info: ImageInfo, name: str | None = None) -> tuple[SensorModel | None, str]:
    """The best sensor model of an image, and what the user should know about it.

    Parameters
    ----------
    info
        Header of the image.
    name
        One of `SENSOR_MODELS`, which is then the only one that is tried.

    Returns
    -------
    The model, or None when results can only be given in pixels; and one sentence that says why, or
    what was left unused. The sentence is "" when there is nothing to say.

    Raises
    ------
    ImageError
        When the image has georeferencing that makes no sense.
    RequestError
        When the image has nothing for the model that was named, or nothing that makes sense.
    """
    if name is not None:
        return _named(info, name), ""
    for each in SENSOR_MODELS.builtin:
        try:
            model: SensorModel | None = SENSOR_MODELS.load(each).from_image(info)
        except ValueError as error:
            info = replace(info, unread=(*info.unread, str(error)))
            continue
        if model is not None:
            return chipped(model, info), _remark(info, each)
    return None, f"{_obstacle(info)}; results are in pixels only"


def _named(info: ImageInfo, name: str) -> SensorModel:
    kind = SENSOR_MODELS.load(name)
    try:
        model: SensorModel | None = kind.from_image(info)
    except ValueError as error:
        msg = f"sensor_model: {name} cannot place {info.url}: {error}"
        raise RequestError(msg) from error
    if model is None:
        msg = f"sensor_model: {info.url} has nothing that {name} could place it by"
        raise RequestError(msg)
    return chipped(model, info)


def _remark(info: ImageInfo, name: str) -> str:
    """What was left unused, and how coarse positions are; "" for nothing to say."""
    source = _SOURCES.get(name, "")
    coarse = False
    if name == "CORNERS" and info.corners is not None:
        source = f"the four corners of {info.corners.source}"
        if right_to := _RIGHT_TO.get(info.corners.source):
            source += f", right to {right_to}"
            coarse = True
    unused = list(info.unread)
    if info.gcps is not None and name in {"AFFINE", "CORNERS"}:
        unused.append(f"{len(info.gcps.pixels)} GCPs")
    if unused:
        return f"{' and '.join(unused)} cannot be used; positions come from {source}"
    return f"positions come from {source}" if coarse else ""


def _obstacle(info: ImageInfo) -> str:
    """Why no model fits an image."""
    reasons = [f"{' and '.join(info.unread)} cannot be used"] if info.unread else []
    if info.gcps is not None:
        reasons.append(f"{len(info.gcps.pixels)} GCPs do not place the image on the Earth")
    if info.corners is not None:
        source = info.corners.source
        reasons.append(f"the four corners of {source} do not span the image on the Earth")
    if info.has_affine and not info.unread:
        reasons.append("the CRS does not place pixels on the Earth")
    elif info.transform is not None and not info.crs and info.transform != _IDENTITY:
        reasons.append("the image has a transform but no CRS")
    return " and ".join(reasons) or "the image has no georeferencing"
