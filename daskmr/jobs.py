"""Jobs that are kept: begun in the background, looked at from anywhere, gone on with by name."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from daskmr.api import run
from daskmr.core.progress import OnProgress
from daskmr.core.report import JobReport, TileOutcome
from daskmr.errors import CanceledError, JobError, RequestError
from daskmr.lifecycle.event_log import events
from daskmr.lifecycle.job_spec import run_arguments
from daskmr.lifecycle.job_state import INTERRUPTED, RUNNING, JobState, Watcher, final_status
from daskmr.planning.options import JobOptions
from daskmr.planning.plan import Plan
from daskmr.planning.resolve import resolve
from daskmr.results.result import Result
from daskmr.results.stored import stored_coverage, stored_result
from daskmr.store import JobFolder, jobs
from daskmr.views.text import html_table
from daskmr.worker.cancellation import CANCELED

if TYPE_CHECKING:
    from daskmr.views.page import Page

_EVERY_S = 0.5
_ENDED = frozenset({INTERRUPTED, "FAILED", CANCELED})
"""States of a job before a driver of this process has taken it over."""
_EXECUTION = frozenset(
    {"out", "outputs", "formats", "client", "scheduler", "workers", "load", "on_progress"}
)


class Job:
    """A job of a store; reading it needs no cluster.

    Parameters
    ----------
    store
        Folder or ``s3://`` URL that keeps jobs.
    job_id
        Name of the job.

    Raises
    ------
    StoreError
        When the store is neither.
    """

    def __init__(self, store: str, job_id: str) -> None:
        self.store, self.job_id = store, job_id
        self._watcher = Watcher(JobFolder.at(store, job_id))
        self._driver: _Driver | None = None

    def __repr__(self) -> str:
        return f"Job({self.store!r}, {self.job_id!r})"

    def _repr_html_(self) -> str:
        return html_table("daskmr job", self.progress().rows())

    @property
    def status(self) -> str:
        """SUCCESS, PARTIAL, FAILED, IN_PROGRESS, INTERRUPTED or CANCELED."""
        return self.progress().state

    def progress(self) -> JobState:
        """Return how far it has come; cheap enough to be called every second.

        A job that this process has just begun is IN_PROGRESS before its store knows of it.

        Raises
        ------
        RequestError
            When the store has no such job.
        """
        driver = self._driver
        is_driven = driver is not None and driver.is_alive()
        try:
            state = self._watcher.look()
        except RequestError:
            if driver is None or driver.plan is None:
                raise
            return _first_state(driver.plan, driver.error, is_driven=is_driven)
        return replace(state, state=RUNNING) if is_driven and state.state in _ENDED else state

    def wait(self, timeout_s: float | None = None) -> "Job":
        """Return once nobody works on it any more.

        Raises
        ------
        TimeoutError
            When it is not over by then.
        DaskmrError
            What ended the job, when this process runs it.
        """
        self._await(timeout_s)
        if self._driver is not None and self._driver.error is not None:
            raise self._driver.error
        return self

    def _await(self, timeout_s: float | None) -> None:
        end = time.monotonic() + timeout_s if timeout_s is not None else None
        while self._driver.is_alive() if self._driver else not self.progress().is_over:
            if end is not None and time.monotonic() > end:
                msg = f"job {self.job_id}: not over after {timeout_s:g} s"
                raise TimeoutError(msg)
            time.sleep(_EVERY_S)

    def result(self, timeout_s: float | None = None) -> Result:
        """Wait for the job, and return what `daskmr.run` returns.

        After a retry that came to nothing it is the result that stands.

        Parameters
        ----------
        timeout_s
            Seconds to wait; None waits for as long as a driver runs the job.

        Raises
        ------
        TimeoutError
            When it is not over by then.
        JobError
            When no tile succeeded, or the job was canceled.
        RequestError
            When it was cut off before there was a result; see `retry`.
        """
        self._await(timeout_s)
        if self._watcher.folder.last_manifest() is None:
            self.wait(0)  # raises what ended the job, when this process runs it
            self._raise_end()
        return stored_result(self._watcher.folder, self.report)

    def _raise_end(self) -> None:
        """Raise the end of a job that has failed or was canceled before it had a result."""
        state = self.progress()
        if state.state in {"FAILED", CANCELED}:
            kind = CanceledError if state.state == CANCELED else JobError
            msg = f"job {self.job_id}: {state.why or state.state.lower()}"
            raise kind(msg, report=self.report)

    @property
    def report(self) -> JobReport:
        """The account of the job.

        Raises
        ------
        RequestError
            When it has not come to its end.
        """
        values = self._watcher.folder.report()
        if values is None:
            msg = f"job: {self.store} has no report of {self.job_id!r}; see daskmr status"
            raise RequestError(msg)
        return JobReport.from_dict(values)

    @property
    def timings(self) -> Mapping[str, Mapping[str, float]]:
        """Seconds by stage: ``sum``, and ``p50`` and ``p95`` of one tile."""
        report = self.report
        return {name: {"sum": report.seconds[name], **p} for name, p in report.percentiles.items()}

    @property
    def errors(self) -> Sequence[TileOutcome]:
        """The tiles that failed, in grid order."""
        return self._watcher.errors()

    def explore(self) -> "Page":
        """Return a map of the result; as `Result.explore`."""
        return self.result().explore()

    def plot(self, ax: Any = None) -> Any:
        """Return outlines over the image; as `Result.plot`."""
        return self.result().plot(ax)

    def gallery(self, n: int = 12) -> "Page":
        """Return the best and the worst of the result; as `Result.gallery`."""
        return self.result().gallery(n)

    def page(self) -> "Page":
        """Return the report as one page: tiles and features on a map, time, advice, gallery.

        Raises
        ------
        RequestError
            When it has not come to its end.
        """
        from daskmr.views.overview import overview
        from daskmr.views.report import report_page

        result = self.result()
        image = result.image
        picture = overview(image, result.placing) if image is not None else None
        tiles = stored_coverage(self._watcher.folder, is_placed=result.features.crs is not None)
        return report_page(
            result.report, result.features, picture=picture, tiles=tiles, image=image
        )

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the job, in order."""
        self.progress()
        return events(self._watcher.folder)

    def cancel(self) -> None:
        """Stop it: no new call is made, and those in flight are abandoned.

        What is committed is kept: `retry`, or the same call again, goes on there.

        Raises
        ------
        RequestError
            When it is over.
        """
        state = self.progress()
        if state.state in {"SUCCESS", "PARTIAL", "FAILED", CANCELED}:
            msg = f"job: {self.job_id!r} is over ({state.state})"
            raise RequestError(msg)
        self._watcher.folder.request_stop(state.epoch, CANCELED)

    def retry(self, **how: Any) -> "Job":
        """Ask about the failed tiles again, deliver again, or go on where a job was cut off.

        Begins in the background; see `wait`. Parameters and errors as of `again`.
        """
        return self._begin(self.again(**how))

    def again(self, **how: Any) -> dict[str, Any]:
        """Return arguments of `daskmr.run` that ask about the failed tiles again.

        From here on the job has another round; one without tiles when all that is missing is that
        some place takes the results.

        Parameters
        ----------
        **how
            Arguments of `daskmr.run` that say where it runs and where results go (`client`,
            `scheduler`, `workers`, `out`, `outputs`, `formats`), and options that do not change
            what is asked.

        Raises
        ------
        RequestError
            When it runs, when nothing failed, or when the job cannot be made again by its name.
        """
        state, folder = self.progress(), self._watcher.folder
        arguments = run_arguments(folder, **how)
        if not state.is_over:
            msg = f"job: {self.job_id!r} is being run by {state.owner}"
            raise RequestError(msg)
        if folder.manifest() is not None:
            failed = self.errors
            if not failed and not self._is_owed():
                msg = f"job: no tile of {self.job_id!r} has failed, and all results are delivered"
                raise RequestError(msg)
            folder.begin_round([(tile.row, tile.col) for tile in failed])
        return {**arguments, "store": self.store}

    def merge(self, **changes: Any) -> Result:
        """Merge the answers in another way; asks no model, and needs no cluster.

        The result stands beside the first one, which stays the job's. Parameters and errors as of
        `merging`.
        """
        return run(**self.merging(**changes))

    def merging(self, **changes: Any) -> dict[str, Any]:
        """Return arguments of `daskmr.run` that merge the answers in another way.

        Parameters
        ----------
        **changes
            `merge`, `iou`, `merge_options`, `feature_properties`, and `out` and `formats`.

        Raises
        ------
        RequestError
            When not all regions are done, or no tile succeeded.
        """
        state = self.progress()
        if state.n_done < state.n_regions or state.state == RUNNING:
            msg = f"job: {self.job_id!r} is not done: {state.n_done} of {state.n_regions} regions"
            raise RequestError(msg)
        if state.outcomes.keys() == {"FAILED"}:
            msg = f"job: no tile of {self.job_id!r} succeeded; see daskmr retry"
            raise RequestError(msg)
        arguments = run_arguments(self._watcher.folder, **changes)
        if "out" not in changes:
            arguments.pop("outputs", None)
        return {**arguments, "store": self.store, "retry_failed": False}

    def _is_owed(self) -> bool:
        """Return whether some place has not taken the results."""
        return any(not delivery.is_done for delivery in self.report.deliveries)

    def _begin(self, arguments: Mapping[str, Any]) -> "Job":
        self._driver = _Driver(arguments)
        self._driver.start()
        return self


