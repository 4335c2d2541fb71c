"""What is read of RPCs, control points and the extensions of NITF."""

import base64
import re
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.rpc
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.session import DummySession

from daskmr.core.imagery import ImageInfo, Rpcs, source_metadata
from daskmr.geolocate import pick
from daskmr.geolocate.rsm import RsmModel
from daskmr.geolocate.sicd import SicdModel
from daskmr.geolocate.sidd import SiddModel
from daskmr.image import open_image
from daskmr.image._metadata import MOST_GCPS, _collection, _geometry, _sar
from daskmr.testing.contracts_geolocate import (
    SAR_SIZE,
    SCENE_RPCS,
    rsm_fields,
    sicd_xml,
    sidd_xml,
)

SIZE = (60, 40)
"""Width and height of the images that are made here."""
ORDER_00A = (0, 1, 2, 3, 4, 5, 6, 10, 7, 8, 9, 11, 14, 17, 12, 15, 18, 13, 16, 19)
"""Which term of RPC00B stands at each place of RPC00A."""


def write(
    path: Path,
    *,
    tres: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    **profile: Any,
) -> ImageInfo:
    """Header of an image that was written with all this, as it is read back."""
    width, height = SIZE
    driver = "NITF" if path.suffix == ".ntf" else "GTiff"
    env = rasterio.Env(session=DummySession(), GDAL_PAM_ENABLED="NO")
    with env, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with DatasetWriter(
            uuid.uuid4().hex,
            "w",
            driver="MEM",
            width=width,
            height=height,
            count=1,
            dtype="uint8",
            **profile,
        ) as dataset:
            dataset.write(np.ones((1, height, width), dtype=np.uint8))
            if tres:
                dataset.update_tags(ns="TRE", **tres)
            rasterio.shutil.copy(dataset, str(path), driver=driver, **(options or {}))
    return open_image(path).info


def gdal_rpcs(rpcs: Rpcs) -> rasterio.rpc.RPC:
    scalars = {
        f"{name}_{kind}": getattr(rpcs, f"{name}_{kind}")
        for name in ("line", "samp", "lat", "long", "height")
        for kind in ("off", "scale")
    }
    terms = {
        f"{name}_coeff": list(getattr(rpcs, name))
        for name in ("line_num", "line_den", "samp_num", "samp_den")
    }
    return rasterio.rpc.RPC(**scalars, **terms)


def rpc_tre(rpcs: Rpcs, order: tuple[int, ...] = tuple(range(20))) -> str:
    """The fields of RPC00A or RPC00B."""
    text = "1" + "0000.50" * 2
    text += f"{rpcs.line_off:06.0f}{rpcs.samp_off:05.0f}{rpcs.lat_off:+08.4f}"
    text += f"{rpcs.long_off:+09.4f}{rpcs.height_off:+05.0f}"
    text += f"{rpcs.line_scale:06.0f}{rpcs.samp_scale:05.0f}{rpcs.lat_scale:+08.4f}"
    text += f"{rpcs.long_scale:+09.4f}{rpcs.height_scale:+05.0f}"
    for terms in (rpcs.line_num, rpcs.line_den, rpcs.samp_num, rpcs.samp_den):
        for place in order:
            text += re.sub(r"E([+-])0(\d)", r"E\1\2", f"{terms[place]:+.6E}")
    assert len(text) == 1041
    return text


def ichipb(full: list[tuple[float, float]], *, warped: int = 0) -> str:
    """The fields of ICHIPB: where x, y of the chip's corner pixels lie in the full image."""
    width, height = SIZE
    right, bottom = width - 0.5, height - 0.5
    chip = [(0.5, 0.5), (right, 0.5), (0.5, bottom), (right, bottom)]
    text = f"{warped:02d}{1.0:010.5f}0000"
    text += "".join(f"{y:012.3f}{x:012.3f}" for x, y in [*chip, *full])
    return text + f"{5212:08d}{8819:08d}"


