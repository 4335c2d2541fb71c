"""Sending requests: what a queue gets, what a cluster runs, and what is refused before."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from distributed import LocalCluster

from daskmr.cli import cli
from daskmr.errors import DaskmrError, RequestError
from tests.service.conftest import World


def call(*words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(words), input=text)


def sent(world: World) -> dict[str, Any]:
    (message,) = world.messages(world.queue)
    return dict(json.loads(message["Body"]))


def test_an_image_and_options_become_a_request_on_the_queue(world: World) -> None:
    said = call(
        "submit", "s3://images/a.tif", "-m", "sagemaker://ships/blue", "-o", "s3://out/here",
        "--queue", world.queue, "--job-id", "j", "--tile-size", "512x256", "--overlap", "64",
        "--merge", "soft_nms", "--iou", "0.4", "--merge-option", "method=linear",
        "--merge-option", "max_count=9", "--param", "CustomAttributes=a=b",
        "--roi", "POLYGON((0 0,0 1,1 1,0 0))", "--priority", "3",
    )  # fmt: skip
    assert (said.exit_code, said.stdout) == (0, "j\n"), said.output
    assert sent(world) == {
        "jobId": "j",
        "imageUrls": ["s3://images/a.tif"],
        "imageProcessor": {"name": "ships", "type": "SM_ENDPOINT"},
        "imageProcessorParameters": {"CustomAttributes": "a=b", "TargetVariant": "blue"},
        "imageProcessorTileSize": [512, 256],
        "imageProcessorTileOverlap": 64,
        "imageProcessorTileFormat": "GTIFF",
        "imageProcessorTileCompression": "NONE",
        "regionOfInterest": "POLYGON((0 0,0 1,1 1,0 0))",
        "outputs": [{"type": "S3", "bucket": "out", "prefix": "here"}],
        "postProcessing": [
            {
                "step": "FEATURE_DISTILLATION",
                "algorithm": {
                    "algorithmType": "SOFT_NMS", "iouThreshold": 0.4,
                    "skipBoxThreshold": 0.0001, "sigma": 0.1, "method": "linear", "maxCount": 9,
                },
            }
        ],
        "priority": 3,
    }  # fmt: skip


def test_a_request_of_model_runner_is_sent_as_it_is_meant(world: World, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(world.request("mine", outputBucket="b", outputPrefix="p")))
    said = call("submit", "--request", str(path), "--queue", world.queue)
    assert (said.exit_code, said.stdout) == (0, "mine\n"), said.output
    assert sent(world)["outputs"] == [
        {"type": "S3", "bucket": world.bucket, "prefix": "out"},
        {"type": "S3", "bucket": "b", "prefix": "p"},
    ]
    said = call("submit", "--request", "-", "--queue", world.queue, text=path.read_text())
    assert sent(world)["jobId"] == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-m", "centerpoint", "-o", "s3://b/p"], "model: 'centerpoint' is neither"),
        (["-m", "https://m", "-o", "results"], "out: 'results' is neither"),
        (["-m", "https://m", "-o", "s3://b", "--batch", "3"], "--batch: a request cannot say that"),
        (["-m", "https://m", "-o", "s3://b", "--overlap", "2000"], "imageProcessorTileOverlap"),
    ],
)
def test_what_a_request_cannot_say_is_refused_and_not_sent(
    world: World, words: list[str], told: str
) -> None:
    said = call("submit", "s3://b/x.tif", *words, "--queue", world.queue)
    assert said.exit_code == RequestError.exit_code
    assert told in said.stderr
    assert world.is_left(world.queue) == 0


def test_a_queue_that_is_not_there_is_an_error_of_its_name(world: World) -> None:
    said = call(
        "submit", "s3://b/x.tif", "-m", "https://m", "-o", "s3://b", "--queue", f"{world.url}/1/no"
    )
    assert said.exit_code == DaskmrError.exit_code
    assert said.stderr.startswith("error: ")
    assert "/1/no" in said.stderr


@pytest.mark.services
def test_a_cluster_runs_a_request_without_a_queue(world: World) -> None:
    nowhere = world.request("nowhere", imageUrls=[f"s3://{world.bucket}/missing.tif"])
    with LocalCluster(
        n_workers=1, threads_per_worker=4, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        words = ["submit", "--request", "-", "-s", made.scheduler_address, "--store", world.store]
        words += ["--wait", "--wait-timeout", "60"]
        said = call(*words, text=json.dumps(world.request("direct")))
        failed = call(*words, text=json.dumps(nowhere))
    assert said.exit_code == 0, (said.output, said.exception)
    assert said.stdout == "direct\n"
    assert "direct: SUCCESS" in said.stderr
    assert world.labels("direct") == list(range(16))
    assert failed.exit_code == 1
    assert "nowhere: FAILED" in failed.stderr


def test_every_problem_of_a_request_is_explained_with_its_path(world: World) -> None:
    bad = {**world.request("v"), "imageProcessorTileSize": 0, "outputs": [{"type": "S3"}]}
    said = call("validate", "-", text=json.dumps(bad))
    assert said.exit_code == RequestError.exit_code
    assert [line.split(": ")[:2] for line in said.stderr.splitlines()] == [
        ["error", "imageProcessorTileSize"],
        ["error", "outputs.0.bucket"],
    ]
    said = call("validate", "-", "--open", text=json.dumps(world.request("v")))
    assert said.exit_code == 0, said.exception
    assert said.stdout == f"v: 16 tiles of {world.image}\nv: valid, 1 image\n"
    mixed = world.request("v", imageProcessorTileFormat="PNG", imageProcessorTileCompression="J2K")
    said = call("validate", "-", "--open", text=json.dumps(mixed))  # Q9
    assert said.exit_code == RequestError.exit_code
    assert "J2K" in said.stderr
    missing = world.request("v", imageUrls=["/no/such.tif"])
    said = call("validate", "-", "--open", text=json.dumps(missing))
    assert "no such file" in said.stderr
