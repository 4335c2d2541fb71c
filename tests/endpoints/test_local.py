"""Models in the worker's own process, and how a user names a model."""

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from daskmr.endpoints import Hints, choose
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.endpoints.http import HttpEndpoint
from daskmr.endpoints.local import BuiltinModel, CallableModel
from daskmr.errors import PermanentError, RequestError, TransientError, UnknownNameError
from daskmr.models import MODELS

TILE = np.zeros((3, 8, 8), np.uint8)


def zero(tile: Any) -> None:
    tile[:] = 7


def faulty(tile: Any) -> None:
    msg = f"shape {tile.shape}\nis wrong"
    raise ValueError(msg)


class Meter:
    """How many calls of a function run at once."""

    def __init__(self, *, thread_safe: bool) -> None:
        self.thread_safe = thread_safe
        self.inside = self.widest = 0
        self.lock, self.together = threading.Lock(), threading.Barrier(4)

    def __call__(self, _tile: Any) -> None:
        with self.lock:
            self.inside += 1
            self.widest = max(self.widest, self.inside)
        if self.thread_safe:
            self.together.wait(20)
        with self.lock:
            self.inside -= 1


def test_a_function_gets_a_copy_that_it_may_change() -> None:
    tile = TILE.copy()
    model = choose(zero)
    assert isinstance(model, LocalModel)
    assert not isinstance(model, Endpoint)
    model.detect(tile[:, 2:6])
    assert np.array_equal(tile, TILE)


@pytest.mark.parametrize(("thread_safe", "widest"), [(True, 4), (False, 1)])
def test_calls_are_one_at_a_time_unless_declared_safe(*, thread_safe: bool, widest: int) -> None:
    meter = Meter(thread_safe=thread_safe)
    model = CallableModel(name=f"meter {thread_safe}", function=meter)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(model.detect, [TILE] * 4))
    assert meter.widest == widest


COUNTING = """
from time import sleep
from typing import ClassVar
from daskmr.registry import plugin

inside = widest = 0

@plugin
class Counting:
    thread_safe: ClassVar[bool] = False

    def detect(self, pixels):
        global inside, widest
        inside += 1
        widest = max(widest, inside)
        sleep(0.01)
        inside -= 1
"""


def test_a_listed_model_that_is_not_thread_safe_is_asked_one_tile_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting_model.py").write_text(COUNTING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(
        cast("dict[str, str]", MODELS.builtin), "counting", "counting_model:Counting"
    )
    model = BuiltinModel(name="counting")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(model.detect, [TILE] * 4))
    assert import_module("counting_model").widest == 1


def test_a_module_cannot_be_named_where_that_is_not_allowed() -> None:
    with pytest.raises(UnknownNameError, match="json:loads") as caught:
        choose("json:loads", hints=Hints(is_trusted=False))
    assert "module:function" not in str(caught.value)
    assert choose("blobs", hints=Hints(is_trusted=False)) == BuiltinModel(name="blobs")


def test_what_a_model_raises_is_named_in_one_line() -> None:
    model = choose(faulty)
    assert isinstance(model, LocalModel)
    with pytest.raises(PermanentError) as caught:
        model.detect(TILE)
    assert caught.value.reason == "MODEL_ERROR"
    assert str(caught.value) == "faulty: ValueError: shape (3, 8, 8) is wrong"


def test_a_fault_with_a_status_keeps_it() -> None:
    model = BuiltinModel(name="failure")
    red = TILE + np.array([255, 0, 0], np.uint8)[:, None, None]
    with pytest.raises(TransientError) as caught:
        model.detect(red)
    assert caught.value.reason == "HTTP_500"


