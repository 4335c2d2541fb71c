"""What the model server does to which call, and what it answers: both follow from seeds.

The n-th call of a tile meets a fault or not; a tile succeeds at its third call at the latest, but
for a few that are refused each time.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

TILE = 32
"""Pixels along each side of a tile."""
OK, REFUSED, SLOW = "ok", "http_400", "slow"
TRANSIENT = ("http_500", "http_503", "reset", "cut_off", "garbage", SLOW)
"""Faults that go away; the last is a good answer that comes late."""
_N_FAULTY = 2
_SLOW_FACTOR = 8.0
_SLOTS = (1, 11, 21)
"""First pixel of the columns of a tile in which a box may be."""

Box = tuple[float, float, float, float]
"""x_min, y_min, x_max, y_max, pixels."""


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """The faults of one job."""

    seed: int
    """Start of all random numbers."""
    n_tiles: int
    """Tiles of the job, numbered from 0."""
    n_refused: int
    """Tiles that are refused each time."""
    latency_s: float
    """Seconds that an answer takes, on average."""
    rates: Mapping[str, float]
    """Share of first and second calls that meets each of `TRANSIENT`."""

    @classmethod
    def parse(cls, text: str, *, seed: int) -> Self:
        """A plan as the command line tells it: ``tiles=196,latency=0.1,http_400=2,reset=0.05``.

        Raises
        ------
        ValueError
            When a name is not known, or a value is no number.
        """
        said = {
            name: float(value) for name, _, value in (w.partition("=") for w in text.split(","))
        }
        n_tiles, latency_s = int(said.pop("tiles")), said.pop("latency")
        n_refused = int(said.pop(REFUSED, 0))
        unknown = said.keys() - set(TRANSIENT)
        if unknown:
            msg = f"faults: {sorted(unknown)} are not among {TRANSIENT}"
            raise ValueError(msg)
        return cls(seed=seed, n_tiles=n_tiles, n_refused=n_refused, latency_s=latency_s, rates=said)

    def __str__(self) -> str:
        said = {"tiles": self.n_tiles, "latency": self.latency_s, REFUSED: self.n_refused}
        return ",".join(f"{name}={value}" for name, value in {**said, **self.rates}.items())

    @cached_property
    def refused(self) -> frozenset[int]:
        """Tiles that are refused each time."""
        return frozenset(_random(self.seed, "refused").sample(range(self.n_tiles), self.n_refused))

    def kind(self, tile: int, n: int) -> str:
        """What the n-th call of a tile meets, counted from 0.

        An answer that is no JSON is met at the first call only: a model that says such a thing
        twice is not asked again.
        """
        if tile in self.refused:
            return REFUSED
        if n >= _N_FAULTY:
            return OK
        names = [name for name in TRANSIENT if name in self.rates and (n == 0 or name != "garbage")]
        weights = [self.rates[name] for name in names]
        drawn = _random(self.seed, tile, n).choices(
            [OK, *names], weights=[1.0 - sum(weights), *weights]
        )
        return drawn[0]

    def delay_s(self, tile: int, n: int) -> float:
        """Return seconds that the n-th call of a tile takes."""
        factor = _SLOW_FACTOR if self.kind(tile, n) == SLOW else 1.0
        return factor * self.latency_s * _random(self.seed, "delay", tile, n).uniform(0.6, 1.4)


def boxes(tile: int) -> list[Box]:
    """Return one to three boxes of a tile that do not overlap, in its pixels, exact in binary."""
    drawn = _random("boxes", tile)
    found = []
    for x in _SLOTS[: drawn.randint(1, len(_SLOTS))]:
        y = drawn.randint(1, 20)
        found.append((x + 0.5, y + 0.25, float(x + drawn.randint(2, 8)), float(y + 8)))
    return found


def answer(tile: int) -> bytes:
    """What the model says of a tile: its number is the label of all boxes."""
    said: list[dict[str, Any]] = [
        {
            "type": "Feature",
            "geometry": None,
            "properties": {
                "imageBBox": box,
                "featureClasses": [{"iri": str(tile), "score": 0.5}],
            },
        }
        for box in boxes(tile)
    ]
    return json.dumps({"type": "FeatureCollection", "features": said}).encode()


def _random(*seed: object) -> random.Random:
    return random.Random(":".join(map(str, seed)))  # noqa: S311 - faults, not secrets
