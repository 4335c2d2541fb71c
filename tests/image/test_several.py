"""Files that hold several images, one of which is picked."""

import uuid
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.io import DatasetWriter

import daskmr
from daskmr.core.grid import Window
from daskmr.core.imagery import Pixels
from daskmr.errors import ImageError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
FIRST = np.arange(2 * 30 * 40).reshape(2, 30, 40).astype("uint16")
SECOND = (np.arange(50 * 60) % 251).reshape(1, 50, 60).astype("uint8")


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = str(tmp_path / "two.ntf")
    append(FIRST, file, NUMI="2")
    append(SECOND, file, APPEND_SUBDATASET="YES")
    return file


def append(pixels: Pixels, file: str, **options: str) -> None:
    bands, height, width = pixels.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": pixels.dtype.name}
    with rasterio.Env(), DatasetWriter(uuid.uuid4().hex, "w", driver="MEM", **shape) as made:
        made.write(pixels)
        rasterio.shutil.copy(made, file, driver="NITF", **options)


@pytest.mark.parametrize(("number", "pixels"), [(0, FIRST), (1, SECOND)])
def test_one_is_picked_by_its_number(path: str, number: int, pixels: Pixels) -> None:
    opened = daskmr.open_image(f"{path}#image={number}")
    assert opened.info.url == f"{path}#image={number}"
    assert (opened.info.bands, opened.info.height, opened.info.width) == pixels.shape
    assert opened.info.images == ()
    assert opened.source is not None
    found = opened.source.read(Window(row=3, col=5, height=20, width=30))
    assert np.array_equal(found, pixels[:, 3:23, 5:35])
    assert np.array_equal(opened.data.values, pixels)


def test_without_a_number_it_is_the_first_and_a_plan_lists_all(path: str) -> None:
    plan = daskmr.plan(path, "blobs", tile_size=16, overlap=4)
    assert (plan.info.width, plan.info.bands) == (40, 2)
    assert plan.info.images == (
        f"{path}#image=0 (40 x 30, 2 x uint16)", f"{path}#image=1 (60 x 50, 1 x uint8)",
    )  # fmt: skip
    assert any(f"{path}#image=1 (60 x 50, 1 x uint8)" in warning for warning in plan.warnings)


def test_a_number_that_is_not_there_is_told_with_how_many_there_are(path: str) -> None:
    with pytest.raises(ImageError, match=r"two\.ntf: has no image 2; it holds 2, counted from 0"):
        daskmr.open_image(f"{path}#image=2")


def test_a_file_of_one_image_has_number_0_only(tmp_path: Path) -> None:
    path = tmp_path / "one.ntf"
    append(SECOND, str(path))
    assert daskmr.open_image(f"{path}#image=0").info.width == 60
    with pytest.raises(ImageError, match="no image 1; it holds 1"):
        daskmr.open_image(f"{path}#image=1")


def test_the_results_of_a_job_name_the_image(path: str) -> None:
    result = daskmr.run(f"{path}#image=1", "centerpoint", tile_size=32, overlap=8, job_id="j")
    assert result.report.image == f"{path}#image=1"
    assert result.report.n_tiles == 6
