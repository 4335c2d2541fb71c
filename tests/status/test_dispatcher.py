import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.events import Status, StatusEvent
from daskmr.errors import PermanentError, StoreError, UnreachableError
from daskmr.status import EventStore, StatusDispatcher
from daskmr.status._outbox import Outbox, read
from daskmr.status.sns import SnsChannel
from daskmr.store.object_store import FolderStore, object_store
from daskmr.testing.contracts_status import image_event, life

QUICK = (0.01, 0.05)


@dataclass
class Board:
    """A channel in memory, which may be away."""

    key: str = "board"
    is_away: bool = False
    refuses: Callable[[StatusEvent], bool] = lambda _: False
    said: list[StatusEvent] = field(default_factory=list)
    n_calls: int = 0
    gate: threading.Event | None = None

    def publish(self, event: StatusEvent) -> None:
        self.n_calls += 1
        if self.gate is not None:
            self.gate.wait(20)
        if self.is_away:
            msg = "board: away"
            raise UnreachableError(msg, reason="CONNECT")
        if self.refuses(event):
            msg = "board: never"
            raise PermanentError(msg, reason="InvalidParameter")
        self.said.append(event)


@dataclass
class Flaky:
    """A folder that fails as often as it is told to, for names that end so."""

    inner: FolderStore
    n_failures: int = 0
    ending: str = ""

    @property
    def url(self) -> str:
        return self.inner.url

    def create(self, name: str, content: bytes) -> bool:
        self._fail(name)
        return self.inner.create(name, content)

    def read(self, name: str) -> bytes | None:
        self._fail(name)
        return self.inner.read(name)

    def names(self, prefix: str) -> list[str]:
        self._fail(prefix)
        return self.inner.names(prefix)

    def _fail(self, name: str) -> None:
        if self.n_failures and name.endswith(self.ending):
            self.n_failures -= 1
            msg = "store: away"
            raise StoreError(msg)


def shelf(path: Path, name: str = "job-1") -> FolderStore:
    return FolderStore(str(path / "jobs" / name))


def kept(where: EventStore) -> list[StatusEvent]:
    """Events in the folder of a job, in order."""
    names = [name for name in where.names("outbox/") if name.endswith(".json")]
    events = [read(where, int(Path(name).stem)) for name in names]
    return [event for event in events if event is not None]


def ids(events: list[StatusEvent]) -> list[str]:
    return [event.id for event in events]


def test_events_are_kept_and_said_in_order(tmp_path: Path) -> None:
    board = Board()
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life():
            assert status_dispatcher.post(shelf(tmp_path), event)
        assert status_dispatcher.drain(20)
    assert board.said == life()
    assert kept(shelf(tmp_path)) == life()
    assert [n for n in shelf(tmp_path).names("outbox/") if n.endswith(".board")] == [
        f"outbox/{n:06d}.board" for n in range(1, 6)
    ]


def test_a_job_fails_once_whoever_says_it(tmp_path: Path) -> None:
    board = Board()
    for _ in range(2):  # the second process says it all again
        with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
            for event in [image_event(), image_event(Status.FAILED), image_event(Status.FAILED)]:
                status_dispatcher.post(shelf(tmp_path), event)
            assert status_dispatcher.drain(20)
    assert [event.status for event in board.said] == ["STARTED", "FAILED"]


def test_a_channel_that_is_away_delays_nobody_and_hears_all_later(tmp_path: Path) -> None:
    away, there = Board(key="away", is_away=True), Board(key="there")
    with StatusDispatcher([away, there], backoff_s=QUICK) as status_dispatcher:
        began = time.monotonic()
        for event in life():
            status_dispatcher.post(shelf(tmp_path), event)
        assert time.monotonic() - began < 0.5
        assert not status_dispatcher.drain(0.3)
        assert there.said == life()
        assert away.said == []
        assert status_dispatcher.n_waiting == 5
        away.is_away = False
        assert status_dispatcher.drain(20)
    assert away.said == life()


