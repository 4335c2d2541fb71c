"""Listeners that die: nothing is lost, nothing is done twice, and leaving is quick."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.listening import ListenerKills
from tests.chaos.processes import Service
from tests.service.conftest import World, stop, until

pytestmark = pytest.mark.services


def test_killed_listeners_lose_no_request_and_bury_no_good_one(tmp_path: Path) -> None:
    with Service("tests.chaos.bucket") as aws:
        found = ListenerKills(tmp_path, aws.url, n_messages=12, n_kills=2, seed=3).run()
    assert found["requests"] > 8
    zeros = ("left", "lost", "wrong", "good_buried", "bad_not_buried")
    assert {name: found[name] for name in zeros} == dict.fromkeys(zeros, 0)
    assert found["kills"] == 2


def test_a_listener_that_is_told_to_stop_hands_its_jobs_to_the_next(world: World) -> None:
    slow: dict[str, Any] = world.request("slow")
    world.send(slow, world.request("waits"))
    first = world.listen("--max-jobs", "1")
    until(lambda: world.model.requests)
    assert stop(first) == 0
    assert world.is_left(world.queue) in {1, 2}
    world.run_once()  # at once: the messages were given back, and the leases
    assert world.labels("slow") == world.labels("waits") == list(range(16))
    ended = Path(world.store) / "requests" / "slow" / "ended.json"
    assert json.loads(ended.read_text())["status"] == "SUCCESS"
