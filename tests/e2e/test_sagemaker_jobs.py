"""Model Runner's requests for SageMaker endpoints, from the command line to the file."""

import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint

ROLE = "arn:aws:iam::123456789012:role/inference"


def daskmr(*arguments: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """The command line on a cluster of its own, whose workers inherit where AWS is."""
    words = [sys.executable, "-m", "daskmr", *map(str, arguments)]
    return subprocess.run(
        words, input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def endpoint(sagemaker: Gateway) -> Gateway:
    client = boto3.client("sagemaker")
    specs = [VariantSpec(name="a", weight=3), VariantSpec(name="b", weight=1, model="other")]
    create_endpoint(client, "aircraft", specs, tags={"osml:instance-concurrency": "4"})
    client.close()
    return sagemaker


def test_a_request_runs_on_one_variant_with_a_role(
    endpoint: Gateway, image: Path, tmp_path: Path
) -> None:
    request = {
        "jobId": "sm",
        "imageUrls": [str(image)],
        "imageProcessor": {"name": "aircraft", "type": "SM_ENDPOINT", "assumedRole": ROLE},
        "imageProcessorParameters": {
            "CustomAttributes": "model_selection=centerpoint",
            "TargetModel": "a.tar.gz",
            "X-Foo": "left out",
        },
        "imageProcessorTileSize": 256,
        "imageProcessorTileOverlap": 16,
        "imageProcessorTileFormat": "GTIFF",
    }
    done = daskmr(
        "run", "--request", "-", "-o", tmp_path / "out", "--json", stdin=json.dumps(request)
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["outcomes"] == {"SUCCEEDED": report["n_tiles"]}
    assert report["n_merged"] == report["n_tiles"] == 30
    assert any("X-Foo" in warning for warning in report["warnings"])
    collection = json.loads((tmp_path / "out" / "sm.geojson").read_text())
    assert len(collection["features"]) == 30
    assert len(set(endpoint.variants)) == 1
    assert len(endpoint.requests) == 30
    assert endpoint.widest <= 8
    for seen in endpoint.requests:
        assert seen.headers["x-amzn-sagemaker-target-model"] == "a.tar.gz"
        assert seen.headers["x-amzn-sagemaker-target-variant"] == endpoint.variants[0]
        assert "Credential=test/" not in seen.headers["authorization"]
        assert "x-foo" not in seen.headers


def test_an_unknown_endpoint_is_one_clear_error(
    endpoint: Gateway, image: Path, tmp_path: Path
) -> None:
    done = daskmr("run", image, "-m", "sagemaker://spacecraft", "-o", tmp_path)
    assert done.returncode == 4
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert "'spacecraft'" in line
    assert "Traceback" not in done.stderr
    assert endpoint.requests == []


def test_a_model_that_waits_in_a_bucket_is_run_as_well(
    endpoint: Gateway, image: Path, tmp_path: Path
) -> None:
    done = daskmr(
        "run", image, "-m", "sagemaker-async://aircraft", "-o", tmp_path / "out", "--json",
        "--endpoint-option", "input_location=s3://bucket/tiles", "--tile-size", 512,
        "--param", "CustomAttributes=model_selection=centerpoint",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["outcomes"] == {"SUCCEEDED": report["n_tiles"]}
    assert {seen.path for seen in endpoint.requests} == {"/endpoints/aircraft/async-invocations"}


def test_a_check_tells_the_payload_against_the_limit(endpoint: Gateway) -> None:
    done = daskmr(
        "models", "check", "sagemaker://aircraft", "--tile-size", 2048,
        "--param", "CustomAttributes=model_selection=flood",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "12.0MiB of GTIFF NONE, limit 6.0MiB: too large, --tile-size 1408 would fit" in (
        done.stdout
    )
    assert "features:       100: 100 x flood_object" in done.stdout


def test_a_plan_warns_of_tiles_that_the_endpoint_may_not_take(image: Path) -> None:
    done = daskmr("plan", image, "-m", "sagemaker://aircraft", "--tile-size", 2048)
    assert done.returncode == 0, done.stderr
    assert "is known to take 6,291,456; tile_size 1408 would fit" not in done.stdout
    done = daskmr(
        "plan", image, "-m", "sagemaker://aircraft", "--tile-size", 2048,
        "--endpoint-option", "max_payload_bytes=1000000",
    )  # fmt: skip
    assert "sagemaker://aircraft is known to take 1,000,000; tile_size 576 would fit" in done.stdout
