"""The window: slow start, cuts, growth back, and never beyond a share."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

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
    assert widths == [
        2 * INITIAL_WINDOW,
        4 * INITIAL_WINDOW,
        8 * INITIAL_WINDOW,
        16 * INITIAL_WINDOW,
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("capacity", "n_tiles", "ideal_s", "slack"),
    [
        (lambda _: 64, 2048, 6.4, 1.25),
        (lambda now: 16 if 2 <= now < 6 else 64, 2048, 6 + (2048 - 960) / 320, 1.3),
        (lambda _: 16, 4000, 50.0, 1.15),
        (lambda _: 4, 1000, 50.0, 1.25),
        (lambda _: 300, 30000, 20.0, 1.25),
    ],
    ids=["64", "64-16-64", "16", "4", "300"],
)
def test_an_unknown_capacity_is_found_and_kept_busy_without_a_storm(
    capacity: Callable[[float], int], n_tiles: int, ideal_s: float, slack: float, seed: int
) -> None:
    made = Simulation(capacity, n_tiles, seed)
    made.run()
    assert ideal_s <= made.now <= slack * ideal_s
    assert made.n_requests <= 1.1 * n_tiles


def test_it_is_cut_once_a_round_trip_however_many_are_refused() -> None:
    made = CongestionWindow(window=100)
    made.record_success(0.5, 0.0, in_flight=100)
    for _ in range(50):
        made.record_throttling(1.0)
    first = made.limit
    made.record_throttling(1.4)
    assert made.limit == first == 75
    made.record_throttling(1.6)
    assert made.limit < first


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
