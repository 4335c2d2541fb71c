"""Answers that mean something else than they say: failed or warned of, never silent."""

import json
import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from aiohttp import web

import daskmr
from daskmr.errors import JobError
from daskmr.testing.images import HALF_METRE, UTM, write_image
from daskmr.testing.servers import serving

BOX: Any = [10.0, 20.0, 60.0, 50.0]
OPTIONS: dict[str, Any] = {"tile_size": 128, "overlap": 0, "merge": "none", "skip_nodata": False}


@pytest.fixture
def image(tmp_path: Path) -> str:
    """2 x 2 tiles; the first pixel of each is its number."""
    pixels = np.ones((1, 256, 256), np.uint8)
    for number in range(4):
        pixels[0, 128 * (number // 2), 128 * (number % 2)] = number
    return str(write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE))


def alerts(image: str, model: Any, **how: Any) -> tuple[list[str], Any]:
    """What is said of a model's answers: as warnings, and the report."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = daskmr.run(image, model, job_id="j", **OPTIONS, **how).report
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert all(text.removeprefix("job j: ") in report.warnings for text in said)
    return [text.removeprefix("job j: ") for text in said], report


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            {"boxes": [[0.1, 0.1, 0.3, 0.3]]},
            (
                "all coordinates of the answers for 4 tiles are between 0 and 2, such as "
                "[0.1, 0.1, 0.3, 0.3]: are they fractions of the tile? Answer in its pixels"
            ),
        ),
        (
            {"boxes": [BOX], "scores": [95.0]},
            "scores above 1 in the answers for 4 tiles, such as 95: are they percent?",
        ),
        (
            {"boxes": [BOX], "scores": [np.nan]},
            "scores that are no numbers (NaN, infinite) in the answers for 4 tiles",
        ),
        (
            gpd.GeoDataFrame({"score": [np.inf]}, geometry=[shapely.box(*BOX)]),
            "scores that are no numbers (NaN, infinite) in the answers for 4 tiles",
        ),
        (
            {"boxes": [BOX, [5, 5, 5, 9]]},
            (
                "boxes or polygons without area in the answers for 4 tiles, such as "
                "[5.0, 5.0, 5.0, 9.0]"
            ),
        ),
        (
            {"boxes": [[0, 0, 10_268, 20]]},
            (
                "boxes many times larger than their tile in the answers for 4 tiles, such as "
                "[0.0, 0.0, 10268.0, 20.0]"
            ),
        ),
        (
            {"boxes": [BOX], "heading": [33.0]},
            "keys that are not read in the answers for 4 tiles: {heading}",
        ),
        (
            {"boxes": [BOX, [900, 900, 950, 950]]},
            "4 of 8 detections were left out (4 x OUTSIDE), such as [900.0, 900.0, 950.0, 950.0]",
        ),
        (
            {"boxes": [[60, 50, 10, 20], BOX]},
            "4 of 8 detections were left out (4 x BAD_SHAPE), such as [60.0, 50.0, 10.0, 20.0]",
        ),
    ],
)
def test_what_is_odd_is_said_once_with_an_example(image: str, answer: Any, sentence: str) -> None:
    said, report = alerts(image, lambda _tile: answer)
    assert said == [sentence]
    assert report.status == "SUCCESS"


def test_numbers_of_classes_are_remarked_upon_in_the_report_alone(image: str) -> None:
    said, report = alerts(image, lambda _tile: {"boxes": [BOX], "labels": [3]})
    assert (said, report.warnings) == (
        [],
        (
            (
                "classes are numbers in the answers for 4 tiles, such as 3; name them: classes "
                "(--classes)"
            ),
        ),
    )
    names = ("plane", "car", "dock", "ship")
    assert not alerts(image, lambda _tile: {"boxes": [BOX], "labels": [3]}, classes=names)[
        1
    ].warnings


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"boxes": [BOX], "scores": [1.0], "labels": ["ship"]},
        {"boxes": [BOX]},
        {"boxes": np.empty((0, 4)), "scores": [], "labels": []},
        gpd.GeoDataFrame({"label": ["a"]}, geometry=[shapely.Point(5, 5)]),
        gpd.GeoDataFrame(geometry=[shapely.LineString([(5, 5), (5, 9)])]),
    ],
)
def test_nothing_is_said_of_plain_answers(image: str, answer: Any) -> None:
    assert alerts(image, lambda _tile: answer)[0] == []


def test_small_objects_in_some_tiles_are_no_fractions(image: str) -> None:
    def model(tile: Any) -> dict[str, Any]:
        return {"boxes": [[0, 0, 1.5, 1.5] if tile[0, 0, 0] == 2 else BOX]}

    assert alerts(image, model)[0] == []


def test_an_answer_of_which_nothing_can_be_read_is_a_failed_tile(image: str) -> None:
    def model(tile: Any) -> dict[str, Any]:
        return {"boxes": [BOX if tile[0, 0, 0] else [60, 50, 10, 20]]}

    with pytest.warns(UserWarning, match="1 of 4 tiles failed"):
        report = daskmr.run(image, model, **OPTIONS).report
    assert report.status == "PARTIAL"
    (failed,) = report.problems
    assert (failed.row, failed.col, failed.reason) == (0, 0, "UNREADABLE")
    assert failed.message == (
        "nothing of the answer can be read: 1 x BAD_SHAPE, such as [60.0, 50.0, 10.0, 20.0]"
    )
    assert report.dropped == {}
    with pytest.raises(JobError, match="UNREADABLE"):
        daskmr.run(image, lambda _tile: {"boxes": [[60, 50, 10, 20]]}, **OPTIONS)


def test_an_endpoint_is_not_asked_again_for_what_cannot_be_read(image: str) -> None:
    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        return web.json_response({"features": [{"type": "Feature", "properties": {"a": 1}}]})

    with serving(answer) as server:
        with pytest.raises(JobError, match="4 x UNREADABLE"):
            daskmr.run(image, server.url, **OPTIONS)
        assert len(server.requests) == 4


def feature(**properties: Any) -> dict[str, Any]:
    geometry = shapely.geometry.mapping(shapely.box(*BOX))
    return {"type": "Feature", "geometry": geometry, "properties": properties}


@pytest.mark.parametrize(
    ("properties", "label", "score"),
    [
        ({"label": "ship", "score": 0.5}, "ship", 0.5),
        ({"class": "ship", "confidence": 0.5}, "ship", 0.5),
        ({"class": 1, "confidence": 1}, "car", 1.0),
        ({"label": "a", "featureClasses": [{"iri": "b", "score": 0.25}]}, "b", 0.25),
    ],
)
def test_plain_geojson_of_a_function_is_in_pixels(
    image: str, properties: dict[str, Any], label: str, score: float
) -> None:
    answer = {"type": "FeatureCollection", "features": [feature(**properties)]}
    table = daskmr.run(image, lambda _t: answer, classes=("ship", "car"), **OPTIONS).features
    assert min(table.image_bbox) == tuple(BOX)
    assert set(table.label) == {label}
    assert set(table.score) == {score}


def test_a_function_that_answers_geometry_without_properties_is_read(image: str) -> None:
    answer = {
        "features": [{"type": "Feature", "properties": None} | {"geometry": feature()["geometry"]}]
    }
    assert len(daskmr.run(image, lambda _t: answer, **OPTIONS).features) == 4


def test_the_geometry_of_an_endpoint_is_not_taken_for_pixels(image: str) -> None:
    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        return web.Response(text=json.dumps({"features": [feature(label="ship")]}))

    with serving(answer) as server, pytest.raises(JobError, match="UNREADABLE"):
        daskmr.run(image, server.url, **OPTIONS)


def test_an_example_is_the_first_in_the_grid_however_it_is_cut(image: str, client: Any) -> None:
    def model(tile: Any) -> dict[str, Any]:
        return {"boxes": [BOX], "scores": [2.0 + tile[0, 0, 0]]}

    for how in ({"scheduler": "threads"}, {"client": client}, {"scheduler": "synchronous"}):
        said, _ = alerts(image, model, **how)
        assert said == ["scores above 1 in the answers for 4 tiles, such as 2: are they percent?"]
