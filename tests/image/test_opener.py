"""The one door: what is opened, what is refused, and that a hardened process leaks nothing."""

import os
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from daskmr.errors import ImageError, ImageUnreachableError
from daskmr.image import open_image
from daskmr.image import opener as opener_module
from daskmr.image.opener import Door, Trust
from daskmr.testing.images import write_image, writing
from daskmr.testing.numbered import write_numbered
from daskmr.testing.servers import saying, serving

UNTRUSTED = Door(
    trust=Trust.UNTRUSTED, roots=("/data/images",), hosts=("good.example",), buckets=("good",)
)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("s3://good/some/key.tif", "/vsis3/good/some/key.tif"),
        ("https://good.example/a/b.tif", "/vsicurl/https://good.example/a/b.tif"),
    ],
)
def test_urls_become_gdals_own_paths(url: str, path: str) -> None:
    assert Door().gdal_path(url) == path
    assert UNTRUSTED.gdal_path(url) == path


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/vsicurl/http://169.254.169.254/",
        "/vsis3/bucket/key",
        "/vsimem/x",
        "<VRTDataset></VRTDataset>",
        "NITF_IM:0:/etc/hostname",
        "GTIFF_DIR:1:x.tif",
        "GTIFF_RAW:x.tif",
        "HDF5:x.h5://data",
        "vrt://x.tif?bands=1",
        "WMS:http://host/",
        "ftp://host/x.tif",
        "gs://bucket/key",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/../other/key",
        "s3://bucket/key?x=.tif",
        "s3://bucket/a&b",
        "s3://bucket/a#b",
        "s3://two words/key",
        "https:///path",
        "https://user:password@host/x.tif",
        "https://169.254.169.254\\@good.example/",
        "https://[good.example/x.tif",
        "https://[::1/x.tif",
        "file://other.example/etc/hostname",
        "file://[/x.tif",
        "x\n.tif",
        "x\0.tif",
    ],
)
def test_what_is_no_plain_url_is_refused_on_both_levels(url: str) -> None:
    for door in (Door(), UNTRUSTED):
        with pytest.raises(ImageError) as caught:
            door.gdal_path(url)
        assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example/x.tif",
        "https://evil.example/x.tif",
        "https://good.example.evil/x.tif",
        "https://good.example/x.tif?token=1",
        "https://good.example:8443/x.tif",
        "s3://evil/key",
        "/etc/hostname",
        "/data/images/../secrets",
        "file:///etc/hostname",
        "relative.tif",
    ],
)
def test_untrusted_urls_stay_on_the_lists(url: str) -> None:
    with pytest.raises(ImageError):
        UNTRUSTED.gdal_path(url)


def test_a_file_url_may_hold_escaped_characters(tmp_path: Path) -> None:
    path = tmp_path / "ä b%.tif"
    path.write_text("x")
    assert "%" in path.as_uri().removesuffix(".tif")
    assert Door().gdal_path(path.as_uri()) == str(path)


def test_paths_that_the_file_system_cannot_follow_are_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop.tif"
    loop.symlink_to(loop)
    for path in (loop, tmp_path / ("a" * 5000), f"{tmp_path}/<VRTDataset>{'x' * 5000}"):
        with pytest.raises(ImageError, match="not a path that can be followed"):
            open_image(path)


def test_a_refusal_tells_no_secret_and_no_control_character(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        Door().open("http://127.0.0.1:1/x.tif?X-Amz-Signature=secret")
    assert "http://127.0.0.1:1/x.tif: cannot be reached" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(ImageError) as caught:
        open_image(f"{tmp_path}/x.tif\nERROR all is lost")
    assert str(caught.value).isprintable()


def test_links_out_of_an_allowed_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "root" / "file").write_text("x")
    door = Door(trust=Trust.UNTRUSTED, roots=(str(tmp_path / "root"),))
    assert door.gdal_path(str(tmp_path / "root" / "file")).endswith("root/file")
    with pytest.raises(ImageError, match="not below a folder"):
        door.gdal_path(str(tmp_path / "root" / "link"))