class _Driver(threading.Thread):
    """Runs a job in the background of this process."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(name="daskmr-driver", daemon=True)
        self.arguments = arguments
        image = arguments.get("image")
        self.plan = image if isinstance(image, Plan) else None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            run(**{"load": False, **self.arguments})
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            self.error = error


def _first_state(plan: Plan, error: BaseException | None, *, is_driven: bool) -> JobState:
    """Return the state of a job that its store does not know yet, or never will."""
    ended = INTERRUPTED if error is None else str(final_status(error) or INTERRUPTED)
    return JobState(
        job_id=plan.settings.job_id,
        state=RUNNING if is_driven else ended,
        image=plan.info.url,
        model=plan.model.name,
        n_tiles=plan.n_tiles - plan.n_skipped,
        n_regions=plan.n_regions,
        n_done=0,
        why="" if error is None else str(error),
    )


def list_jobs(store: str) -> list[Job]:
    """Return the jobs that a store keeps, sorted by name.

    Parameters
    ----------
    store
        Folder or ``s3://`` URL that keeps jobs.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    return [Job(store, job_id) for job_id in sorted(jobs(store))]


class SubmitOptions(JobOptions, total=False):
    """Keyword arguments of `submit`: options of a job, and how and where it runs."""

    out: str | None
    outputs: Sequence[Mapping[str, Any]]
    formats: Sequence[str]
    client: Any
    scheduler: str | None
    workers: int | None
    load: bool
    on_progress: OnProgress | None


def submit(image: Any, model: Any = None, *, store: str, **options: Unpack[SubmitOptions]) -> Job:
    """Begin a job in a thread of this process and return at once.

    The job ends when this process does, and goes on when it is run again. ``daskmr submit`` of the
    command line is another thing: it sends a request to a queue, or to a Dask cluster.

    Parameters
    ----------
    image, model, **options
        As for `daskmr.run`.
    store
        Folder or ``s3://`` URL that keeps the job.

    Raises
    ------
    RequestError, ImageError
        As `daskmr.plan`.
    """
    arguments: dict[str, Any] = dict(options)
    execution = {name: arguments.pop(name) for name in _EXECUTION & arguments.keys()}
    call = resolve(image, model, arguments)
    job = Job(store, call.plan.settings.job_id)
    planned = {**call.execution, **execution, "image": call.plan, "store": store}
    return job._begin(planned)  # noqa: SLF001 - our own
