"""Every kind of image is opened in the same way and gives the same windows."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daskmr.core.grid import Window
from daskmr.errors import ImageError
from daskmr.image import Door, Image, Trust, open_image
from daskmr.testing.images import HALF_METRE, UTM, write_image

PIXELS = np.random.default_rng(1).integers(0, 999, (3, 90, 130), dtype=np.uint16)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    folder = tmp_path_factory.mktemp("a folder")
    file = write_image(
        folder / "a b.tif",
        PIXELS,
        crs=UTM,
        transform=HALF_METRE,
        tiled=True,
        blockxsize=32,
        blockysize=16,
    )
    raster = open_image(file)
    store = folder / "a b.zarr"
    data = raster.data.chunk({"band": 1, "y": 16, "x": 32})
    data.to_dataset(name="image").to_zarr(store, consolidated=False)
    return [raster, open_image(store), open_image(data)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_every_window_is_the_same_part_of_the_whole(
    images: list[Image], drawn: st.DataObject
) -> None:
    row, col = drawn.draw(st.integers(0, 87)), drawn.draw(st.integers(0, 127))
    height = drawn.draw(st.integers(2, 90 - row))
    width = drawn.draw(st.integers(2, 130 - col))
    window = Window(row=row, col=col, height=height, width=width)
    expected = PIXELS[:, row : row + height, col : col + width]
    rows, cols = (height - 1, 1), (1, width - 1)
    for image in images:
        cut = image.chunked(rows, cols, window=window)
        assert cut.chunks == ((3,), rows, cols)
        assert np.array_equal(cut.values, expected)
        if image.source is not None:
            assert np.array_equal(image.source.read(window), expected)


def test_every_kind_has_the_same_place_and_all_bands_in_one_chunk(images: list[Image]) -> None:
    for image in images:
        assert image.info.transform == HALF_METRE
        assert image.info.crs == images[0].info.crs
        assert image.data.chunks[0] == (3,)
        assert (image.info.block_height, image.info.block_width) == (16, 32)


@pytest.mark.parametrize("index", [0, 1])
def test_a_path_may_be_spelled_in_any_way(
    index: int, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(images[index].info.url)
    monkeypatch.chdir(path.parent)
    for spelling in (str(path), path, path.as_uri(), path.name):
        image = open_image(spelling)
        assert image.info.url == os.fspath(spelling)
        assert image.source == images[index].source


def test_a_zarr_store_is_refused_to_a_url_that_is_not_trusted(images: list[Image]) -> None:
    store = images[1].info.url
    door = Door(trust=Trust.UNTRUSTED, roots=(str(Path(store).parent),), buckets=("b",))
    for url in (store, f"{store}#image", "s3://b/x.zarr", Path(store).as_uri()):
        with pytest.raises(ImageError, match="trusted URLs only"):
            open_image(url, door=door)
    with pytest.raises(ImageError, match=r"^https://host/x\.zarr: a Zarr"):
        open_image("https://me:secret@host/x.zarr", door=door)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.tif"):
        open_image(tmp_path / "none.tif")
    with pytest.raises(ImageError, match=r"none\.zarr"):
        open_image(tmp_path / "none.zarr")