def cscrna(corners: list[tuple[float, float]]) -> str:
    """The fields of CSCRNA: lon, lat from the upper left clockwise, and heights."""
    return "Y" + "".join(f"{lat:+09.5f}{lon:+010.5f}{27.1:+08.1f}" for lon, lat in corners)


IGEOLO = "245000N1212900E245000N1212910E244950N1212910E244950N1212900E"
TAIPEI = [(121.48749, 25.0286), (121.68566, 25.01), (121.68595, 24.91148), (121.48975, 24.92772)]


def test_rpcs_of_a_geotiff_are_read(tmp_path: Path) -> None:
    info = write(tmp_path / "a.tif", rpcs=gdal_rpcs(SCENE_RPCS))
    assert info.rpcs == SCENE_RPCS
    assert (info.gcps, info.corners, info.chip, info.unread) == (None, None, None, ())


def test_rpcs_beside_a_geotiff_are_read(tmp_path: Path) -> None:
    write(tmp_path / "b.tif", rpcs=gdal_rpcs(SCENE_RPCS), options={"RPB": "YES"})
    text = write(tmp_path / "c.tif", rpcs=gdal_rpcs(SCENE_RPCS), options={"RPCTXT": "YES"})
    assert (tmp_path / "b.RPB").exists()
    assert (tmp_path / "c_RPC.TXT").exists()
    assert text.rpcs == SCENE_RPCS
    assert open_image(tmp_path / "b.tif").info.rpcs == SCENE_RPCS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SAMP_OFF": None}, "RPCs without SAMP_OFF"),
        ({"LINE_OFF": "far"}, "RPCs that are broken (could not convert string to float: 'far')"),
        ({"LINE_SCALE": "0"}, "RPCs that are broken (line_scale is 0.0)"),
        ({"LINE_NUM_COEFF": "1 2 3"}, "RPCs that are broken (line_num has 3 coefficients, not 20)"),
    ],
)
def test_broken_rpcs_are_told_and_left_out(
    tmp_path: Path, change: Mapping[str, str | None], said: str
) -> None:
    names = gdal_rpcs(SCENE_RPCS).to_gdal() | change
    given = {name: str(value) for name, value in names.items() if value is not None}
    bands = "".join(f'<MDI key="{name}">{value}</MDI>' for name, value in given.items())
    path = tmp_path / "a.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><Metadata domain="RPC">'
        f'{bands}</Metadata><VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
    )
    info = open_image(path).info
    assert info.rpcs is None
    assert info.unread == (said,)


def test_rpc00b_is_read(tmp_path: Path) -> None:
    info = write(tmp_path / "a.ntf", tres={"RPC00B": rpc_tre(SCENE_RPCS)})
    assert info.rpcs == SCENE_RPCS


def test_rpc00a_is_brought_into_the_order_of_rpc00b(tmp_path: Path) -> None:
    info = write(tmp_path / "a.ntf", tres={"RPC00A": rpc_tre(SCENE_RPCS, ORDER_00A)})
    assert info.rpcs == SCENE_RPCS


def test_a_chip_says_where_it_lies_in_the_full_image(tmp_path: Path) -> None:
    full = [(1000.5, 2000.5), (1118.5, 2000.5), (1000.5, 2078.5), (1118.5, 2078.5)]
    tres = {"RPC00B": rpc_tre(SCENE_RPCS), "ICHIPB": ichipb(full)}
    info = write(tmp_path / "a.ntf", tres=tres)
    assert info.rpcs == SCENE_RPCS
    assert info.chip == pytest.approx((2.0, 0.0, 999.5, 0.0, 2.0, 1999.5), abs=1e-9)


def test_a_chip_that_is_the_full_image_is_none(tmp_path: Path) -> None:
    full = [(0.5, 0.5), (59.5, 0.5), (0.5, 39.5), (59.5, 39.5)]
    info = write(tmp_path / "a.ntf", tres={"ICHIPB": ichipb(full)})
    assert (info.chip, info.unread) == (None, ())


