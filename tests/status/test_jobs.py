"""What is said of a job while it runs; a channel that is away changes nothing of it."""

import json
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import daskmr
from daskmr.errors import JobError, RequestError
from daskmr.store import JobFolder
from daskmr.testing.images import write_image

N = 64


@pytest.fixture
def scene(tmp_path: Path) -> str:
    """8 x 8 tiles of 32 px."""
    return str(write_image(tmp_path / "x.tif", np.full((1, 256, 256), 7, np.uint8)))


def run(scene: str, client: Any, store: Path, **options: Any) -> Any:
    given = {"model": "centerpoint", "job_id": "job", **options}
    return daskmr.run(scene, tile_size=32, overlap=0, store=str(store), client=client, **given)


def statuses(said: list[dict[str, str]]) -> list[str]:
    return [attributes["status"] for attributes in said]


def test_a_job_says_that_it_began_how_far_it_is_and_how_it_ended(
    scene: str, client: Any, tmp_path: Path, world: Any
) -> None:
    topic, queue = world.topic()
    with dask.config.set({"daskmr.status": {"sns": {"topic": topic}}}):
        run(scene, client, tmp_path / "s")
    said = world.heard_until(queue, "SUCCESS")
    assert statuses(said)[0] == "STARTED"
    assert statuses(said)[-1] == "SUCCESS"
    assert set(statuses(said)[1:-1]) <= {"IN_PROGRESS"}
    assert statuses(said).count("SUCCESS") == 1
    assert {attributes["job_id"] for attributes in said} == {"job"}
    assert int(said[-1]["processing_duration"]) > 0
    assert "64 features of 64 tiles" in said[-1]["Message"]


def test_a_job_that_fails_says_so_once_with_its_tiles(
    scene: str, client: Any, tmp_path: Path, world: Any
) -> None:
    topic, queue = world.topic()

    def broken(_tile: Any) -> dict[str, Any]:
        msg = "out of order"
        raise ValueError(msg)

    with (
        dask.config.set({"daskmr.status": {"sns": {"topic": topic}}}),
        pytest.raises(JobError, match="no tile succeeded"),
    ):
        run(scene, client, tmp_path / "s", model=broken)
    said = world.heard_until(queue, "FAILED")
    assert statuses(said)[0] == "STARTED"
    assert statuses(said).count("FAILED") == 1  # Z16
    assert [[0, 0], [32, 32]] in [tile for each in json.loads(said[-1]["failed_tiles"])
                                  for tile in each.values()]  # fmt: skip


def test_a_topic_that_is_away_changes_nothing_and_hears_it_later(  # Z9
    scene: str, client: Any, tmp_path: Path, world: Any
) -> None:
    topic, queue = world.topic()
    channels = {"daskmr.status": {"sns": {"topic": topic}}}
    expected = run(scene, client, tmp_path / "a").report
    world.stop()
    with dask.config.set(channels), pytest.MonkeyPatch.context() as patch:
        patch.setattr("daskmr.status._dispatcher.CLOSE_S", 0.2)
        report = run(scene, client, tmp_path / "b").report
    world.start()
    one, other = (JobFolder.at(str(tmp_path / name), "job").manifest() for name in "ab")
    assert one is not None
    assert other is not None
    plain = ("jobId", "status", "tiles", "features")
    assert [one[name] for name in plain] == [other[name] for name in plain]
    assert report.outcomes == expected.outcomes == {"SUCCEEDED": N}
    with dask.config.set(channels):
        run(scene, client, tmp_path / "b")
    # at least once: a call of the first run may have been on its way when the topic came back
    said = list(dict.fromkeys(statuses(world.heard_until(queue, "SUCCESS"))))
    assert [said[0], said[-1]] == ["STARTED", "SUCCESS"]
    assert set(said[1:-1]) <= {"IN_PROGRESS"}


def test_a_channel_that_cannot_be_is_refused_by_name(
    scene: str, client: Any, tmp_path: Path
) -> None:
    for said, told in [
        ({"pigeon": {}}, "pigeon"),
        ({"sns": {}}, "topic"),
        (["sns"], r"daskmr\.status: \['sns'\]: Input should be a valid dictionary"),
    ]:
        with dask.config.set({"daskmr.status": said}), pytest.raises(RequestError, match=told):
            run(scene, client, tmp_path / "s")
