"""What observes the work never makes it fail."""

import logging

import pytest

from daskmr.status import Meter, Metric, Operation, contained
from daskmr.status._metrics import Measurement


def test_an_exception_of_an_observer_is_logged_once_with_type_and_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logged: set[tuple[str, str]] = set()
    errors = [RuntimeError("tile\n0"), RuntimeError("tile 1"), KeyError("x")]
    for error in errors:
        with contained("a callback", logged):
            raise error
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        "a callback failed, the job goes on: RuntimeError: tile 0",
        "a callback failed, the job goes on: KeyError: 'x'",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert vars(caplog.records[0])["daskmr"] == {
        "observer": "a callback",
        "error": "RuntimeError",
        "reason": "tile 0",
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_and_exits_pass(error: type[BaseException]) -> None:
    with pytest.raises(error), contained("a callback", set()):
        raise error


class Broken:
    """A rendering with a fault."""

    def record(self, said: Measurement) -> None:
        raise TypeError(said.operation)


class Counting:
    """A rendering without one."""

    def __init__(self) -> None:
        self.n = 0

    def record(self, said: Measurement) -> None:
        self.n += len(said.values)


def test_a_rendering_that_fails_fails_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    counting = Counting()
    meter = Meter((Broken(), counting))
    for _ in range(3):
        with meter.timed(Operation.IMAGE):
            meter.record(Operation.MODEL, {Metric.INVOCATIONS: 1.0})
    assert counting.n == 3 * (2 + 1)
    assert [record.getMessage() for record in caplog.records] == [
        "Broken metrics failed, the job goes on: TypeError: ModelInvocation"
    ]
