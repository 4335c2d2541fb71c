"""Every file of the real imagery: placed right to the pixel, or refused with a reason."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import daskmr
from daskmr.errors import ImageError
from daskmr.geolocate import pick
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.chip import ChippedModel

PLACED = {
    "AffineModel": (
        "affine/GeogToWGS84GeoKey5.tif",
        "affine/RGB.byte.tif",
        "affine/RGBA.uint16.tif",
        "affine/cog_dateline.tif",
        "affine/no_pixelscale_or_tiepoints.tiff",
        "affine/nz_habitat_anticross_4326_1deg.tif",
        "affine/umbra_mount_yasur.tiff",
        "dem/N44E005.hgt",
        "dem/dem.tif",
        "dem/egm96_15.gtx",
        "dem/egm96_15_extract.gtx",
        "dem/n43.dt0",
        "dem/small_dem_3m_merged.tif",
        "nitf/autzen-utm10.ntf",
        "nitf/bug3337.ntf",
        "rpc/unstable_rpc_with_dem_elevation.tif",
    ),
    "CornersModel": (
        "affine/RGB.byte.gcp.vrt",
        "gcp/byte_gcp_pixelispoint.tif",
        "gcp/gcps.vrt",
    ),
    "RpcModel": (
        "affine/RGB.byte.rpc.vrt",
        "rpc/PHR1B_P_201709281038393_SEN_PRG_FC_178609-001.tif",
        "rpc/byte_rpc.tif",
        "rpc/rpc.vrt",
        "rpc/test_rpcs.tif",
        "rpc/test_rpcs_ext_file.tif",
        "rpc/unstable_rpc_with_dem_source.tif",
        "rpc/wv3_20.NTF",
    ),
    "GcpModel": (
        "gcp/cog_gcps.tif",
        "gcp/test_gcp_antimeridian_unwrap.vrt",
    ),
    "CornersModel:BLOCKA": (
        "nitf/GHSarNITF21_good.ntf",
        "nitf/gdal3453.ntf",
    ),
    "CornersModel:IGEOLO": (
        "nitf/U_1001A.NTF",
        "nitf/U_3050B.NTF",
        "nitf/i_3001a.ntf",
        "nitf/i_3004g.ntf",
        "nitf/ns3361c.nsf",
        "nitf/rgb.ntf",
    ),
    "RsmModel": ("rsm/i_6130a_truncated.ntf",),
    "SicdModel": (
        "sicd/cropped_sicd_040.nitf",
        "sicd/cropped_sicd_041.nitf",
        "sicd/cropped_sicd_100.nitf",
        "sicd/cropped_sicd_101.nitf",
        "sicd/cropped_sicd_120.nitf",
        "sicd/cropped_sicd_extra_des.nitf",
        "sicd/sar_sicd.ntf",
        "sicd/sicd_50x50.nitf",
    ),
    "Chipped(SiddModel)": ("sidd/cropped_sidd.nitf",),
}
"""Files by the model that places them, and what its corners come from."""

REFUSED = {
    "the CRS does not place pixels on the Earth": ("affine/cog_nonearth.tif",),
    "the image has a transform but no CRS": (
        "affine/rotated.tif",
        "rpc/left_image.tif",
    ),
    "a transform that leads off the Earth cannot be used": ("dem/dted-16x16-1band-int16.dt1",),
    "the image has no georeferencing": (
        "gcp/389225main_sw_1965_1024.jpg",
        "nitf/U_1050A.NTF",
        "nitf/U_4002A.NTF",
        "nitf/WithBE.ntf",
        "nitf/headmono16.ntf",
        "nitf/i_3025b.ntf",
        "nitf/i_3034c.ntf",
        "nitf/i_3430a.ntf",
        "nitf/nitf21-256x256-3band-8bit-nc.ntf",
        "nitf/nitf21-multisegment-2img-1txt-1des.ntf",
        "nitf/ns3010a.nsf",
        "nitf/ns3201a.nsf",
        "nitf/ns3301j.nsf",
        "nitf/ns3321a.nsf",
        "nitf/rgb16.ntf",
        "nitf/two_images_jpeg.ntf",
        "nitf/v_3301f.ntf",
        "nitf_j2k/005_007_1024x1024_s_8_1_multi_j2c.ntf",
        "nitf_j2k/053_512x512_s_8_3_ycbcr_j2c.ntf",
        "nitf_j2k/066_389x298_s_11_3_rgb_jp2.ntf",
        "nitf_j2k/file9_j2c.ntf",
        "nitf_j2k/nitf21-64x64-3band-8bit-j2k.ntf",
        "nitf_j2k/two_images_jp2.ntf",
        "nogeo/no_geo2.jpg",
    ),
    "GCPs that are 1 only cannot be used": ("gcp/byte_gcp.tif",),
    "2115 GCPs do not place the image on the Earth": ("gcp/gcps_2115.vrt",),
    "GCPs that are 3 only cannot be used": ("gcp/white-gemini-iv.vrt",),
    "SENSRB cannot be used": ("nitf/SENSRB_TRE.ntf",),
    "CSEXRB cannot be used": ("nitf/TEST_CSEXRB.nitf",),
}
"""Files whose results are in pixels only, by the reason that is told."""

NO_IMAGES = (
    "nitf/ns3059a.nsf",
    "nitf/ns3101b.nsf",
)

PARTLY_OFF_THE_EARTH = {
    "dem/egm96_15.gtx",  # its outer rows of pixels reach over the poles
    "gcp/byte_gcp_pixelispoint.tif",  # so does its outer half pixel
    "rpc/unstable_rpc_with_dem_source.tif",  # RPCs that are no more defined everywhere
    "sicd/sar_sicd.ntf",  # the sensor flew lower than the highest ground
}


def name_of(model: SensorModel, note: str) -> str:
    name = type(model).__name__
    if isinstance(model, ChippedModel):
        name = f"Chipped({type(model.model).__name__})"
    _, _, source = note.partition("the four corners of ")
    return f"{name}:{source.split(',')[0]}" if source else name


def off_px(model: SensorModel, pixels: Points, height: float | None) -> NDArray[np.float64]:
    """How far pixels come back from where they were; NaN where they have no place."""
    heights = None if height is None else np.full(len(pixels), height)
    there = model.to_image(model.to_world(pixels, heights))
    off: NDArray[np.float64] = np.abs(there - pixels).max(axis=1)
    return off


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, paths in PLACED.items() for path in paths]
)
def test_an_image_is_placed_and_back_at_every_height(imagery: Path, name: str, path: str) -> None:
    info = daskmr.open_image(str(imagery / path)).info
    model, note = pick(info)
    assert model is not None, note
    assert name_of(model, note) == name
    corners = [(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)]
    part = np.concatenate([np.random.default_rng(0).uniform(0, 1, (500, 2)), corners])
    pixels = part * [info.width, info.height]
    for height in (None, -400.0, 8800.0):
        off = off_px(model, pixels, height)
        if path not in PARTLY_OFF_THE_EARTH:
            assert np.isfinite(off).all()
        assert (off[np.isfinite(off)] <= 1e-3).all()
    assert np.isfinite(off_px(model, pixels[-1:], None)).all()


@pytest.mark.parametrize(
    ("reason", "path"), [(reason, path) for reason, paths in REFUSED.items() for path in paths]
)
def test_an_image_that_cannot_be_placed_says_why(imagery: Path, reason: str, path: str) -> None:
    found = pick(daskmr.open_image(str(imagery / path)).info)
    assert found == (None, f"{reason}; results are in pixels only")


@pytest.mark.parametrize("path", NO_IMAGES)
def test_a_file_without_an_image_says_so(imagery: Path, path: str) -> None:
    with pytest.raises(ImageError, match=r"holds no image"):
        daskmr.open_image(str(imagery / path))


def test_no_file_is_forgotten(imagery: Path) -> None:
    known = {path for paths in (*PLACED.values(), *REFUSED.values()) for path in paths}
    beside = {".md", ".xml", ".json", ".txt", ".rpb", ".rpc"}
    there = {
        str(path.relative_to(imagery))
        for path in imagery.rglob("*")
        if path.is_file() and path.suffix.lower() not in beside
    }
    assert there == known | set(NO_IMAGES)