def test_rests_grow_while_a_channel_is_away(tmp_path: Path) -> None:
    board = Board(is_away=True)
    with StatusDispatcher([board], backoff_s=(0.05, 10.0)) as status_dispatcher:
        status_dispatcher.post(shelf(tmp_path), image_event())
        time.sleep(1.0)
        assert 3 <= board.n_calls <= 6  # at 0, 0.05, 0.15, 0.35, 0.75 s
        board.is_away = False  # and the end asks once more, without a rest
        began = time.monotonic()
        assert status_dispatcher.close(20)
        assert time.monotonic() - began < 0.4


def test_what_a_process_leaves_behind_the_next_one_says_first(tmp_path: Path) -> None:
    board = Board(is_away=True)
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life()[:3]:
            status_dispatcher.post(shelf(tmp_path), event)
        assert not status_dispatcher.close(0.3)
    board.is_away = False
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        status_dispatcher.post(shelf(tmp_path), life()[0])  # no news
        for event in life()[3:]:
            status_dispatcher.post(shelf(tmp_path), event)
        assert status_dispatcher.drain(20)
    assert board.said == life()


def test_a_job_that_is_over_is_resumed_by_its_folder_alone(tmp_path: Path) -> None:
    board = Board(is_away=True)
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life():
            status_dispatcher.post(shelf(tmp_path), event)
        status_dispatcher.close(0.3)
    board.is_away = False
    for _ in range(2):
        with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
            for _ in range(3):
                assert status_dispatcher.resume(shelf(tmp_path))
            assert status_dispatcher.drain(20)
        assert board.said == life()


def test_an_event_that_is_never_taken_does_not_stop_the_others(tmp_path: Path) -> None:
    board = Board(refuses=lambda event: event.progress == 50)
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life():
            status_dispatcher.post(shelf(tmp_path), event)
        assert status_dispatcher.drain(20)
    assert [event.progress for event in board.said] == [None, 0, 100, None]
    assert board.n_calls == 5
    assert shelf(tmp_path).read("outbox/000003.board") == b"refused: board: never\n"


def test_a_broken_event_does_not_stop_the_others(tmp_path: Path) -> None:
    board = Board(is_away=True)
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life():
            status_dispatcher.post(shelf(tmp_path), event)
        status_dispatcher.close(0.3)
    Path(shelf(tmp_path).url, "outbox", "000002.json").write_bytes(b'["no event"')
    board.is_away = False
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        status_dispatcher.resume(shelf(tmp_path))
        assert status_dispatcher.drain(20)
    assert ids(board.said) == ids([life()[0], *life()[2:]])


def test_one_job_does_not_wait_for_another(tmp_path: Path) -> None:
    board = Board(refuses=lambda _: False)
    bad = Flaky(shelf(tmp_path, "bad"), n_failures=10**6)
    with StatusDispatcher([board], backoff_s=(0.01, 0.05)) as status_dispatcher:
        status_dispatcher.post(bad, image_event(job_id="bad"))
        for event in life("good"):
            status_dispatcher.post(shelf(tmp_path, "good"), event)
        assert not status_dispatcher.drain(0.5)
        assert [event.job_id for event in board.said] == ["good"] * 5
        bad.n_failures = 0
        assert status_dispatcher.drain(20)
    assert board.said[-1].job_id == "bad"


@pytest.mark.parametrize("n_failures", range(8))
def test_a_store_that_is_away_for_a_while_loses_and_doubles_nothing(
    tmp_path: Path, n_failures: int
) -> None:
    board = Board()
    where = Flaky(shelf(tmp_path))
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life():
            where.n_failures = n_failures
            status_dispatcher.post(where, event)
            assert status_dispatcher.drain(20)
    assert board.said == life()


def test_what_was_said_is_not_said_again_when_it_cannot_be_noted(tmp_path: Path) -> None:
    board = Board()
    where = Flaky(shelf(tmp_path), n_failures=5, ending=".board")
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in life():
            status_dispatcher.post(where, event)
        assert status_dispatcher.drain(20)
        assert status_dispatcher._deliveries[0]._refusals == {}
    assert where.n_failures == 0
    assert board.said == life()


