"""Tiles of SICD and SIDD images: files of their own standard that lie where they were cut out."""

import io
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import jbpy
import numpy as np
import pytest
import sarkit.sicd
from lxml import etree
from sarkit.verification import SicdConsistency, SiddConsistency

import daskmr
from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.core.preparation import Recipe, prepared_info, scaled_info
from daskmr.encode import encoder
from daskmr.encode.base import PlacedTileEncoder
from daskmr.errors import EncodeError, RequestError
from daskmr.geolocate import pick
from daskmr.geolocate.base import Points, SensorModel
from daskmr.image.base import Source
from daskmr.models._tiles import read_tile
from daskmr.testing.contracts_encode import image, noise
from daskmr.testing.contracts_geolocate import SAR_SIZE, sicd_xml, sidd_xml
from daskmr.testing.servers import EMPTY, saying, serving

WINDOW = Window(row=200, col=100, height=48, width=64)
_ICP = ("1:FRFC", "2:FRLC", "3:LRLC", "4:LRFC")


def corners_of(prefix: str = "") -> str:
    places = zip(_ICP, [(1, 2), (1, 3), (0, 3), (0, 2)], strict=True)
    return "".join(
        f'<ICP index="{name}"><{prefix}Lat>{lat}</{prefix}Lat>'
        f"<{prefix}Lon>{lon}</{prefix}Lon></ICP>"
        for name, (lat, lon) in places
    )


def full_sicd(kind: str = "RE32F_IM32F", **how: Any) -> str:
    """What is in a document besides its geometry."""
    return (
        sicd_xml("RGZERO", **how)
        .replace("<ImageData>", f"<ImageData><PixelType>{kind}</PixelType>")
        .replace("</GeoData>", f"<ImageCorners>{corners_of()}</ImageCorners></GeoData>")
    )


def full_sidd(kind: str = "MONO8I", **how: Any) -> str:
    valid = "".join(
        f'<Vertex index="{i}"><si:Lat>{i}</si:Lat><si:Lon>1</si:Lon></Vertex>' for i in (1, 2, 3)
    )
    return (
        sidd_xml(**how)
        .replace(
            "<Measurement>",
            f"<Display><PixelType>{kind}</PixelType></Display><GeoData><ImageCorners>"
            f'{corners_of("si:")}</ImageCorners><ValidData size="3">{valid}</ValidData></GeoData>'
            "<Measurement>",
            1,
        )
        .replace("<Information>", "<Information><SensorName>Eye</SensorName>")
    )


def radar_image(xml: str, dtype: str, bands: int) -> ImageInfo:
    """Header of an image with such metadata."""
    width, height = SAR_SIZE
    bare = replace(image(dtype, bands), crs=None, transform=None, driver="NITF")
    document = zlib.compress(xml.encode())
    return replace(bare, height=height, width=width, sar=xml, document=document)


def model_of(info: ImageInfo) -> SensorModel:
    found, why = pick(info)
    assert found is not None, why
    return found


