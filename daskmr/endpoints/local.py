"""Models in the worker's own process: Python functions and the built-in models."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from daskmr.core.imagery import Pixels
from daskmr.endpoints._locks import model_lock
from daskmr.endpoints._status import status_error
from daskmr.errors import EndpointError, PermanentError, RequestError

_BATCH = "max_batch"  # the attribute of a function that takes lists of tiles


@dataclass(frozen=True, kw_only=True)
class CallableModel:
    """A function of a tile, or of a list of tiles.

    Calls are made one at a time in each process, unless the function has a true attribute
    ``thread_safe``; processes wait for each other only if its attribute ``process_safe`` is false.
    The function gets a copy of each tile and may change it.

    A function with an attribute ``max_batch`` (an int, 1 or more) takes a list of at most so many
    arrays and returns a list of as many answers, even when there is a single tile.
    """

    name: str
    """Name for messages and the report."""
    function: Callable[[Any], Any]
    """Function of an array (band, y, x), or of a list of them; returns what
    `daskmr.decode.answers.decode` reads, or a list of that."""

    def __post_init__(self) -> None:
        """Validate the function's ``max_batch``."""
        declared = getattr(self.function, _BATCH, 1)
        if type(declared) is not int or declared < 1:
            msg = f"max_batch: {self.name} declares {declared!r}; an int of 1 or more is wanted"
            raise RequestError(msg)

    @property
    def max_batch(self) -> int:
        """Maximum tiles of one call."""
        return int(getattr(self.function, _BATCH, 1))

    def detect(self, pixels: Pixels) -> Any:
        """Return the function's answer for one tile."""
        return self.detect_batch([pixels])[0]

    def detect_batch(self, tiles: Sequence[Pixels]) -> Sequence[Any]:
        """Return the function's answer for each tile, see `detect_in_batches`."""
        return detect_in_batches(self.name, self._call, tiles, max_batch=self.max_batch)

    def _call(self, tiles: Sequence[Pixels]) -> Any:
        copies = [np.array(pixels, order="C") for pixels in tiles]
        with model_lock(self.name, self.function), model_error(self.name):
            if hasattr(self.function, _BATCH):
                return self.function(copies)
            return [self.function(copy) for copy in copies]


@dataclass(frozen=True, kw_only=True)
class BuiltinModel:
    """A built-in model, run in process."""

    name: str
    """Name in `daskmr.models.MODELS`."""
    attributes: str = ""
    """Options in Model Runner's form ``k=v,k2=v2``."""

    @property
    def max_batch(self) -> int:
        """Maximum tiles of one call: built-in models take one."""
        return 1

    def detect(self, pixels: Pixels) -> Any:
        """Return the model's answer for one tile."""
        model = _build(self.name, self.attributes)
        with model_lock(self.name, model), model_error(self.name):
            return model.detect(pixels)

    def detect_batch(self, tiles: Sequence[Pixels]) -> Sequence[Any]:
        """Return the model's answer for each tile, see `detect_in_batches`."""
        return detect_in_batches(self.name, lambda part: [self.detect(part[0])], tiles, max_batch=1)


def detect_in_batches(
    name: str, call: Callable[[Sequence[Pixels]], Any], tiles: Sequence[Pixels], *, max_batch: int
) -> Sequence[Any]:
    """Call a model on tiles in batches and return the answers in the order of the tiles.

    When a call of more than one tile fails, its tiles are sent one by one, so that a bad tile does
    not fail its neighbours.

    Parameters
    ----------
    name
        Name of the model, for messages.
    call
        Takes tiles, returns a list of as many answers, raises EndpointError.
    max_batch
        Maximum tiles of one call.

    Returns
    -------
    The answer of each tile, or the EndpointError that is the tile's own failure. A single tile's
    failure is raised instead.

    Raises
    ------
    PermanentError
        When the call did not return a list of one answer for each tile.
    """
    if len(tiles) == 1:
        return _check_answers(name, call(tiles), 1)
    answers: list[Any] = []
    for start in range(0, len(tiles), max_batch):
        part = tiles[start : start + max_batch]
        try:
            batch = call(part)
        except EndpointError as error:
            is_single = len(part) == 1
            answers += [error] if is_single else [_call_single(name, call, tile) for tile in part]
        else:
            answers += _check_answers(name, batch, len(part))
    return answers


def _call_single(name: str, call: Callable[[Sequence[Pixels]], Any], tile: Pixels) -> Any:
    """Return the answer for one tile of a batch that failed, or the tile's own error."""
    try:
        return _check_answers(name, call([tile]), 1)[0]
    except EndpointError as error:
        return error


def _check_answers(name: str, answers: Any, n_tiles: int) -> list[Any]:
    """Return the answers; raise unless they are a list of one for each tile."""
    if isinstance(answers, list) and len(answers) == n_tiles:
        return answers
    is_list = isinstance(answers, list)
    text = f"a list of {len(answers)}" if is_list else f"a {type(answers).__name__}"
    if not is_list and hasattr(answers, "__len__"):
        text += f" of {len(answers)}"
    msg = f"{name}: {n_tiles} tiles were given, a list of {n_tiles} answers is wanted, got {text}"
    raise PermanentError(msg, reason="MODEL_ERROR")


@lru_cache(maxsize=16)
def _build(name: str, attributes: str) -> Any:
    from daskmr import models

    return models.build(name, attributes)


@contextmanager
def model_error(name: str) -> Iterator[None]:
    """Raise exceptions of a model as PermanentError; one with an HTTP ``status`` as its error."""
    try:
        yield
    except EndpointError:
        raise
    except Exception as error:
        status = getattr(error, "status", None)
        http_error = status_error(status, name) if isinstance(status, int) else None
        if http_error is not None:
            raise http_error from error
        msg = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
        raise PermanentError(msg, reason="MODEL_ERROR") from error