def test_after_a_success_rests_are_short_again(tmp_path: Path) -> None:
    away = iter([True] * 6 + [False, True, False])
    calls: list[float] = []

    @dataclass
    class Scripted(Board):
        def publish(self, event: StatusEvent) -> None:
            calls.append(time.monotonic())
            self.is_away = next(away)
            super().publish(event)

    board = Scripted()
    with StatusDispatcher([board], backoff_s=(0.02, 10.0)) as status_dispatcher:
        status_dispatcher.post(shelf(tmp_path), life()[0])
        status_dispatcher.post(shelf(tmp_path), life()[1])
        assert status_dispatcher.drain(20)
    assert board.said == life()[:2]
    assert calls[6] - calls[5] > 0.6
    assert calls[8] - calls[7] < 0.4


def test_a_full_queue_drops_progress_before_the_end(tmp_path: Path) -> None:
    blocked = Flaky(shelf(tmp_path), n_failures=10**9)
    board = Board()
    with StatusDispatcher([board], limit=10, backoff_s=QUICK) as status_dispatcher:
        steps = [
            status_dispatcher.post(blocked, image_event(Status.IN_PROGRESS, progress=n))
            for n in range(20)
        ]
        assert (sum(steps), steps[:5]) == (5, [True] * 5)
        assert status_dispatcher.post(blocked, image_event(Status.SUCCESS))
        blocked.n_failures = 0
        assert status_dispatcher.drain(20)
    assert [event.progress for event in board.said] == [0, 1, 2, 3, 4, None]


def test_a_closed_courier_takes_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status_dispatcher = StatusDispatcher([Board()])
    assert status_dispatcher.close()
    assert not status_dispatcher.post(shelf(tmp_path), image_event(Status.FAILED))
    assert "event dropped: FAILED of job job-1" in caplog.text


def test_a_channel_that_hangs_never_blocks_the_job(tmp_path: Path) -> None:
    gate = threading.Event()
    board = Board(gate=gate)
    status_dispatcher = StatusDispatcher([board], backoff_s=QUICK)
    began = time.monotonic()
    for n in range(100):
        status_dispatcher.post(shelf(tmp_path), image_event(Status.IN_PROGRESS, progress=n))
    assert time.monotonic() - began < 0.5
    assert not status_dispatcher.close(0.2)
    assert time.monotonic() - began < 3.0
    assert len(kept(shelf(tmp_path))) > 0
    gate.set()


def test_secrets_are_not_kept(tmp_path: Path) -> None:
    url = "https://host/i.tif?X-Amz-Signature=5ec2e7canary"
    with StatusDispatcher([Board()], backoff_s=QUICK) as status_dispatcher:
        status_dispatcher.post(
            shelf(tmp_path), image_event(image_url=url, message="ASIAIOSFODNN7CANARY1")
        )
        assert status_dispatcher.drain(20)
    content = Path(shelf(tmp_path).url, "outbox", "000001.json").read_text(encoding="utf-8")
    assert "canary" not in content.lower()


def test_of_two_that_end_a_job_at_once_one_is_heard(tmp_path: Path) -> None:
    for n in range(20):
        where = shelf(tmp_path, f"job-{n}")
        boxes = [Outbox(where) for _ in range(4)]
        ends = [Status.SUCCESS, Status.FAILED, Status.PARTIAL, Status.CANCELED]
        Outbox(where).add(image_event())
        with ThreadPoolExecutor(4) as pool:
            numbers = list(
                pool.map(lambda box, end: box.add(image_event(end)), boxes, ends, timeout=20)
            )
        assert sorted(number or 0 for number in numbers) == [0, 0, 0, 2]
        assert len(kept(where)) == 2


