"""When an endpoint is left alone, and how its return is noticed."""

from itertools import pairwise

from daskmr.endpoints._breaker import FAILURES, PROBE_EVERY_S, Breaker


def failing(breaker: Breaker, n: int, *, now: float, fault: bool = False) -> None:
    for _ in range(n):
        breaker.record_failure(now, round_trip_s=0.2, uniform=0.0, is_model_fault=fault)


def test_it_opens_after_failures_in_a_row_and_a_silence() -> None:
    breaker = Breaker()
    breaker.record_success(10.0)
    failing(breaker, FAILURES, now=10.1)
    assert not breaker.is_open  # calls from before an outage may still come back
    failing(breaker, 1, now=10.3)
    assert breaker.opened_at == 10.3


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker()
    for now in range(20):
        failing(breaker, FAILURES - 1, now=float(now))
        breaker.record_success(now + 0.5)
    assert not breaker.is_open


def test_a_model_that_fails_every_tile_is_broken_not_away() -> None:
    breaker = Breaker()
    failing(breaker, 100, now=50.0, fault=True)
    assert not breaker.is_open
    breaker.record_success(51.0)
    failing(breaker, FAILURES, now=52.0, fault=True)
    assert breaker.is_open


def test_one_probe_at_a_time_and_not_too_often() -> None:
    breaker = Breaker()
    failing(breaker, FAILURES, now=100.0)
    asked = []
    for tenth in range(600):
        now = 100.0 + tenth / 10
        if breaker.may_probe(now):
            asked.append(now)
            assert not breaker.may_probe(now)
            failing(breaker, 1, now=now + 0.05)
    assert 20 <= len(asked) <= 60 / PROBE_EVERY_S
    assert min(b - a for a, b in pairwise(asked)) >= PROBE_EVERY_S


def test_processes_that_ask_the_same_endpoint_share_the_probes() -> None:
    alone, one_of_four = Breaker(), Breaker(peers=4)
    for breaker in (alone, one_of_four):
        failing(breaker, FAILURES, now=0.0)
    assert alone.wait_s(0.0) == PROBE_EVERY_S
    assert one_of_four.wait_s(0.0) == 4 * PROBE_EVERY_S


def test_what_another_process_was_answered_ends_the_outage() -> None:
    breaker = Breaker()
    failing(breaker, FAILURES, now=100.0)
    assert not breaker.record_peers(alive_s=30.0, now=120.0)  # before the outage
    assert breaker.record_peers(alive_s=5.0, now=120.0)
    assert not breaker.is_open
    assert not breaker.record_peers(alive_s=5.0, now=120.0)


def test_a_probe_that_was_cancelled_lets_another_one_go() -> None:
    breaker = Breaker()
    failing(breaker, FAILURES, now=0.0)
    assert breaker.may_probe(10.0)
    breaker.cancel_probe(11.0, uniform=0.0)
    assert not breaker.may_probe(11.0)
    assert breaker.may_probe(11.0 + PROBE_EVERY_S)
