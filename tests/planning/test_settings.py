"""Options: defaults, forms that are accepted, and one error that names every wrong one."""

import pytest

from daskmr.core.grid import Size
from daskmr.errors import RequestError
from daskmr.planning.settings import Settings


def test_defaults_are_the_documented_ones() -> None:
    made = Settings.of({})
    assert made.tile_size == Size(height=1024, width=1024)
    assert made.overlap == Size(height=50, width=50)
    assert (made.merge, made.iou, made.strategy) == ("edge_aware", 0.5, "cover")
    assert (made.tile_format, made.tile_compression) == ("GTIFF", "NONE")
    assert made.job_id == ""


def test_sizes_may_be_numbers_text_or_pairs() -> None:
    for value in ("640x480", (640, 480), Size(height=480, width=640)):
        assert Settings.of({"tile_size": value}).tile_size == Size(height=480, width=640)
    assert Settings.of({"tile_size": 640, "overlap": "8x16"}).overlap == Size(height=16, width=8)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tile_syze": 5}, "tile_syze"),
        ({"tile_size": "big"}, "'big'"),
        ({"tile_size": 0}, "tile_size: 0 has no pixels"),
        ({"tile_size": 100, "overlap": 100}, "overlap: 100x100"),
        ({"tile_size": "200x100", "overlap": 100}, "overlap: 100x100"),
        ({"tile_size": 40}, "overlap: 50x50"),
        ({"overlap": -1}, "-1"),
        ({"iou": 1.1}, "iou: 1.1"),
        ({"iou": float("nan")}, "iou: nan"),
        ({"strategy": "random"}, "'random'"),
        ({"concurrency": 0}, "concurrency: 0"),
        ({"timeout_s": -2.0}, "timeout_s: -2.0"),
        ({"job_id": "a/b"}, "'a/b'"),
        ({"job_id": "a..b"}, "'a..b'"),
        ({"job_id": "x" * 129}, "job_id"),
    ],
)
def test_a_wrong_option_is_refused_by_name_and_value(
    options: dict[str, object], named: str
) -> None:
    with pytest.raises(RequestError) as caught:
        Settings.of(options)
    assert named in str(caught.value)


def test_all_wrong_options_are_named_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        Settings.of({"iou": 7.0, "strategy": "x", "job_id": "/"})
    assert len(caught.value.problems) == 3