def test_files_that_are_not_there_or_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nothing\.tif: no such file"):
        Door().open(str(tmp_path / "nothing.tif"))
    with pytest.raises(ImageError, match="folder"):
        Door().open(str(tmp_path))


def test_bands_of_different_types_are_refused(tmp_path: Path) -> None:
    bands = []
    for number, (kind, dtype) in enumerate([("Byte", "uint8"), ("UInt16", "uint16")], 1):
        path = write_image(tmp_path / f"{dtype}.tif", np.ones((1, 8, 8), dtype))
        bands.append(
            f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource>'
            f"<SourceFilename>{path}</SourceFilename></SimpleSource></VRTRasterBand>"
        )
    mixed = tmp_path / "mixed.vrt"
    mixed.write_text(f'<VRTDataset rasterXSize="8" rasterYSize="8">{"".join(bands)}</VRTDataset>')
    with pytest.raises(ImageError, match=r"different types \(uint8, uint16\)"):
        Door().open(str(mixed))


def test_images_beyond_the_caps_are_refused_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_image(tmp_path / "x.tif", np.zeros((5, 64, 64), np.uint16))
    monkeypatch.setattr(opener_module, "MAX_BANDS", 4)
    with pytest.raises(ImageError, match="5 bands, more than 4"):
        Door().open(str(path))
    monkeypatch.undo()
    profile = {"driver": "GTiff", "height": 2048, "width": 2048, "count": 3, "dtype": "uint8"}
    tiled = {"tiled": True, "blockxsize": 1024, "blockysize": 1024, "interleave": "pixel"}
    with writing(tmp_path / "bomb.tif", {**profile, **tiled}):
        pass
    monkeypatch.setattr(opener_module, "MAX_BLOCK_BYTES", 3 * 1024 * 1024 - 1)
    with pytest.raises(ImageError, match="1024x1024 take 3,145,728 bytes"):
        Door().open(str(tmp_path / "bomb.tif"))


HARDENED = """
import sys, warnings
import numpy as np
from daskmr.core.grid import Window
from daskmr.errors import ImageError
from daskmr.image import Door, Trust, open_image

door = Door(trust=Trust.UNTRUSTED, roots=(sys.argv[1],))
for path in sys.argv[2:]:
    try:
        image = open_image(path, door=door)
        pixels = image.source.read(Window(row=0, col=0, height=4, width=4))
        print("READ", pixels.tobytes()[:16])
    except ImageError as error:
        print("REFUSED", error)
"""

RAW = """<VRTDataset rasterXSize="4" rasterYSize="4">
<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
<SourceFilename relativetoVRT="0">{secret}</SourceFilename>
<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>4</LineOffset>
</VRTRasterBand></VRTDataset>"""


def hardened(folder: Path, *paths: object) -> dict[str, str]:
    """What a fresh, hardened process makes of each path."""
    finished = subprocess.run(
        [sys.executable, "-c", HARDENED, str(folder), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE": "ALL"},
    )
    assert "TOPSECRET" not in finished.stdout + finished.stderr
    words = [line.split()[0] for line in finished.stdout.splitlines()]
    return {str(path): word for path, word in zip(paths, words, strict=True)}


def test_a_hardened_process_opens_images_and_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("TOPSECRET" * 4)
    text = RAW.format(secret=secret)
    evil = []
    for name in ("evil.vrt", "disguised.tif"):
        (tmp_path / name).write_text(text)
        evil.append(tmp_path / name)
    inline = text.replace("\n", " ")
    strings = [inline, f"vrt://{tmp_path}/evil.vrt", f"GTIFF_DIR:1:{tmp_path}/good.tif"]
    pixels = np.full((1, 16, 16), 9, np.uint8)
    good = [
        write_image(tmp_path / f"good.{suffix}", pixels, driver=driver)
        for suffix, driver in [
            ("tif", "GTiff"),
            ("ntf", "NITF"),
            ("png", "PNG"),
            ("jpg", "JPEG"),
            ("jp2", "JP2OpenJPEG"),
        ]
    ]
    found = hardened(tmp_path, *evil, *strings, *good)
    assert found == {
        **{str(path): "REFUSED" for path in (*evil, *strings)},
        **{str(path): "READ" for path in good},
    }


def test_a_file_cannot_name_another_one_as_its_overview(tmp_path: Path) -> None:
    pixels = np.full((1, 16, 16), 9, np.uint8)
    other = write_image(tmp_path / "other.tif", np.full((1, 8, 8), 7, np.uint8))
    path = write_image(tmp_path / "x.tif", pixels)
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.Env(), rasterio.io.DatasetWriter(str(path), "r+") as dataset:
            dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(other))
    assert hardened(tmp_path, path) == {str(path): "READ"}


