"""Models in the worker's own process: Python functions, and the built-in ones."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from daskmr.core.imagery import Pixels
from daskmr.endpoints._status import error_of
from daskmr.errors import EndpointError, PermanentError

_LOCKS: "defaultdict[str, threading.Lock]" = defaultdict(threading.Lock)


@dataclass(frozen=True, kw_only=True)
class CallableModel:
    """A function of a tile.

    Calls are made one at a time in each process, unless the function has a true attribute
    ``thread_safe``. The function gets a copy of the tile and may change it.
    """

    name: str
    """How reports call it."""
    function: Callable[[Pixels], Any]
    """Takes an array (band, y, x); answers what `daskmr.decode.answers.decode` reads."""

    def detect(self, pixels: Pixels) -> Any:
        """What the function says of one tile."""
        with _in_turn(self.name, self.function), _blamed(self.name):
            return self.function(np.array(pixels, order="C"))


@dataclass(frozen=True, kw_only=True)
class BuiltinModel:
    """A built-in model, run in process."""

    name: str
    """Its name in `daskmr.models.MODELS`."""
    attributes: str = ""
    """Options in Model Runner's form ``k=v,k2=v2``."""

    def detect(self, pixels: Pixels) -> Any:
        """What the model says of one tile."""
        model = _built(self.name, self.attributes)
        with _in_turn(self.name, model), _blamed(self.name):
            return model.detect(pixels)


@lru_cache(maxsize=16)
def _built(name: str, attributes: str) -> Any:
    from daskmr import models

    return models.build(name, attributes)


def _in_turn(name: str, model: object) -> AbstractContextManager[Any]:
    """One call at a time in this process, unless the model says that it need not be."""
    return nullcontext() if getattr(model, "thread_safe", False) else _LOCKS[name]


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """Whatever a model raises is its tile's failure; a fault with an HTTP status keeps it."""
    try:
        yield
    except EndpointError:
        raise
    except Exception as error:
        status = getattr(error, "status", None)
        known = error_of(status, name) if isinstance(status, int) else None
        if known is not None:
            raise known from error
        msg = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
        raise PermanentError(msg, reason="MODEL_ERROR") from error