def test_models_are_named_in_many_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_module.py").write_text("def f(tile): return None\nnumber = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert isinstance(choose("https://host/x"), HttpEndpoint)
    assert isinstance(choose("HTTP://host/x"), HttpEndpoint)
    assert choose("blobs") == BuiltinModel(name="blobs")
    imported = choose("some_module:f")
    assert isinstance(imported, CallableModel)
    assert pickle.loads(pickle.dumps(imported)) == imported  # noqa: S301 - our own bytes
    assert choose(imported) is imported
    with pytest.raises(RequestError, match="some_module:number"):
        choose("some_module:number")


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("nonsense", UnknownNameError),
        ("", UnknownNameError),
        ("ftp://host/x", UnknownNameError),
        ("no_such_module:f", RequestError),
        ("json:no_such_function", RequestError),
        (":f", RequestError),
        (5, RequestError),
        (None, RequestError),
    ],
)
def test_what_is_no_model_is_refused_by_name(model: object, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        choose(model)
    assert repr(model) in str(caught.value)


def test_options_reach_a_remote_endpoint() -> None:
    made = choose("http://host/", hints=Hints(concurrency=64, timeout_s=3.0))
    assert made == HttpEndpoint(url="http://host/", concurrency=64, timeout_s=3.0)
    assert choose("http://host/") == HttpEndpoint(url="http://host/")


def test_parameters_that_a_model_does_not_take_are_refused() -> None:
    assert choose("flood", parameters={"CustomAttributes": "flood_volume=5"}) == BuiltinModel(
        name="flood", attributes="flood_volume=5"
    )
    refused: list[tuple[Any, dict[str, Any]]] = [
        ("flood", {"X-Foo": 1}),
        ("flood", {"CustomAttributes": "flood=5"}),
        (zero, {"a": 1}),
    ]
    for model, parameters in refused:
        with pytest.raises(RequestError):
            choose(model, parameters=parameters)


class Batched:
    """Answers each tile with its first pixel; fails on 13, as a whole."""

    def __init__(self, max_batch: Any) -> None:
        self.max_batch = max_batch
        self.asked: list[int] = []

    def __call__(self, tiles: list[Any]) -> list[Any]:
        assert isinstance(tiles, list)
        self.asked.append(len(tiles))
        firsts = [int(tile[0, 0, 0]) for tile in tiles]
        if 13 in firsts:
            msg = f"unlucky {firsts}"
            raise ValueError(msg)
        for tile in tiles:
            tile[:] = 99
        return firsts


def tiles_of(*values: int) -> list[Any]:
    return [np.full((1, 2, 2), value, np.uint8) for value in values]


def test_a_function_that_takes_lists_gets_as_many_tiles_as_it_says() -> None:
    function = Batched(4)
    model = CallableModel(name="batched", function=function)
    given = tiles_of(*range(10))
    assert model.max_batch == 4
    assert model.detect_batch(given) == [*range(10)]
    assert function.asked == [4, 4, 2]
    assert model.detect(given[7]) == 7
    assert model.detect_batch([]) == []
    assert function.asked == [4, 4, 2, 1]
    assert [int(tile.max()) for tile in given] == [*range(10)]


def test_a_function_that_takes_lists_of_one_is_called_with_lists() -> None:
    model = CallableModel(name="batched", function=Batched(1))
    assert model.detect(tiles_of(5)[0]) == 5
    assert model.detect_batch(tiles_of(5, 6)) == [5, 6]


def test_a_bad_tile_does_not_take_its_neighbours_with_it() -> None:
    function = Batched(3)
    model = CallableModel(name="batched", function=function)
    first, bad, third, fourth = model.detect_batch(tiles_of(1, 13, 3, 4))
    assert (first, third, fourth) == (1, 3, 4)
    assert isinstance(bad, PermanentError)
    assert (str(bad), bad.reason) == ("batched: ValueError: unlucky [13]", "MODEL_ERROR")
    assert function.asked == [3, 1, 1, 1, 1]


def test_the_failure_of_a_single_tile_is_raised() -> None:
    model = CallableModel(name="batched", function=Batched(3))
    with pytest.raises(PermanentError, match=r"unlucky \[13\]"):
        model.detect_batch(tiles_of(13))
    with pytest.raises(PermanentError, match=r"unlucky \[13\]"):
        model.detect(tiles_of(13)[0])


def picky(tile: Any) -> int:
    if tile[0, 0, 0] == 13:
        msg = "unlucky"
        raise ValueError(msg)
    return int(tile[0, 0, 0])


def test_a_function_of_one_tile_is_asked_tile_by_tile() -> None:
    model = CallableModel(name="picky", function=picky)
    assert model.max_batch == 1
    first, bad, third = model.detect_batch(tiles_of(1, 13, 3))
    assert (first, third) == (1, 3)
    assert isinstance(bad, PermanentError)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ([1], "a list of 1"),
        ([1, 2, 3], "a list of 3"),
        ((1, 2), "a tuple of 2"),
        ({"boxes": []}, "a dict of 1"),
        (None, "a NoneType"),
    ],
)
def test_a_wrong_number_of_answers_is_refused_by_both_counts(said: object, what: str) -> None:
    class Careless:
        max_batch = 8

        def __call__(self, _tiles: list[Any]) -> object:
            return said

    model = CallableModel(name="careless", function=Careless())
    with pytest.raises(PermanentError, match="careless: 2 tiles were given") as caught:
        model.detect_batch(tiles_of(1, 2))
    assert str(caught.value).endswith(f"a list of 2 answers is wanted, got {what}")
    assert caught.value.reason == "MODEL_ERROR"


@pytest.mark.parametrize("declared", [0, -1, "8", True, 2.0, None])
def test_a_number_of_tiles_that_is_none_is_refused(declared: object) -> None:
    with pytest.raises(RequestError, match=r"max_batch: wrong declares") as caught:
        CallableModel(name="wrong", function=Batched(declared))
    assert repr(declared) in str(caught.value)


def test_a_built_in_model_answers_tile_by_tile() -> None:
    red = TILE + np.array([255, 0, 0], np.uint8)[:, None, None]
    model = BuiltinModel(name="failure")
    assert model.max_batch == 1
    bad, good = model.detect_batch([red, TILE])
    assert isinstance(bad, TransientError)
    assert good == model.detect(TILE)


def test_a_model_in_process_takes_no_options_of_an_endpoint() -> None:
    with pytest.raises(RequestError, match="'blobs' takes none, but got"):
        choose("blobs", hints=Hints(options={"role": "x"}))


ALONE = """
import sys, time
from daskmr.endpoints._locks import model_lock

class Model:
    process_safe = False

for _ in range(20):
    with model_lock("alone", Model()):
        print("in", flush=True)
        time.sleep(0.002)
        print("out", flush=True)
"""


def test_a_model_that_fills_a_machine_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        processes = [subprocess.Popen([sys.executable, "-c", ALONE], stdout=file) for _ in range(3)]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert log.read_text().split() == ["in", "out"] * 60
