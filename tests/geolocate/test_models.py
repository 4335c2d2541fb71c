"""Which sensor model an image gets, and what is said about it."""

from dataclasses import replace
from typing import Any

import pytest

from daskmr.core.imagery import ControlPoints, ImageInfo
from daskmr.errors import ImageError, RequestError
from daskmr.geolocate import SENSOR_MODELS, pick
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.chip import ChippedModel
from daskmr.geolocate.corners import CornersModel
from daskmr.geolocate.gcp import GcpModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.geolocate.rsm import RsmModel
from daskmr.geolocate.sicd import SicdModel
from daskmr.geolocate.sidd import SiddModel
from daskmr.testing.contracts_geolocate import SCENE_RPCS, rsm_fields, sicd_xml, sidd_xml

UTM = (0.5, 0.0, 600_000.0, 0.0, -0.5, 5_000_000.0)
PLACED = ImageInfo(
    url="/images/a.tif",
    height=80,
    width=120,
    bands=1,
    dtype="uint8",
    driver="GTiff",
    crs="EPSG:32631",
    transform=UTM,
)
BARE = replace(PLACED, crs=None, transform=None)
SQUARE = ((0.0, 0.0), (120.0, 0.0), (120.0, 80.0), (0.0, 80.0))


def control(source: str, *, middle: bool = False, crs: str = "EPSG:4326") -> ControlPoints:
    pixels = SQUARE + (((60.0, 40.0),) if middle else ())
    ground = tuple((10 + x * 1e-4, 50 - y * 1e-4, 0.0) for x, y in pixels)
    return ControlPoints(source=source, pixels=pixels, ground=ground, crs=crs)


EVERYTHING: dict[str, Any] = {
    "sar": sicd_xml("PLANE", size=(120, 80)),
    "rsm": rsm_fields(),
    "chip": (1.0, 0.0, 500.0, 0.0, 1.0, 300.0),
    "rpcs": SCENE_RPCS,
    "gcps": control("GCPs", middle=True),
    "transform": UTM,
    "corners": control("GCPs"),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("SICD", SicdModel), ("RSM", ChippedModel), ("RPC", ChippedModel), ("GCP", GcpModel),
     ("AFFINE", AffineModel), ("CORNERS", CornersModel)],
)  # fmt: skip
def test_a_model_that_is_named_is_taken_whatever_else_there_is(name: str, kind: Any) -> None:
    info = replace(PLACED, **EVERYTHING)
    assert isinstance(pick(info, name)[0], kind)


def test_a_model_that_is_named_and_cannot_be_is_refused() -> None:
    with pytest.raises(RequestError, match=r"a\.tif has nothing that SIDD could place it by"):
        pick(replace(PLACED, **EVERYTHING), "SIDD")
    with pytest.raises(
        RequestError, match=r"SICD cannot place /images/a\.tif: SICD of 9 x 9 pixels"
    ):
        pick(replace(PLACED, sar=sicd_xml("PLANE", size=(9, 9))), "SICD")


def test_every_listed_model_is_there() -> None:
    found = [SENSOR_MODELS.load(name) for name in SENSOR_MODELS.builtin]
    assert found == [
        SicdModel,
        SiddModel,
        RsmModel,
        RpcModel,
        GcpModel,
        AffineModel,
        CornersModel,
        ChippedModel,
    ]


def test_the_best_of_all_models_is_taken() -> None:
    left = dict(EVERYTHING)
    taken = []
    for name in EVERYTHING:
        model, note = pick(replace(BARE, crs="EPSG:32631", **left))
        taken.append(type(model.model if isinstance(model, ChippedModel) else model))
        assert isinstance(model, ChippedModel) == (name in {"rsm", "chip"})
        assert note == ""
        left[name] = () if name == "rsm" else "" if name == "sar" else None
    assert taken == [SicdModel, RsmModel, RpcModel, RpcModel, GcpModel, AffineModel, CornersModel]


def test_whatever_else_there_is_the_product_says_where_it_lies() -> None:
    model, note = pick(replace(BARE, **{**EVERYTHING, "sar": sidd_xml(size=(120, 80))}))
    assert (type(model), note) == (SiddModel, "")


def test_a_transform_and_a_crs_give_the_affine_model_without_a_word() -> None:
    expected = AffineModel(transform=UTM, crs="EPSG:32631", centre=(60.0, 40.0))
    assert pick(PLACED) == (expected, "")


def test_a_chip_keeps_the_rpcs_of_the_whole() -> None:
    model, _ = pick(replace(BARE, rpcs=SCENE_RPCS, chip=EVERYTHING["chip"]))
    assert model == ChippedModel(model=RpcModel(rpcs=SCENE_RPCS), transform=EVERYTHING["chip"])


@pytest.mark.parametrize(
    ("source", "right_to"),
    [("IGEOLO", "some 30 m"), ("CSCRNA", "about 1 m"), ("BLOCKA", "about 0.1 m")],
)
def test_how_coarse_corners_are_is_told(source: str, right_to: str) -> None:
    info = replace(PLACED, driver="NITF", crs="EPSG:4326", corners=control(source))
    model, note = pick(info)
    assert isinstance(model, CornersModel)
    assert note == f"positions come from the four corners of {source}, right to {right_to}"


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (BARE, "the image has no georeferencing"),
        (replace(BARE, crs="EPSG:4326"), "the image has no georeferencing"),
        (replace(BARE, transform=UTM), "the image has a transform but no CRS"),
        (replace(BARE, unread=("RSM",)), "RSM cannot be used"),
        (
            replace(BARE, gcps=control("GCPs", middle=True, crs="")),
            "5 GCPs do not place the image on the Earth",
        ),
        (
            replace(BARE, corners=control("IGEOLO", crs=""), unread=("SICD", "RSM")),
            (
                "SICD and RSM cannot be used and the four corners of IGEOLO do not span the image "
                "on the Earth"
            ),
        ),
        (replace(PLACED, crs="IAU_2015:49910"), "the CRS does not place pixels on the Earth"),
    ],
)
def test_without_a_model_the_reason_is_told(info: ImageInfo, reason: str) -> None:
    assert pick(info) == (None, f"{reason}; results are in pixels only")


@pytest.mark.parametrize(
    ("info", "kind", "note"),
    [
        (
            replace(PLACED, unread=("RSM",)),
            AffineModel,
            "RSM cannot be used; positions come from the transform and CRS",
        ),
        (
            replace(BARE, rpcs=SCENE_RPCS, unread=("RSM",)),
            RpcModel,
            "RSM cannot be used; positions come from the RPCs",
        ),
        (
            replace(PLACED, gcps=control("GCPs", middle=True, crs="")),
            AffineModel,
            "5 GCPs cannot be used; positions come from the transform and CRS",
        ),
        (
            replace(BARE, driver="NITF", corners=control("IGEOLO"), unread=("SICD",)),
            CornersModel,
            (
                "SICD cannot be used; positions come from the four corners of IGEOLO, right to "
                "some 30 m"
            ),
        ),
    ],
)
def test_better_metadata_that_goes_unused_is_told(
    info: ImageInfo, kind: type[object], note: str
) -> None:
    model, told = pick(info)
    assert isinstance(model, kind)
    assert told == note


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"transform": (0.0, 0.0, 1.0, 0.0, 0.0, 2.0)}, "not invertible"),
        ({"gcps": control("GCPs", middle=True, crs="nonsense")}, "nonsense"),
    ],
)
def test_georeferencing_that_makes_no_sense_is_an_error(change: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        pick(replace(PLACED, **change))