def tile_of(pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
    first = np.array([window.col, window.row])
    right, bottom = window.width - 0.5, window.height - 0.5
    centres = np.array([(0.5, 0.5), (right, 0.5), (right, bottom), (0.5, bottom)])
    corners = model_of(info).to_world(centres + first)[:, :2]
    made = encoder("NITF", "NONE")
    assert isinstance(made, PlacedTileEncoder)
    made.check(info)
    return made.encode_placed(pixels, info, window, corners=corners)


def opened(payload: bytes, path: Path) -> tuple[ImageInfo, Source]:
    path.write_bytes(payload)
    found = daskmr.open_image(str(path))
    assert found.source is not None
    return found.info, found.source


def off_px(info: ImageInfo, tile: ImageInfo, window: Window) -> float:
    """How far apart an image and a tile of it see the same ground, in pixels."""
    rng = np.random.default_rng(0)
    inside: Points = rng.uniform(0, 1, (200, 2)) * [window.width, window.height]
    ground = model_of(info).to_world(inside + np.array([window.col, window.row]))
    return float(np.abs(model_of(tile).to_image(ground) - inside).max())


def by_pixel(payload: bytes, name: str, like: Pixels) -> Pixels:
    """Pixels of the one image of a file that stores them pixel by pixel."""
    jbp = jbpy.Jbp()
    jbp.load(io.BytesIO(payload))  # type: ignore[arg-type]
    (segment,) = jbp["ImageSegments"]
    header = segment["subheader"]
    assert (header["IID1"].value, header["ICAT"].value) == (name, "SAR")
    assert header["IMODE"].value == ("B" if len(like) == 1 else "P")
    stored = like.dtype.newbyteorder(">")
    start = segment["Data"].get_offset()
    bands, height, width = like.shape
    flat = np.frombuffer(payload, stored, count=like.size, offset=start)
    found: Pixels = np.moveaxis(flat.reshape(height, width, bands), -1, 0)
    return found


def metadata_of(payload: bytes) -> Any:
    with sarkit.sicd.NitfReader(io.BytesIO(payload)) as reader:
        return reader.metadata.xmltree


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("RE32F_IM32F", "float32"), ("RE16I_IM16I", "int16"), ("AMP8I_PHS8I", "uint8")],
)
def test_a_tile_of_sicd_is_sicd(tmp_path: Path, kind: str, dtype: str) -> None:
    info = radar_image(full_sicd(kind), dtype, 2)
    pixels = noise(dtype, (2, WINDOW.height, WINDOW.width))
    payload = tile_of(pixels, info, WINDOW)
    np.testing.assert_array_equal(by_pixel(payload, "SICD000", pixels), pixels)
    tile, source = opened(payload, tmp_path / "tile.ntf")
    whole = Window(row=0, col=0, height=WINDOW.height, width=WINDOW.width)
    np.testing.assert_array_equal(source.read(whole), pixels)
    np.testing.assert_array_equal(daskmr.open_image(str(tmp_path / "tile.ntf")).data, pixels)
    np.testing.assert_array_equal(read_tile(payload), pixels)
    assert off_px(info, tile, WINDOW) < 1e-3
    assert len(payload) <= encoder("NITF", "NONE").payload_bytes(info, Size(height=48, width=64))


@pytest.mark.parametrize(
    ("kind", "dtype", "bands"),
    [("MONO8I", "uint8", 1), ("MONO16I", "uint16", 1), ("RGB24I", "uint8", 3)],
)
def test_a_tile_of_sidd_is_sidd(tmp_path: Path, kind: str, dtype: str, bands: int) -> None:
    info = radar_image(full_sidd(kind), dtype, bands)
    pixels = noise(dtype, (bands, WINDOW.height, WINDOW.width))
    payload = tile_of(pixels, info, WINDOW)
    np.testing.assert_array_equal(by_pixel(payload, "SIDD001001", pixels), pixels)
    tile, source = opened(payload, tmp_path / "tile.ntf")
    whole = Window(row=0, col=0, height=WINDOW.height, width=WINDOW.width)
    np.testing.assert_array_equal(source.read(whole), pixels)
    assert off_px(info, tile, WINDOW) < 1e-3


def test_tiles_of_sicd_add_to_the_cut_of_their_image_and_not_to_one_another() -> None:  # S8
    pixels = noise("float32", (2, 512, 512))
    window = Window(row=200, col=100, height=512, width=512)
    for first, expected in {(0, 0): (200, 100), (30, 7): (207, 130)}.items():
        info = radar_image(full_sicd(first=first), "float32", 2)
        for _ in range(2):
            cut = metadata_of(tile_of(pixels, info, window)).getroot().find("{*}ImageData")
            names = ("FirstRow", "FirstCol", "NumRows", "NumCols")
            found = tuple(int(cut.findtext(f"{{*}}{name}")) for name in names)
            assert found == (*expected, 512, 512)


