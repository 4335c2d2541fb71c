"""Who kills what, and when: a plan that follows from a seed."""

import random
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.processes import DriverProcess, Service


class Victim(StrEnum):
    """What is killed, and how."""

    DRIVER_KILL = "driver SIGKILL"
    DRIVER_TERM = "driver SIGTERM"
    WORKER_KILL = "worker SIGKILL"
    WORKER_TERM = "worker SIGTERM"
    MODEL_KILL = "model SIGKILL"


_WEIGHTS: Mapping[Victim, float] = {
    Victim.DRIVER_KILL: 0.25,
    Victim.DRIVER_TERM: 0.15,
    Victim.WORKER_KILL: 0.25,
    Victim.WORKER_TERM: 0.15,
    Victim.MODEL_KILL: 0.2,
}
_TERMINATED = 143
_TERM_S = 60.0
_LATEST = 1.02
_PAUSE_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill."""

    victim: Victim
    progress: float
    """Calls of the model, as a share of the tiles, from which on it is due; above 1 is a time at
    which results are written."""
    delay_s: float
    """Seconds that it is put off once it is due."""


def planned(random_: random.Random, n: int) -> list[Kill]:
    """Kills in the order in which they are due; the start of a driver is hit by those put off."""
    victims = random_.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()), k=n)
    moments = sorted(random_.uniform(0.0, _LATEST) for _ in range(n))
    return [
        Kill(victim=victim, progress=moment, delay_s=random_.uniform(0.0, _PAUSE_S))
        for victim, moment in zip(victims, moments, strict=True)
    ]


@dataclass
class Killer:
    """Kills, and starts again what somebody has to start.

    Parameters
    ----------
    driver, model
        Whom it kills.
    random
        Draws the worker.
    """

    driver: DriverProcess
    model: Service
    random: random.Random

    def strike(self, victim: Victim) -> bool:
        """Kill; False when there is nobody to kill at present.

        Raises
        ------
        TimeoutError
            When the driver does not end after SIGTERM.
        ValueError
            When it then ends with another status than it should.
        """
        if victim is Victim.MODEL_KILL:
            self.model.kill()
            self.model.start()
            return True
        if victim in {Victim.DRIVER_KILL, Victim.DRIVER_TERM}:
            return self._end_driver(victim)
        workers = self.driver.workers()
        if not workers:
            return False
        how = signal.SIGKILL if victim is Victim.WORKER_KILL else signal.SIGTERM
        return _signalled(self.random.choice(workers), how)

    def _end_driver(self, victim: Victim) -> bool:
        if self.driver.poll() is not None:
            return False
        if victim is Victim.DRIVER_KILL:
            if self.driver.signalled(signal.SIGKILL, _TERM_S) != -signal.SIGKILL:
                return False  # it had just ended by itself
            self.driver.start()
            return True
        status = self.driver.signalled(signal.SIGTERM, _TERM_S)
        if status is None:
            msg = f"the driver {self.driver.pid} runs {_TERM_S:g} s after SIGTERM"
            raise TimeoutError(msg)
        if status in {0, 3}:
            return False
        if status not in {_TERMINATED, -signal.SIGTERM}:  # the latter while Python is starting
            msg = f"the driver ended with {status} after SIGTERM, not with {_TERMINATED}"
            raise ValueError(msg)
        self.driver.start()
        return True


def _signalled(process: object, number: signal.Signals) -> bool:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