def test_a_chip_may_be_turned(tmp_path: Path) -> None:
    full = [(500.5, 100.5), (500.5, 159.5), (461.5, 100.5), (461.5, 159.5)]
    info = write(tmp_path / "a.ntf", tres={"ICHIPB": ichipb(full)})
    assert info.chip == pytest.approx((0.0, -1.0, 501.0, 1.0, 0.0, 100.0), abs=1e-9)


@pytest.mark.parametrize(
    ("tre", "said"),
    [
        (ichipb([(0.5, 0.5)] * 4, warped=1), "ICHIPB of pixels that were warped"),
        (
            ichipb([(0.5, 0.5), (100.5, 0.5), (0.5, 100.5), (150.5, 150.5)]),
            "ICHIPB that is no affine transform",
        ),
        (ichipb([(0.5, 0.5)] * 4)[:100], "ICHIPB of 100 characters, not 224"),
    ],
)
def test_a_chip_that_makes_no_sense_is_told(tmp_path: Path, tre: str, said: str) -> None:
    info = write(tmp_path / "a.ntf", tres={"ICHIPB": tre})
    assert (info.chip, info.unread) == (None, (said,))


def test_rows_and_columns_of_control_points_are_read(tmp_path: Path) -> None:
    gcps = [
        GroundControlPoint(row=3 * i, col=7 * i % 50, x=10 + i, y=50 - i, z=5 * i) for i in range(6)
    ]
    info = write(tmp_path / "a.tif", gcps=gcps, crs="EPSG:4326")
    assert info.gcps is not None
    assert info.gcps.pixels == tuple((float(g.col), float(g.row)) for g in gcps)
    assert info.gcps.ground == tuple((g.x, g.y, g.z) for g in gcps)
    assert "WGS 84" in info.gcps.crs
    assert info.corners is None


def test_four_control_points_are_corners_and_fewer_are_told(tmp_path: Path) -> None:
    gcps = [
        GroundControlPoint(row=y, col=x, x=10 + x, y=50 - y - x)
        for x, y in ((0, 0), (60, 3), (60, 40), (5, 40))
    ]
    four = write(tmp_path / "a.tif", gcps=gcps, crs="EPSG:4326")
    assert four.gcps is None
    assert four.corners is not None
    assert (four.corners.source, four.corners.pixels[1]) == ("GCPs", (60.0, 3.0))
    three = write(tmp_path / "b.tif", gcps=gcps[:3], crs="EPSG:4326")
    assert (three.corners, three.unread) == (None, ("GCPs that are 3 only",))


