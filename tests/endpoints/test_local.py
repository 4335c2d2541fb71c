"""Models in the worker's own process, and how a user names a model."""

import pickle
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
