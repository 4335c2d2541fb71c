"""Models in the worker's own process: Python functions, and the built-in ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from daskmr.core.imagery import Pixels
from daskmr.endpoints._status import error_of
from daskmr.endpoints._turns import in_turn
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
    """How reports call it."""
    function: Callable[[Any], Any]
    """Takes an array (band, y, x), or a list of them; answers what
    `daskmr.decode.answers.decode` reads, or a list of that."""

    def __post_init__(self) -> None:
        """Refuse a number of tiles that is none."""
        declared = getattr(self.function, _BATCH, 1)
        if type(declared) is not int or declared < 1:
            msg = f"max_batch: {self.name} declares {declared!r}; an int of 1 or more is wanted"
            raise RequestError(msg)

    @property
    def max_batch(self) -> int:
        """Most tiles of one call."""
        return int(getattr(self.function, _BATCH, 1))

    def detect(self, pixels: Pixels) -> Any:
        """What the function says of one tile."""
        return self.detect_batch([pixels])[0]

    def detect_batch(self, tiles: Sequence[Pixels]) -> Sequence[Any]:
        """What the function says of each tile, see `in_batches`."""
        return in_batches(self.name, self._ask, tiles, most=self.max_batch)

    def _ask(self, tiles: Sequence[Pixels]) -> Any:
        copies = [np.array(pixels, order="C") for pixels in tiles]
        with in_turn(self.name, self.function), blamed(self.name):
            if hasattr(self.function, _BATCH):
                return self.function(copies)
            return [self.function(copy) for copy in copies]


@dataclass(frozen=True, kw_only=True)
class BuiltinModel:
    """A built-in model, run in process."""

    name: str
    """Its name in `daskmr.models.MODELS`."""
    attributes: str = ""
    """Options in Model Runner's form ``k=v,k2=v2``."""

    @property
    def max_batch(self) -> int:
        """Most tiles of one call: built-in models take one."""
        return 1

    def detect(self, pixels: Pixels) -> Any:
        """What the model says of one tile."""
        model = _built(self.name, self.attributes)
        with in_turn(self.name, model), blamed(self.name):
            return model.detect(pixels)

    def detect_batch(self, tiles: Sequence[Pixels]) -> Sequence[Any]:
        """What the model says of each tile, see `in_batches`."""
        return in_batches(self.name, lambda part: [self.detect(part[0])], tiles, most=1)


def in_batches(
    name: str, ask: Callable[[Sequence[Pixels]], Any], tiles: Sequence[Pixels], *, most: int
) -> Sequence[Any]:
    """Answers for tiles, in their order, asked for a few at a time.

    When a call for more than one tile fails, its tiles are asked about one by one, so that a bad
    tile does not take its neighbours with it.

    Parameters
    ----------
    name
        The model, for messages.
    ask
        The call: takes tiles, returns a list of as many answers, raises EndpointError.
    most
        Tiles of one call.

    Returns
    -------
    For each tile its answer, or the EndpointError that is the tile's own failure. A single tile's
    failure is raised instead.

    Raises
    ------
    PermanentError
        When the call returned anything but a list of one answer for each tile.
    """
    if len(tiles) == 1:
        return _counted(name, ask(tiles), 1)
    answers: list[Any] = []
    for start in range(0, len(tiles), most):
        part = tiles[start : start + most]
        try:
            said = ask(part)
        except EndpointError as error:
            alone = [error] if len(part) == 1 else [_alone(name, ask, tile) for tile in part]
            answers += alone
        else:
            answers += _counted(name, said, len(part))
    return answers


def _alone(name: str, ask: Callable[[Sequence[Pixels]], Any], tile: Pixels) -> Any:
    """The answer for one tile of a batch that failed, or the tile's own error."""
    try:
        return _counted(name, ask([tile]), 1)[0]
    except EndpointError as error:
        return error


def _counted(name: str, said: Any, n_tiles: int) -> list[Any]:
    """The answers, if they are a list of one for each tile."""
    if isinstance(said, list) and len(said) == n_tiles:
        return said
    what = f"a list of {len(said)}" if isinstance(said, list) else f"a {type(said).__name__}"
    if not isinstance(said, list) and hasattr(said, "__len__"):
        what += f" of {len(said)}"
    msg = f"{name}: {n_tiles} tiles were given, a list of {n_tiles} answers is wanted, got {what}"
    raise PermanentError(msg, reason="MODEL_ERROR")


@lru_cache(maxsize=16)
def _built(name: str, attributes: str) -> Any:
    from daskmr import models

    return models.build(name, attributes)


@contextmanager
def blamed(name: str) -> Iterator[None]:
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