def test_of_very_many_control_points_some_are_kept(tmp_path: Path) -> None:
    n = MOST_GCPS + 500
    gcps = [GroundControlPoint(row=i % 50, col=i // 50, x=10 + i / n, y=50) for i in range(n)]
    info = write(tmp_path / "a.tif", gcps=gcps, crs="EPSG:4326")
    assert info.gcps is not None
    assert len(set(info.gcps.pixels)) == MOST_GCPS
    assert info.unread == ("500 of 3,000 GCPs",)


def corners_of(info: ImageInfo) -> tuple[str, Any, Any]:
    assert info.corners is not None
    assert "4326" in info.corners.crs
    ground = [place[:2] for place in info.corners.ground]
    return info.corners.source, list(info.corners.pixels), ground


INSET = [(0.5, 0.5), (59.5, 0.5), (59.5, 39.5), (0.5, 39.5)]
OUTER = [(0.0, 0.0), (60.0, 0.0), (60.0, 40.0), (0.0, 40.0)]
BLOCKA = {
    "BLOCKA_BLOCK_COUNT": "01",
    "BLOCKA_BLOCK_INSTANCE_01": "01",
    "BLOCKA_L_LINES_01": "40",
    "BLOCKA_FRFC_LOC_01": "+24.833331+121.483332",
    "BLOCKA_FRLC_LOC_01": "+24.833342+121.486113",
    "BLOCKA_LRLC_LOC_01": "+24.830554+121.486111",
    "BLOCKA_LRFC_LOC_01": "+24.830553+121.483334",
}
BLOCKA_GROUND = [
    (121.483332, 24.833331),
    (121.486113, 24.833342),
    (121.486111, 24.830554),
    (121.483334, 24.830553),
]


def test_whole_seconds_of_igeolo_are_read(tmp_path: Path) -> None:
    info = write(tmp_path / "a.ntf", options={"ICORDS": "G", "IGEOLO": IGEOLO})
    source, pixels, ground = corners_of(info)
    assert (source, pixels) == ("IGEOLO", INSET)
    left, right, top, bottom = 121 + 29 / 60, 121 + 1750 / 3600, 24 + 50 / 60, 24 + 2990 / 3600
    expected = [(left, top), (right, top), (right, bottom), (left, bottom)]
    np.testing.assert_allclose(ground, expected, atol=1e-12)
    assert not info.has_affine


def test_decimal_degrees_of_igeolo_are_read(tmp_path: Path) -> None:
    text = "-24.833-121.483-24.833-121.475-24.840-121.475-24.840-121.483"
    info = write(tmp_path / "a.ntf", options={"ICORDS": "D", "IGEOLO": text})
    source, _, ground = corners_of(info)
    assert source == "IGEOLO"
    assert ground[:2] == [(-121.483, -24.833), (-121.475, -24.833)]


def test_corners_that_span_the_date_line_keep_their_longitudes(tmp_path: Path) -> None:
    text = "200000N1600000E200000N1600000W200000S1600000W200000S1600000E"
    info = write(tmp_path / "a.ntf", options={"ICORDS": "G", "IGEOLO": text})
    assert corners_of(info)[2] == [(160.0, 20.0), (-160.0, 20.0), (-160.0, -20.0), (160.0, -20.0)]


def test_blocka_is_better_than_cscrna_and_that_than_igeolo(tmp_path: Path) -> None:
    options = {"ICORDS": "G", "IGEOLO": IGEOLO}
    tres = {"CSCRNA": cscrna(TAIPEI)}
    info = write(tmp_path / "a.ntf", tres=tres, options=options)
    assert corners_of(info) == ("CSCRNA", OUTER, TAIPEI)
    info = write(tmp_path / "b.ntf", tres=tres, options=options | BLOCKA)
    assert corners_of(info) == ("BLOCKA", INSET, BLOCKA_GROUND)


def test_blocka_in_seconds_is_read(tmp_path: Path) -> None:
    spoken = {
        "BLOCKA_FRFC_LOC_01": "N245000.36E1212900.00",
        "BLOCKA_FRLC_LOC_01": "N245000.00E1212910.00",
        "BLOCKA_LRLC_LOC_01": "N244950.00E1212910.00",
        "BLOCKA_LRFC_LOC_01": "N244950.00E1212900.00",
    }
    options = {"ICORDS": "G", "IGEOLO": IGEOLO} | BLOCKA | spoken
    source, _, ground = corners_of(write(tmp_path / "a.ntf", options=options))
    assert source == "BLOCKA"
    np.testing.assert_allclose(ground[0], (121 + 29 / 60, 24 + 50 / 60 + 0.0001), atol=1e-12)


@pytest.mark.parametrize("lines", ["20", "4²", "4\x1f"])
def test_blocka_of_a_part_of_the_lines_is_no_corner_of_the_image(
    tmp_path: Path, lines: str
) -> None:
    options = {"ICORDS": "G", "IGEOLO": IGEOLO} | BLOCKA | {"BLOCKA_L_LINES_01": lines}
    assert corners_of(write(tmp_path / "a.ntf", options=options))[0] == "IGEOLO"


def test_a_grid_of_metres_is_better_than_corners(tmp_path: Path) -> None:
    transform = rasterio.Affine(0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0)
    info = write(tmp_path / "a.ntf", crs="EPSG:32618", transform=transform)
    assert info.corners is None
    assert info.has_affine


def test_an_image_without_corners_has_none(tmp_path: Path) -> None:
    info = write(tmp_path / "a.ntf")
    assert (info.rpcs, info.gcps, info.corners, info.chip) == (None, None, None, None)
    assert info.unread == ()


def test_replacement_sensor_models_are_kept_without_their_errors(tmp_path: Path) -> None:
    rsm = rsm_fields("R")
    info = write(tmp_path / "a.ntf", tres={**dict(rsm), "RSMECA": "how well it fits"})
    kept = dict(info.rsm)
    assert {name: kept[name].strip() for name in kept} == {
        **{name: fields.strip() for name, fields in rsm},
        "RSMECA": "",
    }
    model, note = pick(info)
    assert isinstance(model, RsmModel)
    assert note == ""


def write_xml(path: Path, xml: str) -> ImageInfo:
    """Header of a NITF image with XML in a data extension."""
    width, height = SAR_SIZE
    extension = f"01U{'':166}000599999{xml}"
    with rasterio.Env(session=DummySession()), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with DatasetWriter(
            str(path),
            "w",
            driver="NITF",
            width=width,
            height=height,
            count=1,
            dtype="uint8",
            DES=f"XML_DATA_CONTENT={extension}",
        ) as dataset:
            dataset.write(np.ones((1, height, width), dtype=np.uint8))
    return open_image(path).info


@pytest.mark.parametrize("xml", [sicd_xml("RGZERO"), sidd_xml()], ids=["SICD", "SIDD"])
def test_radar_metadata_give_place_time_and_name(tmp_path: Path, xml: str) -> None:
    info = write_xml(tmp_path / "a.ntf", xml)
    assert info.unread == ()
    model, note = pick(info)
    assert isinstance(model, SicdModel | SiddModel)
    assert model == type(model).from_image(replace(info, sar=xml))
    assert note == ""
    (source,) = source_metadata(info)
    assert (source["sourceDT"], source["sourceId"]) == ("2024-05-06T07:08:09.5Z", "Made & seen")


def test_headers_carry_no_more_of_radar_metadata_than_geometry(tmp_path: Path) -> None:
    xml = sicd_xml("RGZERO")
    long = '<Antenna a="b"><x>1</x></Antenna>\n <Radiometric/> <s:ValidData>\n<x/></s:ValidData >'
    long += "<IPP><Set><IPPPoly>1</IPPPoly></Set></IPP>"
    info = write_xml(
        tmp_path / "a.ntf",
        xml.replace("<Grid>", f"{long}\n <Grid>").replace("<SICD", '<SICD xmlns:s="x"'),
    )
    assert "Antenna" not in info.sar
    assert "ValidData" not in info.sar
    assert pick(info)[0] == SicdModel.from_image(replace(info, sar=xml))
    assert len(info.sar) < len(xml) + 40


def test_xml_of_something_else_is_no_radar_metadata(tmp_path: Path) -> None:
    info = write_xml(tmp_path / "a.ntf", '<Notes xmlns="urn:SICD:1.3.0"><SIDD/></Notes>')
    assert (info.sar, info.collected, info.collection, info.unread) == ("", "", "", ())


def sar_of(extensions: str, iid1: str = "") -> str:
    """What is read of data extensions, as GDAL tells them."""
    text = f"""<VRTDataset rasterXSize="2" rasterYSize="2"><VRTRasterBand dataType="Byte" band="1"/>
        <Metadata><MDI key="NITF_IID1">{iid1}</MDI></Metadata>
        <Metadata domain="xml:DES" format="xml"><des_list>{extensions}</des_list></Metadata>
        </VRTDataset>"""
    with rasterio.Env(session=DummySession()), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with DatasetReader(text) as dataset:
            return _sar(dataset)


def extension(xml: str) -> str:
    content = f"<xml_content>{xml}</xml_content>"
    return f'<des name="XML_DATA_CONTENT"><field name="DESDATA">{content}</field></des>'


@pytest.mark.parametrize(
    ("iid1", "expected"),
    [("", "one"), ("SIDD001001", "one"), ("SIDD002001", "two"), ("SIDD009001", "two")],
)
def test_a_product_is_told_from_its_sources_and_from_others(iid1: str, expected: str) -> None:
    all_of_it = extension("<SICD>source</SICD>")
    for text in ("one", "two"):
        all_of_it += extension(f'<s:SIDD xmlns:s="urn:SIDD:3.0.0">{text}</s:SIDD>')
    assert f">{expected}</s:SIDD>" in sar_of(all_of_it, iid1)


def test_early_radar_metadata_are_read() -> None:
    encoded = base64.b64encode(b"<SICD>early</SICD>").decode()
    other = '<des name="OTHER"><field name="DESDATA" value="AAAA"/></des>'
    early = '<des name="SICD_XML"><field name="DESVER" value="01"/><field name="DESDATA" value="'
    assert sar_of(f'{other}{early}{encoded}"/></des>') == "<SICD>early</SICD>"
    with pytest.raises(ValueError, match="SICD that is broken"):
        sar_of(f'{early}/w=="/></des>')


@pytest.mark.parametrize("text", ["<IPP>", "<IPP ", "<CollectStart ", "<CollectStart> ", " ", "> "])
def test_hostile_radar_metadata_take_no_longer_than_others(text: str) -> None:
    early = '<des name="SICD_XML"><field name="DESVER" value="01"/><field name="DESDATA" value="'
    hostile = f"<SICD>{text * (2**21 // len(text))}"
    encoded = base64.b64encode(hostile.encode()).decode()
    comment = extension(f"<a><!-- {'<des name=' * 2**17} {early * 2**14} --></a>")
    assert sar_of(f'{early}{encoded}"/></des>{comment}') == hostile
    assert _geometry(hostile).startswith("<SICD>")
    assert _collection({}, hostile)["collected"] == ""


def test_radar_metadata_that_are_too_long_are_not_kept(tmp_path: Path) -> None:
    info = write_xml(tmp_path / "a.ntf", f"<SICD>{'x' * 2**23}</SICD>")
    assert info.sar == ""
    assert info.unread == ("SICD of 8,388,621 characters",)


def test_files_beside_an_image_tell_when_it_was_taken(tmp_path: Path) -> None:
    write(tmp_path / "a.tif")
    (tmp_path / "a.IMD").write_text(
        'BEGIN_GROUP = IMAGE_1\n\tsatId = "WV03";\n\tfirstLineTime = 2015-08-20T11:05:35.1Z;\n'
        "END_GROUP = IMAGE_1\nEND;\n",
        encoding="utf-8",
    )
    (source,) = source_metadata(open_image(tmp_path / "a.tif").info)
    assert source["sourceDT"] == "2015-08-20T11:05:35Z"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sicd/cropped_sicd_040.nitf", ()),
        ("sicd/cropped_sicd_extra_des.nitf", ()),
        ("sidd/cropped_sidd.nitf", ()),
        ("rsm/i_6130a_truncated.ntf", ()),
        ("gcp/byte_gcp.tif", ("GCPs that are 1 only",)),
        ("rpc/wv3_20.NTF", ()),
    ],
)
def test_real_images_tell_what_is_not_read(
    imagery: Path, name: str, expected: tuple[str, ...]
) -> None:
    assert open_image(imagery / name).info.unread == expected


@pytest.mark.parametrize(
    ("name", "source", "first"),
    [
        ("nitf/gdal3453.ntf", "BLOCKA", (67.104637, 36.708764)),
        ("nitf/GHSarNITF21_good.ntf", "BLOCKA", (-118.307983, 39.227486)),
        ("nitf/ns3361c.nsf", "IGEOLO", (-71.05, 42.201)),
        ("nitf/i_3004g.ntf", "IGEOLO", (160.0, 20.0)),
        ("nitf/U_1001A.NTF", "IGEOLO", (85.0, 33.15931667)),  # geocentric
    ],
)
def test_real_corners_are_read(
    imagery: Path, name: str, source: str, first: tuple[float, float]
) -> None:
    corners = open_image(imagery / name).info.corners
    assert corners is not None
    assert corners.source == source
    np.testing.assert_allclose(corners.ground[0][:2], first, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["nitf/bug3337.ntf", "nitf/autzen-utm10.ntf"])
def test_real_charts_and_grids_keep_their_transform(imagery: Path, name: str) -> None:
    info = open_image(imagery / name).info
    assert info.corners is None
    assert info.has_affine