def test_a_tile_of_a_chip_of_sidd_lies_in_the_product(tmp_path: Path) -> None:
    info = radar_image(full_sidd(), "uint8", 1)
    whole = Window(row=300, col=200, height=100, width=120)
    chip, _ = opened(tile_of(noise("uint8", (1, 100, 120)), info, whole), tmp_path / "chip.ntf")
    inner = Window(row=10, col=20, height=32, width=40)
    tile, _ = opened(tile_of(noise("uint8", (1, 32, 40)), chip, inner), tmp_path / "tile.ntf")
    assert off_px(info, tile, Window(row=310, col=220, height=32, width=40)) < 1e-3


def test_corners_of_a_tile_stand_in_its_header(tmp_path: Path) -> None:
    info = radar_image(full_sicd(), "float32", 2)
    payload = tile_of(noise("float32", (2, 48, 64)), info, WINDOW)
    tile, _ = opened(payload, tmp_path / "tile.ntf")
    assert tile.corners is not None
    centres = np.array(tile.corners.pixels) + np.array([WINDOW.col, WINDOW.row])
    expected = model_of(info).to_world(centres)[:, :2]
    assert tile.corners.source == "IGEOLO"
    np.testing.assert_allclose(np.array(tile.corners.ground)[:, :2], expected, atol=0.51 / 3600)
    xml = sarkit.sicd.XmlHelper(metadata_of(payload)).load("./{*}GeoData/{*}ImageCorners")
    np.testing.assert_allclose(xml[:, ::-1], expected, atol=1e-9)


def test_the_same_tile_has_the_same_bytes() -> None:
    info = radar_image(full_sicd(), "float32", 2)
    pixels = noise("float32", (2, 48, 64))
    assert tile_of(pixels, info, WINDOW) == tile_of(pixels, info, WINDOW)


def test_compressed_tiles_are_plain(tmp_path: Path) -> None:
    info = radar_image(full_sidd(), "uint8", 1)
    made = encoder("NITF", "J2K")
    made.check(info)
    tile, _ = opened(made.encode(noise("uint8", (1, 48, 64)), info, WINDOW), tmp_path / "tile.ntf")
    assert tile.sar == ""


def test_what_cannot_be_carried_is_refused_at_plan_time() -> None:
    made = encoder("NITF", "NONE")
    with pytest.raises(RequestError, match="PixelType RE16I_IM16I of 2 bands of float32; choose"):
        made.check(radar_image(full_sicd("RE16I_IM16I"), "float32", 2))
    with pytest.raises(RequestError, match=r"SICD or SIDD: .*; choose another tile format"):
        made.check(radar_image(sicd_xml("RGZERO"), "float32", 2))
    assert isinstance(made, PlacedTileEncoder)
    with pytest.raises(EncodeError, match="tile at row 200, column 100"):
        made.encode_placed(
            noise("float32", (2, 48, 64)), radar_image(sidd_xml(), "float32", 2), WINDOW,
            corners=np.ones((4, 2)),
        )  # fmt: skip


def test_changed_pixels_carry_no_radar_metadata() -> None:
    info = radar_image(full_sicd(), "float32", 2)
    one_band = prepared_info(Recipe(bands=(1,)), info, (1.0, 1.0))
    assert (one_band.document, scaled_info(info, (2.0, 2.0)).document) == (b"", b"")


def test_a_job_sends_tiles_that_say_where_they_were_cut_out(tmp_path: Path, client: Any) -> None:
    info = radar_image(full_sicd(first=(30, 7)), "float32", 2)
    whole = Window(row=0, col=0, height=96, width=128)
    scene = tmp_path / "scene.ntf"
    scene.write_bytes(tile_of(noise("float32", (2, 96, 128)), info, whole))
    with serving(saying(EMPTY)) as server:
        daskmr.run(
            str(scene), server.url, tile_size=64, overlap=0, tile_format="NITF", client=client
        )
    cuts = [metadata_of(body).getroot().find("{*}ImageData") for _, body in server.requests]
    found = {tuple(int(c.findtext(f"{{*}}First{a}")) for a in ("Row", "Col")) for c in cuts}
    assert found == {(7, 30), (7, 94), (39, 30), (39, 94)}


