"""Metrics, events and progress that fail: the job is the same, and no region is run again."""

import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import daskmr
from daskmr.configuration import key
from daskmr.core.events import StatusEvent
from daskmr.lifecycle.event_log import events
from daskmr.pipeline.run import run_plan
from daskmr.planning.execution import Execution
from daskmr.status import EventStore, Meter, StatusDispatcher
from daskmr.status._contained import _OF_PROCESS
from daskmr.status._metrics import Measurement
from daskmr.store import JobFolder

OPTIONS: dict[str, Any] = {"tile_size": 256, "overlap": 0, "job_id": "j"}
N_TILES = 24


def nothing(_tile: Any) -> None:
    """Nothing is in any tile."""


@pytest.fixture
def fresh() -> Iterator[Any]:
    """A client of a cluster whose worker has run nothing yet."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address=None
        ) as made,
        Client(made, set_as_default=False) as client,
    ):
        yield client


def without_prometheus() -> None:
    """What a plain installation has."""
    sys.modules["prometheus_client"] = None  # type: ignore[assignment]


def with_a_broken_prometheus() -> None:
    """Some other package of the name."""
    sys.modules["prometheus_client"] = types.ModuleType("prometheus_client")


@pytest.mark.parametrize("change", [without_prometheus, with_a_broken_prometheus])
def test_metrics_of_a_worker_fail_no_region(
    fresh: Any, image: Path, tmp_path: Path, change: Any
) -> None:
    fresh.run(change)
    result = daskmr.run(image, nothing, client=fresh, store=str(tmp_path / "jobs"), **OPTIONS)
    assert (result.report.status, result.report.n_tiles) == ("SUCCESS", N_TILES)
    folder = JobFolder.at(str(tmp_path / "jobs"), "j")
    assert folder.attempts() == {}
    names = [event["event"] for event in events(folder)]
    assert "attempt failed" not in names


@pytest.mark.worker_errors("Failed to log closing event")
def test_progress_that_cannot_be_sent_fails_no_region(
    fresh: Any, image: Path, tmp_path: Path
) -> None:
    def cut(dask_worker: Any) -> None:
        def log_event(_topic: Any, _message: Any) -> None:
            msg = "no scheduler"
            raise ConnectionError(msg)

        dask_worker.log_event = log_event

    fresh.run(cut)
    result = daskmr.run(image, slow, client=fresh, store=str(tmp_path / "jobs"), **OPTIONS)
    assert (result.report.status, result.report.n_tiles) == ("SUCCESS", N_TILES)
    assert JobFolder.at(str(tmp_path / "jobs"), "j").attempts() == {}


def slow(_tile: Any) -> None:
    """Long enough for progress to be sent."""
    import time

    time.sleep(0.1)


def test_a_callback_that_raises_is_logged_once_a_job(
    client: Any, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def on_progress(progress: Any) -> None:
        calls.append(progress.n_done)
        raise ZeroDivisionError(progress.n_tiles)

    for _ in range(2):
        result = daskmr.run(image, nothing, client=client, on_progress=on_progress, **OPTIONS)
        assert result.report.status == "SUCCESS"
    assert calls.count(N_TILES) == 2
    texts = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert texts == ["on_progress failed, the job goes on: ZeroDivisionError: 24"] * 2


class Figures:
    """A rendering with a fault."""

    def record(self, said: Measurement) -> None:
        raise LookupError(said.model_name)


class Post(StatusDispatcher):
    """A dispatcher with a fault."""

    def post(self, shelf: EventStore, event: StatusEvent) -> bool:
        raise TypeError(shelf.url and event.job_id)


def test_metrics_and_events_that_the_driver_cannot_tell_fail_nothing(
    client: Any, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import dask

    _OF_PROCESS.clear()
    with Post([]) as dispatcher, dask.config.set({key("region_status"): True}):
        how = Execution(
            cluster={"client": client},
            on_progress=lambda _progress: None,
            status_dispatcher=dispatcher,
            meter=Meter((Figures(),)),
        )
        result = run_plan(daskmr.plan(image, nothing, **OPTIONS), how)
    assert (result.report.status, result.report.n_tiles) == ("SUCCESS", N_TILES)
    texts = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert sorted(texts) == [
        "Figures metrics failed, the job goes on: LookupError: nothing",
        "status events failed, the job goes on: TypeError: j",
    ]
