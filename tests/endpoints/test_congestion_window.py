"""The window: slow start, cuts, growth back, and never beyond a share."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.endpoints._congestion_window import INITIAL_WINDOW, MAX_WINDOW, CongestionWindow
from daskmr.endpoints._retry import delay_s
from daskmr.errors import CapacityError

BUSY = CapacityError("x", reason="HTTP_429")


@dataclass
class Simulation:
    """Processes with a window each, against one server; events in order, a seed for chance."""

    capacity: Callable[[float], int]
    n_tiles: int
    seed: int = 0
    n_requests: int = 0
    now: float = 0.0

    def run(self, n_processes: int = 2, round_trip_s: float = 0.2) -> None:  # noqa: C901, PLR0915
        chance = random.Random(self.seed)  # noqa: S311
        windows = [CongestionWindow() for _ in range(n_processes)]
        left = [self.n_tiles // n_processes] * n_processes
        again: list[list[int]] = [[] for _ in windows]
        in_flight = [0] * n_processes
        events: list[tuple[float, int, str, int, int]] = []
        order = itertools.count()
        served = 0

        def send(p: int, tries: int) -> None:
            nonlocal served
            self.n_requests += 1
            refused = served >= self.capacity(self.now)
            served += not refused
            spent = 0.003 if refused else round_trip_s * chance.uniform(0.95, 1.05)
            kind = "refused" if refused else "done"
            heapq.heappush(events, (self.now + spent, next(order), kind, p, tries + refused))

        def fill(p: int) -> None:
            while in_flight[p] < windows[p].limit and (again[p] or left[p]):
                in_flight[p] += 1
                tries = again[p].pop() if again[p] else 0
                left[p] -= not tries
                send(p, tries)

        for p in range(n_processes):
            fill(p)
        while events:
            self.now, _, kind, p, tries = heapq.heappop(events)
            window = windows[p]
            if kind == "done":
                served -= 1
                window.record_success(round_trip_s, self.now, in_flight=in_flight[p])
                in_flight[p] -= 1
            elif kind == "refused":
                window.record_throttling(self.now)
                wait = delay_s(BUSY, tries, chance.random(), round_trip_s=window.round_trip_s)
                assert wait is not None
                heapq.heappush(events, (self.now + wait, next(order), "again", p, tries))
            elif in_flight[p] > window.limit:
                in_flight[p] -= 1
                again[p].append(tries)
            else:
                send(p, tries)
            fill(p)


def test_it_doubles_each_round_until_it_is_refused() -> None:
    made = CongestionWindow()
    widths = []
    for trip in range(4):
        for _ in range(made.limit):
            made.record_success(0.2, trip * 0.2, in_flight=made.limit)
        widths.append(made.limit)
    assert widths == [INITIAL_WINDOW * 2**trip for trip in range(1, 5)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("capacity", "n_tiles", "ideal_s", "slack"),
    [
        (lambda _: 64, 2048, 6.4, 1.25),
        (lambda now: 16 if 2 <= now < 6 else 64, 2048, 6 + (2048 - 960) / 320, 1.3),
        (lambda _: 16, 4000, 50.0, 1.15),
        (lambda _: 4, 1000, 50.0, 1.25),
        (lambda _: 1, 1000, 200.0, 1.05),
        (lambda _: 300, 30000, 20.0, 1.25),
    ],
    ids=["64", "64-16-64", "16", "4", "1", "300"],
)
@pytest.mark.parametrize("n_processes", [1, 2])
def test_an_unknown_capacity_is_found_and_kept_busy_without_a_storm(
    capacity: Callable[[float], int], n_tiles: int, ideal_s: float, slack: float, seed: int,
    n_processes: int,
) -> None:  # fmt: skip
    made = Simulation(capacity, n_tiles, seed)
    made.run(n_processes)
    assert ideal_s <= made.now <= slack * ideal_s
    n_probing = n_processes if capacity(0) == 1 else 1  # each looks for more than the one call
    assert made.n_requests <= (1 + 0.1 * n_probing) * n_tiles


@dataclass
class Line:
    """A server of calls that wait in line: it never says that it is busy.

    Each of its `n_servers` takes up to `batch` calls at once, in 1 + batch / 50 times the seconds
    of one.
    """

    n_servers: int
    service_s: float
    batch: int = 1
    seed: int = 0
    longest_s: float = 0.0
    """Longest call, its wait included."""
    widths: list[int] = field(default_factory=list)

    def run(self, n_tiles: int, n_processes: int = 1) -> float:
        """Serve all tiles; return the seconds that it took."""
        chance = random.Random(self.seed)  # noqa: S311
        windows = [CongestionWindow() for _ in range(n_processes)]
        left, in_flight = [n_tiles // n_processes] * n_processes, [0] * n_processes
        line: deque[tuple[int, float]] = deque()
        events: list[tuple[float, int, list[tuple[int, float]]]] = []
        order, now, n_idle = itertools.count(), 0.0, self.n_servers
        while any(left) or events:
            for p, window in enumerate(windows):
                while in_flight[p] < window.limit and left[p]:
                    left[p], in_flight[p] = left[p] - 1, in_flight[p] + 1
                    line.append((p, now))
            while line and n_idle:
                calls = [line.popleft() for _ in range(min(self.batch, len(line)))]
                spent = self.service_s * (1 + (len(calls) - 1) / 50) * chance.uniform(0.7, 1.3)
                heapq.heappush(events, (now + spent, next(order), calls))
                n_idle -= 1
            now, _, calls = heapq.heappop(events)
            n_idle += 1
            for p, sent in calls:
                self.longest_s = max(self.longest_s, now - sent)
                windows[p].record_success(now - sent, now, in_flight=in_flight[p])
                in_flight[p] -= 1
                self.widths.append(windows[p].limit)
        return now


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_processes", [1, 2])
@pytest.mark.parametrize(("n_servers", "n_tiles"), [(1, 1000), (4, 4000), (64, 8000)])
def test_calls_that_wait_in_line_are_few_and_the_endpoint_is_busy(
    n_servers: int, n_tiles: int, n_processes: int, seed: int
) -> None:
    server = Line(n_servers, 0.2, seed=seed)
    spent = server.run(n_tiles, n_processes)
    assert spent <= 1.12 * n_tiles * 0.2 / n_servers
    usual = sorted(server.widths)[len(server.widths) // 2]
    assert n_processes * usual <= max(8 * n_servers, 40)
    assert server.longest_s <= 0.2 * max(70.0, 20.0)


def test_one_that_serves_calls_together_gets_as_many_as_it_takes() -> None:
    server = Line(1, 0.1, batch=64)
    ideal_s = 10_000 / 64 * 0.1 * (1 + 63 / 50)
    assert server.run(10_000) <= 1.1 * ideal_s


def test_what_was_learnt_of_a_line_ends_with_an_outage() -> None:
    made = CongestionWindow()
    for number in range(200):
        made.record_success(0.2, 0.05 * (number + 1), in_flight=made.limit)
    assert made.limit == 18  # 15 of them were enough, and a margin
    made.restart()
    for trip in range(2):
        for _ in range(made.limit):
            made.record_success(0.2, 20 + 0.2 * trip, in_flight=made.limit)
    assert made.limit == 32


def test_it_is_cut_once_a_round_trip_and_by_as_many_as_a_burst_was_too_large() -> None:
    made = CongestionWindow(window=100)
    made.record_success(0.5, 0.0, in_flight=100)
    made.record_throttling(1.0)
    assert made.limit == 90
    for _ in range(9):
        made.record_throttling(1.1)
    assert made.limit == 81
    made.record_throttling(1.4)  # again in the same round trip: retries
    assert made.limit == 81
    made.record_throttling(1.6)
    assert made.limit == 57  # so soon again: the capacity has fallen
    for _ in range(500):
        made.record_throttling(1.6)
    assert made.limit == 17  # slow start doubles: the cause of half of them at most
    made.record_throttling(4.0)
    assert made.limit == 15


def test_a_known_share_is_used_at_once_and_never_exceeded() -> None:
    made = CongestionWindow()
    made.cap(40)
    assert made.limit == 40
    for now in range(100):
        made.record_success(0.2, float(now), in_flight=40)
    assert made.limit == 40
    made.cap(5)
    assert made.limit == 5
    made.cap(0)
    assert made.limit == 0
    made.cap(12)
    assert made.limit == 12


def test_a_window_that_is_not_used_does_not_grow() -> None:
    made = CongestionWindow()
    for now in range(100):
        made.record_success(0.2, float(now), in_flight=2)
    assert made.limit == INITIAL_WINDOW


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_it_always_lets_something_through(events: list[tuple[bool, float]]) -> None:
    made, now = CongestionWindow(), 0.0
    for well, pause in events:
        now += pause
        if well:
            made.record_success(pause, now, in_flight=made.limit)
        else:
            made.record_throttling(now)
        assert 1 <= made.limit <= MAX_WINDOW