def test_a_process_that_has_used_gdal_cannot_be_hardened(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", np.zeros((1, 8, 8), np.uint8))
    code = (
        "import sys\nfrom daskmr.image import Door, Trust, open_image\n"
        "from daskmr.errors import ImageError\nopen_image(sys.argv[1])\n"
        "try:\n    open_image(sys.argv[1], door=Door(trust=Trust.UNTRUSTED, roots=('/',)))\n"
        "except ImageError as error:\n    print(error)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "GDAL was already used in this process" in finished.stdout


def test_multi_and_zero_image_files_are_refused_clearly(imagery: Path) -> None:
    for name in ("ns3059a.nsf", "ns3101b.nsf"):
        with pytest.raises(ImageError, match="holds no image"):
            Door().open(str(imagery / "nitf" / name))


def test_real_files_open_or_are_refused_and_nothing_else(imagery: Path) -> None:
    opened: list[Any] = []
    for folder in ("affine", "nitf", "nitf_j2k", "gcp", "nogeo", "sicd", "sidd"):
        for path in sorted((imagery / folder).iterdir()):
            if path.suffix not in {".xml", ".md"}:
                with suppress(ImageError):
                    opened.append(open_image(path).info)
    assert len(opened) > 50
    assert all(info.height >= 1 and info.bands >= 1 for info in opened)


def test_masks_are_traced_in_a_process_that_is_hardened() -> None:
    """Vector drivers are gone from it, but for the one in memory that tracing needs."""
    script = """
import numpy as np
from daskmr.core.grid import Size
from daskmr.decode import AnswerForm
from daskmr.decode.answers import decode
from daskmr.image.opener import harden_process
harden_process()
mask = np.zeros((1, 8, 8), bool)
mask[0, 2:5, 1:7] = True
answer = {"masks": mask, "scores": np.array([0.5])}
(box,) = decode(answer, tile=Size.parse(8), form=AnswerForm()).boxes
print(box.tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1.0, 2.0, 7.0, 5.0]\n"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(503, ImageUnreachableError), (429, ImageUnreachableError), (404, ImageError)],
)
def test_a_server_that_is_away_is_told_from_an_image_that_is_missing(
    status: int, kind: type[ImageError]
) -> None:
    with serving(saying(status)) as server, pytest.raises(ImageError) as caught:
        Door().open(server.url.replace("invocations", "x.tif"))
    assert type(caught.value) is kind


def test_a_server_that_came_back_is_read_although_gdal_remembers_that_it_was_away(
    tmp_path: Path,
) -> None:
    content = Path(write_numbered(tmp_path / "x.tif", 2)).read_bytes()
    statuses = {"now": 503}

    async def answer(request: web.Request, _number: int) -> web.StreamResponse:
        if statuses["now"] != 200:
            return web.Response(status=statuses["now"])
        if request.method == "HEAD":
            return web.Response(body=content)
        start, _, stop = (
            request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        )
        part = content[int(start) : int(stop or len(content)) + 1]
        place = f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"
        return web.Response(status=206, body=part, headers={"Content-Range": place})

    with serving(answer) as server:
        url = server.url.replace("invocations", "x.tif")
        with pytest.raises(ImageUnreachableError):
            Door().open(url)
        statuses["now"] = 200
        with Door().open(url) as dataset:
            assert dataset.shape == (64, 64)
