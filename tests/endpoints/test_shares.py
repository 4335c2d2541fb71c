"""One capacity, many processes."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from daskmr.endpoints.shares import EXPIRE_S, SETTLE_S, Report, ShareBook, fair_shares

NAMES = st.text("abcdef", min_size=1, max_size=2)


def report(
    *, capacity: int | None = 64, share: int | None = 0, in_flight: int = 0, waiting: int = 100
) -> Report:
    return Report(capacity=capacity, share=share, in_flight=in_flight, waiting=waiting, alive_s=inf)


@given(st.dictionaries(NAMES, st.integers(0, 100), min_size=1), st.integers(0, 200), st.integers())
def test_shares_use_all_of_the_capacity_and_are_fair(
    wants: dict[str, int], capacity: int, turn: int
) -> None:
    shares = fair_shares(wants, capacity, turn=turn)
    assert sum(shares.values()) == capacity
    satisfied = min(sum(wants.values()), capacity)
    assert sum(min(shares[n], wants[n]) for n in wants) == satisfied
    hungry = [shares[n] for n in wants if shares[n] < wants[n]]
    if hungry:  # nobody has more than a hungry one, but for the call that goes round
        assert max(shares.values()) <= min(hungry) + 1


def test_what_cannot_be_divided_goes_round() -> None:
    turns = [fair_shares({"a": 9, "b": 9, "c": 9}, 1, turn=t) for t in range(3)]
    assert [max(t, key=lambda n: t[n]) for t in turns] == ["a", "b", "c"]


@given(
    st.integers(0, 20),
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.integers(0, 30), st.integers(0, 30), st.booleans(),
            st.sampled_from([0.01, 0.5, SETTLE_S]),
        ),
        max_size=60,
    ),
)  # fmt: skip
def test_what_is_in_flight_never_adds_up_to_more_than_the_capacity(
    capacity: int, events: list[tuple[str, int, int, bool, float]]
) -> None:
    """Also when processes that have nothing to do leave, and begin again, with no share at all."""
    book, now = ShareBook(), 0.0
    share: dict[str, int] = dict.fromkeys("abcd", 0)
    in_flight: dict[str, int] = dict.fromkeys("abcd", 0)
    for name, ended, waiting, leaves, later_s in events:
        now += later_s
        for each in "abcd":  # all beat, so that none expires
            if share[each] or in_flight[each]:
                said = report(capacity=capacity, share=share[each], in_flight=in_flight[each])
                share[each] = book.exchange(each, said, now).share or 0
        in_flight[name] = max(0, in_flight[name] - ended)
        if leaves and not in_flight[name]:
            book.leave(name)
            share[name] = 0
            continue
        said = report(
            capacity=capacity, share=share[name], in_flight=in_flight[name], waiting=waiting
        )
        grant = book.exchange(name, said, now)
        assert grant.share is not None
        share[name] = grant.share
        in_flight[name] = max(in_flight[name], min(grant.share, in_flight[name] + waiting))
        assert sum(in_flight.values()) <= capacity


def test_a_process_that_has_little_to_do_gives_way_to_one_that_has_much() -> None:
    book = ShareBook()
    share = {"a": 32, "b": 32}
    wants = {"a": 1, "b": 100}
    for beat in range(6):
        for name, want in wants.items():
            said = report(share=share[name], in_flight=min(share[name], want), waiting=want)
            share[name] = book.exchange(name, said, beat * 0.5).share or 0
    assert share["b"] >= 60
    assert share["a"] + share["b"] <= 64


def test_a_process_that_says_nothing_is_forgotten() -> None:
    book = ShareBook()
    book.exchange("a", report(share=64, in_flight=64), 0.0)
    assert book.exchange("b", report(), 1.0).share == 0
    assert book.exchange("b", report(), 1.0 + EXPIRE_S).share == 64


def test_nobody_gets_more_than_an_equal_part_until_all_that_will_call_have_reported() -> None:
    book = ShareBook()
    first = Report(capacity=64, share=0, in_flight=0, waiting=90, alive_s=inf, processes=2)
    assert book.exchange("a", first, 0.0).share == 32
    assert book.exchange("a", first, SETTLE_S - 0.1).share == 32
    assert book.exchange("a", first, SETTLE_S + 0.1).share == 64


def test_more_processes_than_calls_get_one_each_in_turn() -> None:
    book = ShareBook()
    first = Report(capacity=1, share=0, in_flight=0, waiting=9, alive_s=inf, processes=3)
    assert book.exchange("a", first, 0.0).share == 1
    assert book.exchange("b", first, 0.1).share == 0


def test_an_unknown_capacity_is_not_divided() -> None:
    grant = ShareBook().exchange("a", report(capacity=None, share=None), 0.0)
    assert grant.share is None


def test_all_hear_when_anybody_was_answered() -> None:
    book = ShareBook()
    book.exchange("a", Report(capacity=4, share=2, in_flight=0, waiting=0, alive_s=0.5), 10.0)
    assert book.exchange("b", report(), 12.0).alive_s == 2.5
    assert book.exchange("b", report(), 12.0).peers == 2


def test_the_least_capacity_that_a_process_knows_holds() -> None:
    book = ShareBook()
    book.exchange("a", report(capacity=10), 0.0)
    assert book.exchange("b", report(capacity=64), 0.0).share == 0
    book.leave("a")
    assert book.exchange("b", report(capacity=64), 0.0).share == 64
