"""Status of a job, and what an image's header says of itself."""

import json

import pytest

from daskmr.core.imagery import ImageInfo, source_metadata
from daskmr.core.report import JobReport, JobStatus, TileStatus


def report(**outcomes: int) -> JobReport:
    return JobReport(
        job_id="j",
        image="x",
        n_tiles=sum(outcomes.values()),
        outcomes={TileStatus(name): n for name, n in outcomes.items()},
        reasons={},
        problems=[],
        n_features=0,
        n_merged=0,
        dropped={},
    )


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ({"SUCCEEDED": 3}, JobStatus.SUCCESS),
        ({"SUCCEEDED": 19, "FAILED": 1}, JobStatus.PARTIAL),  # Z6
        ({"FAILED": 3}, JobStatus.FAILED),
        ({"FAILED": 3, "SKIPPED": 5}, JobStatus.FAILED),
        ({"SUCCEEDED": 1, "SKIPPED": 5}, JobStatus.SUCCESS),
        ({"SKIPPED": 5}, JobStatus.SUCCESS),
        ({}, JobStatus.SUCCESS),
    ],
)
def test_no_failed_tile_is_ever_a_success(outcomes: dict[str, int], status: JobStatus) -> None:
    made = report(**outcomes)
    assert made.status is status
    assert json.loads(json.dumps(made.as_dict()))["status"] == str(status)


def info(driver: str = "NITF", **tags: str) -> ImageInfo:
    return ImageInfo(
        url="s3://b/x.ntf", height=1, width=1, bands=1, dtype="uint8", driver=driver, tags=tags
    )


def test_source_metadata_of_nitf() -> None:  # F5
    (found,) = source_metadata(
        info(NITF_ICAT="TEST", NITF_FTITLE="source-id-1", NITF_IDATIM="20240102123456")
    )
    assert found == {
        "location": "s3://b/x.ntf",
        "format": "NITF",
        "category": "TEST",
        "sourceId": "source-id-1",
        "sourceDT": "2024-01-02T12:34:56Z",
    }
    (found,) = source_metadata(info(NITF_IDATIM="yesterday"))
    assert found["sourceDT"] is None
    assert found["sourceId"] == "s3://b/x.ntf"


@pytest.mark.parametrize(
    ("driver", "name"),
    [("GTiff", "TIFF"), ("COG", "TIFF"), ("NITF", "NITF"), ("JPEG", "JPEG"), ("PNG", "PNG")],
)
def test_formats_have_the_ancestors_names(driver: str, name: str) -> None:  # F13
    assert info(driver).format == name


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        ImageInfo(url="x", height=0, width=1, bands=1, dtype="uint8", driver="GTiff")


def test_a_transform_of_pixels_to_themselves_places_nothing() -> None:
    common = {"url": "x", "height": 1, "width": 1, "bands": 1, "dtype": "uint8", "driver": "GTiff"}
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    assert not ImageInfo(**common, crs="EPSG:4326", transform=identity).has_affine  # type: ignore[arg-type]
    assert not ImageInfo(**common, transform=(2.0, 0.0, 0.0, 0.0, 1.0, 0.0)).has_affine  # type: ignore[arg-type]
    assert ImageInfo(**common, crs="EPSG:4326", transform=(2.0, 0.0, 0.0, 0.0, 1.0, 0.0)).has_affine  # type: ignore[arg-type]
