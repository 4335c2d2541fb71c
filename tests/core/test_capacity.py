"""What endpoints stand: cases K1 to K11, pure."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daskmr.core.capacity import (
    CONCURRENCY_TAG,
    Variant,
    available,
    capacity,
    choose_variant,
    image_load,
    per_instance,
    target,
)
from daskmr.endpoints.http import HttpEndpoint
from daskmr.errors import RequestError


def test_how_much_an_http_endpoint_stands_is_found_by_trying() -> None:  # K1
    assert HttpEndpoint(url="http://models.example/").concurrency == "auto"


@pytest.mark.parametrize(
    ("variants", "tags", "only", "expected"),
    [
        ([Variant(name="a", max_concurrency=100)], {}, "", 100),  # K2
        ([Variant(name="a", instances=2)], {}, "", 4),  # K3
        ([Variant(name="a", instances=3)], {CONCURRENCY_TAG: "5"}, "", 15),  # K4
        ([Variant(name="v1", instances=2), Variant(name="v2", instances=3)], {}, "", 10),  # K5
        ([Variant(name="v1", instances=2), Variant(name="v2", instances=3)], {}, "v1", 4),
        ([Variant(name="v1", instances=2), Variant(name="v2", instances=3)], {}, "v2", 6),
        ([Variant(name="a", instances=2)], {CONCURRENCY_TAG: "many"}, "", 4),  # K6
        ([Variant(name="a", instances=2)], {CONCURRENCY_TAG: "-3"}, "", 4),
        ([Variant(name="a", instances=2)], {}, "b", 0),  # K7
    ],
)
def test_capacity_is_instances_times_what_each_stands(
    variants: list[Variant], tags: dict[str, str], only: str, expected: int
) -> None:
    assert capacity(variants, per_instance(tags), only) == expected


@pytest.mark.parametrize(("n_regions", "expected"), [(10, 40), (None, 80)])
def test_an_image_is_as_heavy_as_its_regions(n_regions: int | None, expected: int) -> None:  # K9
    assert image_load(n_regions, 4) == expected


@pytest.mark.parametrize(
    ("most", "share", "running", "expected"),
    [(100, 0.8, [48], 32), (50, 1.0, [28], 22), (200, 1.2, [100], 140)],  # K10
)
def test_what_is_left_for_others(
    most: int, share: float, running: list[int], expected: int
) -> None:
    assert available(most, share, running) == expected


def test_variants_have_room_of_their_own() -> None:  # K11
    assert [available(100, 1.0, [load]) for load in (52, 20, 32)] == [48, 80, 68]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 50), (-1.0, 50), (0.001, 1), (0.5, 25)])
def test_a_target_is_at_least_one_call_and_nothing_means_all(share: float, expected: int) -> None:
    assert target(50, share) == expected


def test_images_are_spread_over_variants_by_weight() -> None:  # E9
    variants = [Variant(name="a", weight=70), Variant(name="b", weight=30)]
    drawn = Counter(choose_variant(variants, f"job:{n}") for n in range(10_000))
    assert abs(drawn["a"] - 7000) < 5 * (10_000 * 0.7 * 0.3) ** 0.5


@example([5e-324, 0.0], "")
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), st.text())
def test_an_image_always_goes_to_the_same_variant_and_never_to_one_without_weight(
    weights: list[float], key: str
) -> None:
    variants = [Variant(name=str(n), weight=weight) for n, weight in enumerate(weights)]
    if len(variants) > 1 and not sum(weights):
        with pytest.raises(RequestError, match="TargetVariant"):
            choose_variant(variants, key)
        return
    chosen = choose_variant(variants, key)
    assert choose_variant(variants, key) == chosen
    assert len(variants) == 1 or weights[int(chosen)] > 0
