"""Zarr stores: shards, stores that change or are broken, and buckets."""

import pickle
import shutil
from pathlib import Path

import numcodecs  # type: ignore[import-untyped]  # comes with zarr
import numpy as np
import pytest
import xarray as xr

from daskmr.core.grid import Window
from daskmr.errors import ImageError, ImageReadError, SourceChangedError
from daskmr.image import open_image
from daskmr.image.zarr import ZarrSource

PIXELS = np.random.default_rng(2).integers(0, 999, (3, 100, 140), dtype=np.uint16)
PART = Window(row=13, col=40, height=50, width=64)
CUT = PIXELS[:, 13:63, 40:104]


def dataset() -> xr.Dataset:
    return xr.DataArray(PIXELS, dims=("band", "y", "x")).to_dataset(name="image")


def test_shards_are_read_in_their_chunks(tmp_path: Path) -> None:
    shards = {"image": {"chunks": (3, 16, 32), "shards": (3, 64, 64)}}
    dataset().to_zarr(tmp_path / "x.zarr", zarr_format=3, consolidated=False, encoding=shards)
    image = open_image(tmp_path / "x.zarr")
    assert (image.info.block_height, image.info.block_width) == (16, 32)
    assert image.source is not None
    assert np.array_equal(image.source.read(PART), CUT)
    assert np.array_equal(image.chunked((20, 30), (10, 54), window=PART).values, CUT)


def test_values_are_not_scaled(tmp_path: Path) -> None:
    scaled = dataset()
    scaled["image"].attrs.update(scale_factor=0.1, add_offset=5.0, _FillValue=np.uint16(7))
    scaled.to_zarr(tmp_path / "x.zarr", consolidated=False)
    image = open_image(tmp_path / "x.zarr")
    assert (image.info.dtype, image.info.nodata) == ("uint16", 7.0)
    assert image.source is not None
    assert np.array_equal(image.source.read(PART), CUT)


def test_a_chunk_that_is_not_stored_reads_as_the_fill_value(tmp_path: Path) -> None:
    dataset().to_zarr(
        tmp_path / "x.zarr",
        zarr_format=2,
        consolidated=False,
        encoding={"image": {"chunks": (3, 32, 32), "_FillValue": 7}},
    )
    (tmp_path / "x.zarr" / "image" / "0.0.1").unlink()
    source = ZarrSource(url=f"{tmp_path}/x.zarr")
    found = source.read(Window(row=0, col=0, height=32, width=64))
    assert np.array_equal(found[:, :, :32], PIXELS[:, :32, :32])
    assert np.unique(found[:, :, 32:]).tolist() == [7]


def test_a_store_written_anew_is_opened_anew_and_not_read_by_an_old_plan(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    dataset().to_zarr(store, consolidated=False)
    planned = open_image(store).source
    shutil.rmtree(store)
    dataset().isel(y=slice(0, 70)).to_zarr(store, consolidated=False)
    assert open_image(store).info.height == 70
    assert planned is not None
    with pytest.raises(SourceChangedError, match="changed since it was planned"):
        planned.read(PART)


def test_a_source_pickles(tmp_path: Path) -> None:
    dataset().to_zarr(tmp_path / "x.zarr", consolidated=False)
    source = open_image(tmp_path / "x.zarr").source
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
    assert copy == source
    assert np.array_equal(copy.read(PART), CUT)


@pytest.mark.parametrize(
    "codec", [numcodecs.Zlib(), numcodecs.GZip(), numcodecs.LZMA(), numcodecs.Blosc(), None]
)
def test_a_broken_chunk_names_store_and_window_whatever_the_codec(
    codec: object, tmp_path: Path
) -> None:
    store = tmp_path / "x.zarr"
    encoding = {"image": {"compressors": codec}}
    dataset().to_zarr(store, zarr_format=2, consolidated=False, encoding=encoding)
    chunks = [path for path in (store / "image").iterdir() if not path.name.startswith(".")]
    for path in chunks:
        path.write_bytes(b"broken!")
    source = open_image(store).source
    assert chunks
    assert source is not None
    with pytest.raises(ImageReadError, match=r"x\.zarr: cannot read rows 13 to 63, columns 40"):
        source.read(PART)


@pytest.mark.parametrize("text", ["{nope", "[]", '{"zarr_format": 3}'])
def test_broken_metadata_names_the_store(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "zarr.json").write_text(text)
    with pytest.raises(ImageError, match=r"x\.zarr: "):
        open_image(tmp_path / "x.zarr")


def test_a_refusal_names_the_store(tmp_path: Path) -> None:
    many = xr.DataArray(np.zeros((513, 2, 2), np.uint8), dims=("band", "y", "x"))
    many.to_dataset(name="image").to_zarr(tmp_path / "x.zarr", consolidated=False)
    with pytest.raises(ImageError, match=r"x\.zarr: 513 bands, more than 512"):
        open_image(tmp_path / "x.zarr")


@pytest.mark.usefixtures("s3")
def test_a_store_in_a_bucket_is_read() -> None:
    dataset().to_zarr("s3://bucket/x.zarr", consolidated=False)
    image = open_image("s3://bucket/x.zarr#image")
    assert (image.info.height, image.info.driver) == (100, "Zarr")
    assert image.source is not None
    assert np.array_equal(image.source.read(PART), CUT)
    with pytest.raises(ImageError, match=r"s3://bucket/none\.zarr"):
        open_image("s3://bucket/none.zarr")
