"""`daskmr models` and `daskmr plan --probe`: one tile, a few tiles, and what they tell."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daskmr.models import MODELS
from daskmr.models.server import running
from daskmr.testing.faults import faulty, saying, status
from daskmr.testing.images import write_image


def test_built_in_models_are_listed(command: Any) -> None:
    assert command("models", "list").stdout.split() == MODELS.names()


def test_a_good_model_is_told_with_its_features(command: Any) -> None:
    with running("centerpoint") as url:
        done = command("models", "check", f"{url}/invocations", "--tile-size", 512, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["features"] == {"sample_object": 1}
    assert 512 * 512 * 3 < told["payloadBytes"] < 512 * 512 * 3 + 2000
    assert 0 < told["seconds"] < 60


def test_a_model_in_process_is_checked_too(command: Any, image: Path) -> None:
    done = command("models", "check", "flood", "--image", image, "--tile-size", 256)
    assert done.returncode == 0, done.stderr
    assert "tile:           256x256, 3 x uint8" in done.stdout
    assert "features:       100: 100 x flood_object" in done.stdout


@pytest.mark.parametrize(
    ("fault", "reason", "hint"),
    [
        (status(404), "HTTP_404", "path of the URL"),
        (status(401), "HTTP_401", "daskmr.auth"),
        (status(413), "HTTP_413", "--tile-size"),
        (status(415), "HTTP_415", "--tile-format"),
        (saying(b'[{"bbox": [1, 1, 2, 2], "category_id": 1, "score": 0.5}]'), "BAD_RESPONSE",
         "--answer-format"),
        (saying(b"<html>"), "BAD_RESPONSE", "--answer-format"),
    ],
)  # fmt: skip
def test_a_bad_model_is_told_with_what_to_change(
    command: Any, fault: Any, reason: str, hint: str
) -> None:
    with faulty(lambda _: fault) as server:
        done = command("models", "check", server.url, "--tile-size", 64)
    assert done.returncode == 1, done.stderr
    assert f"failed: {reason}" in done.stdout
    assert hint in done.stdout.partition("hint:")[2]
    assert "Traceback" not in done.stderr


def test_an_answer_in_another_convention_says_which_one_to_name(command: Any) -> None:
    coco = saying(b'[{"bbox": [1, 1, 2, 2], "category_id": 1, "score": 0.5}]')
    with faulty(lambda _: coco) as server:
        refused = command("models", "check", server.url, "--tile-size", 64)
        taken = command(
            "models", "check", server.url, "--tile-size", 64, "--answer-format", "coco",
            "--classes", "sky,ship",
        )  # fmt: skip
    assert "coco" in refused.stdout
    assert taken.returncode == 0, taken.stdout
    assert "1: 1 x ship" in taken.stdout


def test_nothing_listening_ends_soon_and_unreachable(command: Any) -> None:
    done = command("models", "check", "http://127.0.0.1:9/x")
    assert done.returncode == 5
    assert "host and port" in done.stdout


def test_tiles_sent_ahead_turn_into_time_and_money(command: Any, image: Path) -> None:
    attributes = "CustomAttributes=mock_latency_mean=200,mock_latency_std=0"
    with running("centerpoint") as url:
        done = command(
            "plan", image, "-m", f"{url}/invocations", "--tile-size", 100, "--overlap", 0,
            "--probe", 3, "--price-per-hour", 36, "--json", "--param", attributes,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    probe = told["probe"]
    assert told["tiles"] == probe["tiles"] == 130
    assert probe["concurrency"] == 8
    assert len(probe["samples"]) == 3
    assert len({(s["row"], s["col"]) for s in probe["samples"]}) == 3
    low, high = probe["seconds"]
    assert 0.2 * 130 / 8 <= low <= high
    assert probe["price"] == pytest.approx([low / 100, high / 100])


def test_a_probe_counts_only_tiles_that_will_run(command: Any, tmp_path: Path) -> None:
    pixels = np.zeros((1, 256, 256), np.uint8)
    image = write_image(tmp_path / "a.tif", pixels)
    done = command("plan", image, "-m", "flood", "--tile-size", 64, "--overlap", 0, "--probe", 99)
    assert done.returncode == 0, done.stderr
    assert "16 of 16 tiles answered" in done.stdout


def test_a_price_without_tiles_to_send_is_refused(command: Any, image: Path) -> None:
    done = command("plan", image, "-m", "flood", "--price-per-hour", 3)
    assert done.returncode == 2
    assert "--probe" in done.stderr
