"""One driver at a time, whoever dies."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskmr.errors import StoreError
from daskmr.store.lease import BEAT_S, EXPIRES_S, Lease
from daskmr.store.object_store import FolderStore


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.others: list[Lease] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for other in self.others:
            other.beat()


def lease(path: Path, clock: Clock, owner: str) -> Lease:
    return Lease(FolderStore(str(path)), clock=clock, sleep=clock.sleep, owner=owner)


def held(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((path / "lease.json").read_text())
    return found


def test_a_lease_that_nobody_holds_is_taken_at_once(tmp_path: Path) -> None:
    clock = Clock()
    lease(tmp_path, clock, "a").acquire()
    assert clock.now == 0
    assert held(tmp_path)["owner"] == "a"


def test_a_released_lease_is_taken_at_once_with_the_next_epoch(tmp_path: Path) -> None:
    clock = Clock()
    first, second = lease(tmp_path, clock, "a"), lease(tmp_path, clock, "b")
    first.acquire()
    first.release()
    second.acquire()
    assert clock.now == 0
    assert (held(tmp_path)["owner"], held(tmp_path)["epoch"]) == ("b", 1)


def test_a_living_holder_is_named(tmp_path: Path) -> None:
    clock = Clock()
    first = lease(tmp_path, clock, "host:1")
    first.acquire()
    clock.others.append(first)
    with pytest.raises(StoreError, match="is being run by host:1"):
        lease(tmp_path, clock, "b").acquire()
    assert not first.lost


def test_a_silent_holder_is_waited_for_and_then_loses_the_lease(tmp_path: Path) -> None:
    clock = Clock()
    first, second = lease(tmp_path, clock, "a"), lease(tmp_path, clock, "b")
    first.acquire()
    second.acquire()
    assert EXPIRES_S <= clock.now <= EXPIRES_S + BEAT_S
    assert not first.beat()
    assert first.lost
    assert second.beat()
    first.release()
    assert held(tmp_path)["owner"] == "b"


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["beat", "release", "take"]))))
def test_there_is_never_more_than_one_holder(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str]]
) -> None:
    path, clock = tmp_path_factory.mktemp("lease"), Clock()
    alive: dict[str, Lease] = {}
    for name, act in acts:
        if act == "take" and name not in alive:
            made = lease(path, clock, name)
            made.acquire()  # the holder is silent, unless it beats
            alive[name] = made
        elif name in alive and act == "beat":
            alive[name].beat()
        elif name in alive:
            alive.pop(name).release()
        holders = [one for one in alive.values() if one.beat()]
        assert len(holders) <= 1
