"""Endpoints on a bad day, through whole jobs: nothing lost, nothing believed blindly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daskmr
from daskmr.errors import JobError
from daskmr.models.server import running
from daskmr.testing.images import write_image

COLORS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "purple": (128, 0, 128),
    "grey": (120, 120, 120),
}


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """Four tiles of 128 x 128 in a row, each of one colour."""
    stripes = [
        np.broadcast_to(np.array(color, np.uint8)[:, None, None], (3, 128, 128))
        for color in COLORS.values()
    ]
    return write_image(tmp_path / "colors.tif", np.concatenate(stripes, axis=2))


@pytest.mark.parametrize("remote", [True, False])
def test_the_failure_model_fails_the_tiles_it_should(
    *, remote: bool, colors: Path, client: Any
) -> None:
    options: dict[str, Any] = {"tile_size": 128, "overlap": 0, "merge": "none", "client": client}
    with running("failure") as url, pytest.warns(UserWarning, match="2 of 4 tiles failed"):
        result = daskmr.run(colors, f"{url}/invocations" if remote else "failure", **options)
    problems = {p.col // 128: p.reason for p in result.report.problems}
    assert problems == {0: "HTTP_500", 1: "BAD_RESPONSE"}
    assert result.report.outcomes == {"SUCCEEDED": 2, "FAILED": 2}
    (row,) = [r for r in result.features.itertuples() if r.label == "test_object" and r.tile_col]
    assert row.tile_col in {256, 384}


def bad(answer: object) -> Any:
    """A model that always gives this answer."""
    return lambda _tile: answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("{}", "features"),
        ("[]", "list"),
        ("<html><body>Oops</body></html>", "HTML"),
        ('{"type": "FeatureCollection"', "JSON"),
    ],
)
def test_an_answer_that_is_no_feature_collection_is_never_a_success(
    answer: str, said: str, colors: Path, client: Any
) -> None:
    with pytest.raises(JobError, match="no tile succeeded") as caught:
        daskmr.run(colors, bad(answer), tile_size=128, overlap=0, client=client)
    report: Any = caught.value.report
    assert report.reasons == {"BAD_RESPONSE": 4}
    assert said in report.problems[0].message


def test_features_that_cannot_be_used_are_counted_and_the_rest_kept(
    colors: Path, client: Any
) -> None:
    nan = float("nan")
    features = [
        {"type": "Feature", "geometry": None, "properties": {"imageBBox": box}}
        for box in ([0, 0, 10, 10], [nan, 0, 10, 10])
    ]
    features.append({"type": "Feature", "geometry": None, "properties": {}})
    answer = {"type": "FeatureCollection", "features": features}
    with pytest.warns(UserWarning, match=r"8 of 12 detections were left out \(4 x NOT_FINITE, 4 x"):
        result = daskmr.run(colors, bad(answer), tile_size=128, overlap=0, client=client)
    assert result.report.outcomes == {"SUCCEEDED": 4}
    assert len(result.features) == 4
    assert result.report.dropped == {"NOT_FINITE": 4, "NO_SHAPE": 4}


def test_a_model_that_raises_fails_its_tiles_only(colors: Path, client: Any) -> None:
    def moody(tile: Any) -> None:
        if tile[0].mean() > 200:
            msg = "too red\nfor me"
            raise RuntimeError(msg)

    with pytest.warns(UserWarning, match="1 of 4"):
        result = daskmr.run(colors, moody, tile_size=128, overlap=0, client=client)
    (problem,) = result.report.problems
    assert (problem.row, problem.col, problem.reason) == (0, 0, "MODEL_ERROR")
    assert "too red for me" in problem.message