def failures(checker: Any) -> set[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checker.check()
    return set(checker.failures())


@pytest.mark.parametrize(
    "name",
    [f"example-sicd-{version}" for version in ("1.1.0", "1.2.1", "1.3.0")]
    + [f"example.sicd121.{kind}" for kind in ("pfa", "rma", "capella")],
)
def test_tiles_of_published_sicd_are_consistent(imagery: Path, tmp_path: Path, name: str) -> None:
    xml = (imagery / "sar_xml" / f"{name}.xml").read_text()
    root = etree.fromstring(xml.encode())
    size = {axis: int(root.findtext(f"{{*}}ImageData/{{*}}Num{axis}s")) for axis in ("Row", "Col")}
    kind = root.findtext("{*}ImageData/{*}PixelType")
    dtype = {"RE32F_IM32F": "float32", "RE16I_IM16I": "int16"}[kind]
    bare = replace(radar_image(xml, dtype, 2), height=size["Row"], width=size["Col"])
    window = Window(row=size["Row"] // 3, col=size["Col"] // 4, height=40, width=50)
    payload = tile_of(noise(dtype, (2, 40, 50)), bare, window)
    path = tmp_path / "tile.ntf"
    path.write_bytes(payload)
    with path.open("rb") as file:
        found = failures(SicdConsistency.from_file(file))
    assert found <= failures(SicdConsistency.from_parts(root.getroottree()))
    tile = daskmr.open_image(str(path)).info
    assert off_px(bare, tile, window) < 1e-3


@pytest.mark.parametrize("name", ["example.sidd", "example.sidd-chip"])
def test_tiles_of_published_sidd_are_consistent(imagery: Path, tmp_path: Path, name: str) -> None:
    xml = (imagery / "sar_xml" / f"{name}.xml").read_text()
    root = etree.fromstring(xml.encode())
    path = "{*}DownstreamReprocessing/{*}GeometricChip/{*}ChipSize"
    if root.find(path) is None:
        path = "{*}Measurement/{*}PixelFootprint"
    rows, cols = (int(root.findtext(f"{path}/{{*}}{axis}")) for axis in ("Row", "Col"))
    kind = root.findtext("{*}Display/{*}PixelType")
    dtype, bands = {"MONO8I": ("uint8", 1), "MONO16I": ("uint16", 1), "RGB24I": ("uint8", 3)}[kind]
    info = replace(radar_image(xml, dtype, bands), height=rows, width=cols)
    window = Window(row=rows // 3, col=cols // 4, height=40, width=50)
    file = tmp_path / "tile.ntf"
    file.write_bytes(tile_of(noise(dtype, (bands, 40, 50)), info, window))
    with file.open("rb") as handle:
        found = failures(SiddConsistency.from_file(handle))
    found -= {"check_geodata_image_corners_image000"}  # knows nothing of geometric chips
    assert found <= failures(SiddConsistency.from_parts([root.getroottree()]))
    assert off_px(info, daskmr.open_image(str(file)).info, window) < 1e-3


@pytest.mark.parametrize("version", ["040", "041", "100", "101", "120", "extra_des"])
def test_tiles_of_real_files_of_all_versions_lie_right(
    imagery: Path, tmp_path: Path, version: str
) -> None:
    image = daskmr.open_image(str(imagery / "sicd" / f"cropped_sicd_{version}.nitf"))
    assert image.source is not None
    window = Window(row=1, col=2, height=3, width=3)
    tile, source = opened(
        tile_of(image.source.read(window), image.info, window), tmp_path / "t.ntf"
    )
    assert off_px(image.info, tile, window) < 1e-3
    np.testing.assert_array_equal(
        source.read(Window(row=0, col=0, height=3, width=3)), image.source.read(window)
    )
