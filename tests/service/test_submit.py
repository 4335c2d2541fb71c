"""Sending requests: what a queue gets, what a cluster runs, and what is refused before."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from distributed import LocalCluster

from daskmr.api import plan
from daskmr.cli import cli, options
from daskmr.cli.queued import submit_command
from daskmr.cli.running import plan_command
from daskmr.core.request import ImageRequest, Merging
from daskmr.errors import DaskmrError, RequestError
from daskmr.merge import MERGES, merger
from daskmr.planning.from_request import calls_from_request
from daskmr.planning.make_plan import make_plan
from daskmr.planning.options import BY_NAME, OPTIONS
from daskmr.planning.settings import Settings
from daskmr.service.request_store import DEATHS, FAILURES, RequestStore
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


def test_an_option_that_no_request_can_carry_is_not_offered(world: World) -> None:
    words = ["s3://b/x.tif", "-m", "https://m", "-o", "s3://b", "--queue", world.queue]
    tried = call("submit", *words, "--batch", "3")
    assert tried.exit_code == 2, tried.output
    offered = set(submit_command.make_context("submit", words).params)
    assert offered & set(BY_NAME) == {o.name for o in OPTIONS if "submit" in o.doors}


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
    mixed = world.request("v", imageProcessorTileFormat="PNG", imageProcessorTileCompression="ZSTD")
    said = call("validate", "-", "--open", text=json.dumps(mixed))  # Q9
    assert said.exit_code == RequestError.exit_code
    assert "ZSTD" in said.stderr
    missing = world.request("v", imageUrls=["/no/such.tif"])
    said = call("validate", "-", "--open", text=json.dumps(missing))
    assert "no such file" in said.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--iou", "0.4"],
        ["--merge-option", "class_aware=false"],
        ["--merge-option", "trace_threshold=0.7", "--iou", "0.3"],
        *(["--merge", name] for name in MERGES.names()),
        *(["--merge", name, "--iou", "0.25"] for name in MERGES.names() if name != "none"),
        ["--tile-size", "128x64", "--overlap", "8x4", "--tile-format", "PNG"],
        ["--tile-format", "NITF", "--param", "X-Mode=fast"],
        ["--prepare", "dtype=uint8", "--prepare", "stretch=minmax"],
        ["--feature-properties", '[{"mission": "harbour"}]'],
    ],
    ids=" ".join,
)
def test_what_is_submitted_is_what_run_would_do(world: World, words: list[str]) -> None:
    """A default that the queue's door wrote a second time would differ here."""
    image = [world.image, "-m", world.model.url, "--job-id", "j", *words]
    done = call("submit", *image, "-o", "s3://out/here", "--queue", world.queue)
    assert done.exit_code == 0, done.output
    (job,) = calls_from_request(ImageRequest.from_json(sent(world)), "results")
    arguments = {name: v for name, v in job.items() if name not in {"out", "outputs"}}
    submitted = make_plan(arguments.pop("image"), arguments.pop("model"), Settings.of(arguments))
    params = plan_command.make_context("plan", image).params
    for name in ("image", "model", "as_json", "n_probes", "price_per_hour"):
        del params[name]
    typed = plan(world.image, world.model.url, **options.settings(params))
    assert submitted.merge == typed.merge
    assert submitted.encoder == typed.encoder
    assert submitted.model == typed.model
    assert submitted.regions == typed.regions
    after = {"merge", "merge_options"}  # in other words; what they mean is compared above
    for name in {f.name for f in fields(typed.settings)} - after:
        assert getattr(submitted.settings, name) == getattr(typed.settings, name), name


@pytest.mark.parametrize("name", MERGES.names())
def test_a_request_that_names_an_algorithm_gets_its_own_defaults(name: str) -> None:
    said = Merging.model_validate({"algorithmType": name.upper()})
    asked = merger(name, {"iou_threshold": said.iou_threshold, **said.options})
    assert asked == merger(name, {})


@pytest.mark.services
def test_waiting_for_a_request_is_not_ended_by_an_older_one_of_a_similar_name(
    world: World,
) -> None:
    world.send(world.request("harbour", imageUrls=[f"{world.folder}/images/gone.tif"]))
    world.run_once()
    ended = RequestStore(store=world.store).end_record("harbour")
    assert ended is not None
    assert ended["status"] == "FAILED"
    words = ["submit", "--request", "-", "--queue", world.queue, "--store", world.store, "--wait"]
    text = json.dumps(world.request("harbour-2"))
    early = call(*words, "--wait-timeout", "1.5", text=text)
    assert (early.exit_code, early.stderr) == (1, "error: not finished after 1.5 s\n")
    world.run_once()
    done = call(*words, "--wait-timeout", "30", text=text)
    assert (done.exit_code, done.stderr) == (0, "harbour-2: SUCCESS\n")


@pytest.mark.services
def test_a_request_whose_image_cannot_be_planned_has_a_state_of_its_own(world: World) -> None:
    world.send(world.request("gone", imageUrls=[f"{world.folder}/images/gone.tif"]))
    world.send(world.request("good"))
    world.run_once()
    one = call("status", "gone", "--store", world.store, "--json")
    assert one.exit_code == 0, one.output
    state = json.loads(one.stdout)
    assert state["state"] == "FAILED"
    assert "gone.tif" in state["why"]
    every = json.loads(call("status", "--store", world.store, "--json").stdout)
    assert [(s["job_id"], s["state"]) for s in every] == [("gone", "FAILED"), ("good", "SUCCESS")]
    none = call("status", "none", "--store", world.store)
    assert (none.exit_code, "has no job 'none'" in none.stderr) == (RequestError.exit_code, True)


@pytest.mark.services
def test_a_request_of_several_images_that_kills_its_processes_ends_for_each_of_them(
    world: World,
) -> None:
    request = ImageRequest.from_json(world.request("two", imageUrls=[world.image, world.image]))
    requests = RequestStore(store=world.store)
    requests.accept(request, requested_at=0.0)
    for number in range(DEATHS):
        requests.begin_attempt("two", f"host-{number}")
    world.send(world.request("two", imageUrls=[world.image, world.image]))
    world.run_once()
    ended = requests.end_record("two")
    assert ended is not None
    assert [image["status"] for image in ended["images"]] == ["FAILED", "FAILED"]
    assert ended["why"] == f"{DEATHS} processes ended while they were at it"
    failed = [event["job_id"] for event in world.said() if event["status"] == "FAILED"]
    assert failed == ["two-1", "two-2"]


@pytest.mark.services
def test_a_driver_on_a_cluster_ends_what_cannot_be_run_and_says_how_to_go_on(world: World) -> None:
    gone = world.request("gone", imageUrls=[f"{world.folder}/images/gone.tif"])
    with LocalCluster(
        n_workers=1, threads_per_worker=4, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        words = ["submit", "--request", "-", "-s", made.scheduler_address, "--store", world.store]
        first = call(*words, "--wait", "--wait-timeout", "60", text=json.dumps(gone))
        again = call(*words, text=json.dumps(gone))
    assert (first.exit_code, first.stderr) == (1, "gone: FAILED\n")
    assert again.exit_code == RequestError.exit_code
    assert "job_id: 'gone' ended as FAILED" in again.stderr
    assert "give another one" in again.stderr
    assert (
        RequestStore(store=world.store).record_failure("gone", "me", "x").failures == 1
    )  # it was not run again
    assert FAILURES > 1