def test_memory_of_old_jobs_is_given_back(tmp_path: Path) -> None:
    board = Board()
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for n in range(300):
            status_dispatcher.post(
                shelf(tmp_path, f"{n}"), image_event(Status.SUCCESS, job_id=f"{n}")
            )
            assert status_dispatcher.drain(20)
        assert len(status_dispatcher._outboxes) <= 256
        status_dispatcher.post(shelf(tmp_path, "0"), image_event(Status.SUCCESS, job_id="0"))
        assert status_dispatcher.drain(20)
    assert len(board.said) == 300


@given(
    steps=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans()), max_size=25)
)
def test_whatever_fails_each_job_is_heard_in_order_and_once(
    steps: list[tuple[str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("store")
    boards = [Board(key="one"), Board(key="two")]
    posted: dict[str, list[StatusEvent]] = {"a": [], "b": []}
    with StatusDispatcher(boards, backoff_s=(0.001, 0.005)) as status_dispatcher:
        for job, number, is_away in steps:
            boards[0].is_away = is_away
            event = life(job)[min(number, 4)]
            posted[job].append(event)
            status_dispatcher.post(shelf(path, job), event)
        boards[0].is_away = False
        assert status_dispatcher.drain(20)
    for board in boards:
        for job, events in posted.items():
            found = [event.id for event in board.said if event.job_id == job]
            assert found == ids(kept(shelf(path, job)))
            assert len(set(found)) == len(found)
            assert set(found) <= set(ids(events))
            if any(event.status.is_over for event in events):
                assert found[-1] == life(job)[-1].id


def test_sns_that_is_down_for_the_whole_job_hears_of_it_afterwards(
    world: Any, tmp_path: Path
) -> None:
    arn, url = world.topic()
    world.stop()
    with StatusDispatcher([SnsChannel(topic=arn)], backoff_s=(0.1, 1.0)) as status_dispatcher:
        began = time.monotonic()
        for job in ("a", "b"):
            for event in life(job):
                status_dispatcher.post(shelf(tmp_path, job), event)
        assert time.monotonic() - began < 0.5
        assert not status_dispatcher.drain(2.0)
        world.start()
        began = time.monotonic()
        assert status_dispatcher.drain(60)
        assert time.monotonic() - began < 60
    found = world.heard(url)
    for job in ("a", "b"):
        assert [said["event_id"] for said in found if said["job_id"] == job] == ids(life(job))


def test_events_of_a_killed_process_are_said_by_the_next(world: Any, tmp_path: Path) -> None:
    arn, url = world.topic()
    world.stop()
    code = textwrap.dedent("""
        import sys, time
        from daskmr.status import StatusDispatcher
        from daskmr.status.sns import SnsChannel
        from daskmr.store.object_store import object_store
        from daskmr.testing.contracts_status import life

        where = object_store(sys.argv[2])
        status_dispatcher = StatusDispatcher([SnsChannel(topic=sys.argv[1])])
        for event in life():
            status_dispatcher.post(where, event)
        while len(where.names("outbox/")) < len(life()):
            time.sleep(0.01)
        sys.stdout.write("kept\\n")
        sys.stdout.flush()
        time.sleep(60)
    """)
    where = shelf(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", code, arn, where.url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "kept\n"
        os.kill(process.pid, signal.SIGKILL)
    world.start()
    with StatusDispatcher([SnsChannel(topic=arn)]) as status_dispatcher:
        status_dispatcher.resume(where)
        assert status_dispatcher.drain(30)
    assert [said["event_id"] for said in world.heard(url)] == ids(life())


def test_a_bucket_keeps_events_as_a_folder_does(s3: Any) -> None:
    assert s3 is not None
    where = object_store("s3://bucket/store/jobs/job-1")
    board = Board()
    with StatusDispatcher([board], backoff_s=QUICK) as status_dispatcher:
        for event in [*life(), *life()]:
            status_dispatcher.post(where, event)
        assert status_dispatcher.drain(30)
    assert board.said == life()
    assert json.loads(where.read("outbox/000001.json") or b"")["status"] == "STARTED"
