"""Geolocation: sensor models, best first, and the world table of features.

`base` has the protocol; one module for each sensor model (those of radar images use `radar`);
`chip` and `terrain` wrap a model; `table` applies the model to features.
"""

from dataclasses import replace

from daskmr.core.imagery import ImageInfo
from daskmr.errors import RequestError
from daskmr.geolocate.base import Ranked, SensorModel
from daskmr.geolocate.chip import chip_model
from daskmr.geolocate.terrain.models import on_terrain
from daskmr.registry import Registry

__all__ = ["SENSOR_MODELS", "on_terrain", "pick", "ranks"]

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
    """Return the best sensor model of an image, and a remark for the user.

    Parameters
    ----------
    info
        Header of the image.
    name
        One of `SENSOR_MODELS`, which is then the only one that is tried.

    Returns
    -------
    The model, or None when results can only be in pixels; and one sentence with the reason, or with
    the georeferencing that was not used. The sentence is "" when the best model was used.

    Raises
    ------
    ImageError
        When the georeferencing of the image is invalid.
    RequestError
        When the image has no metadata for the named model, or invalid ones.
    """
    if name is not None:
        return _named(info, name), ""
    for each in ranks():
        try:
            model: SensorModel | None = SENSOR_MODELS.load(each).from_image(info)
        except ValueError as error:
            info = replace(info, unread=(*info.unread, str(error)))
            continue
        if model is not None:
            return chip_model(model, info), _remark(info, each)
    return None, f"{_obstacle(info)}; results are in pixels only"


def ranks() -> dict[str, float]:
    """Return the sensor models that `pick` tries, best first, with their ranks.

    Those of other packages are tried where they have a `daskmr.geolocate.base.Ranked.rank`; at the
    same rank after a built-in one, then by name.
    """
    order = {name: 10.0 * n for n, name in enumerate(SENSOR_MODELS.builtin, 1)}
    for name in SENSOR_MODELS.names():
        if name not in order and isinstance(model := SENSOR_MODELS.load(name), Ranked):
            order[name] = float(model.rank)
    return dict(sorted(order.items(), key=lambda item: item[1]))


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
    return chip_model(model, info)


def _remark(info: ImageInfo, name: str) -> str:
    """Return a sentence on unused georeferencing and coarse positions; "" when there is neither."""
    source = _SOURCES.get(name, f"the sensor model {name}")
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
    """Return the reason why no model fits an image."""
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
