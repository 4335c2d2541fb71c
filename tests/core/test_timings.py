"""Time by stage: sums are exact, percentiles within a twentieth, both add up."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.timings import Effort, Stopwatch, Times

SECONDS = st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=200)


def timed(seconds: list[float], stage: str = "read") -> Stopwatch:
    watch = Stopwatch()
    for value in seconds:
        watch.add(stage, value)
    return watch


@given(SECONDS, st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_percentiles_are_right_within_a_twentieth(seconds: list[float], part: float) -> None:
    times = timed(seconds).times["read"]
    exact = float(np.quantile(seconds, part, method="inverted_cdf"))
    assert exact * (1 - 1e-9) <= times.percentile(part) <= exact * 1.05
    assert times.total_s == pytest.approx(sum(seconds))
    assert times.n == len(seconds)


@given(SECONDS, SECONDS)
def test_efforts_add_up_as_if_measured_by_one_watch(one: list[float], two: list[float]) -> None:
    first = Effort(n_pixels=3, times=timed(one).times)
    second = Effort(n_pixels=4, times=timed(two).times | timed(two, "infer").times)
    both = first + second
    assert both.n_pixels == 7
    assert both.times["read"].histogram == timed(one + two).times["read"].histogram
    assert both.times["infer"].total_s == pytest.approx(sum(two))
    assert Effort.of(json.loads(json.dumps(both.as_dict()))) == both


def test_nothing_takes_no_time() -> None:
    assert Times().percentile(0.5) == 0.0
    assert Effort() + Effort() == Effort()
    assert Effort.of({}) == Effort()
    assert timed([0.0]).times["read"].percentile(0.5) == pytest.approx(1e-6)
