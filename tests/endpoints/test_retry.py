"""When a call is made again, and after how long."""

import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daskmr.endpoints._retry import MAX_WAIT_S, delay_s
from daskmr.endpoints._status import retry_after_s
from daskmr.errors import (
    AuthError,
    BadResponseError,
    CapacityError,
    EndpointError,
    PermanentError,
    SilentError,
    TransientError,
    UnreachableError,
)

SPENDING = [AuthError, BadResponseError, PermanentError, SilentError, TransientError]
WAITING = [CapacityError, UnreachableError]
ALL = SPENDING + WAITING
ATTEMPTS = {
    AuthError: 1,
    BadResponseError: 2,
    PermanentError: 1,
    SilentError: 2,
    TransientError: 4,
}


@pytest.mark.parametrize("kind", SPENDING)
def test_each_class_has_its_number_of_attempts(kind: type[EndpointError]) -> None:
    error = kind("x", reason="X")
    attempt = 1
    while delay_s(error, attempt, 0.5) is not None:
        attempt += 1
    assert attempt == ATTEMPTS[kind]


@pytest.mark.parametrize("kind", WAITING)
def test_an_endpoint_that_is_busy_or_away_is_waited_for(kind: type[EndpointError]) -> None:
    assert all(delay_s(kind("x", reason="X"), n, 0.5) is not None for n in (1, 12, 1000))


@pytest.mark.parametrize("kind", ALL)
def test_errors_travel_between_processes_with_all_they_know(kind: type[EndpointError]) -> None:
    error = kind("who: what", reason="X")
    error.attempts = 7
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert (str(again), again.reason, again.attempts) == ("who: what", "X", 7)


def test_what_a_busy_endpoint_asked_for_travels_too() -> None:
    error = CapacityError("x", reason="HTTP_429", retry_after_s=2.5)
    assert pickle.loads(pickle.dumps(error)).retry_after_s == 2.5  # noqa: S301 - our own bytes


@given(st.text() | st.from_regex(r"\w{3}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ ([+-]\d+|GMT)"))
@example("0\x1f")
@example(" 7\t")
@example("²")
def test_whatever_retry_after_says_is_seconds_or_nothing(header: str) -> None:
    found = retry_after_s(header)
    assert found is None or found >= 0


@given(st.sampled_from(ALL), st.integers(1, 11), st.floats(0, 1))
def test_waits_are_bounded_and_start_short(
    kind: type[EndpointError], attempt: int, uniform: float
) -> None:
    wait = delay_s(kind("x", reason="X"), attempt, uniform)
    assert wait is None or 0 <= wait <= 20
    if attempt == 1 and wait is not None:
        assert wait <= 1


def test_an_endpoint_that_says_when_to_come_back_is_taken_at_its_word() -> None:
    def wait(seconds: float) -> float | None:
        return delay_s(CapacityError("x", reason="X", retry_after_s=seconds), 1, 0.0)

    assert wait(7.0) == 7.0
    assert wait(1e6) == MAX_WAIT_S


def test_retry_after_may_be_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=30)
    found = retry_after_s(format_datetime(later, usegmt=True))
    assert found is not None
    assert 25 < found <= 30
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_s(None) is None
    assert retry_after_s("-5") is None
    assert retry_after_s(f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT") is None
