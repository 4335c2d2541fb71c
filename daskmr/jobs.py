"""Jobs that are kept: begun in the background, looked at from anywhere, gone on with by name."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import geopandas as gpd

from daskmr.api import Plan, make, run
from daskmr.core.report import TileOutcome
from daskmr.errors import DaskmrError, RequestError
from daskmr.geolocate import pick
from daskmr.geolocate.base import SensorModel
from daskmr.image import Image, open_image
from daskmr.pipeline.describe import html_table
from daskmr.pipeline.halt import CANCELED
from daskmr.pipeline.journal import events
from daskmr.pipeline.restore import restored
from daskmr.pipeline.status import JobState, Watcher
from daskmr.store import JobFolder

if TYPE_CHECKING:
    from daskmr.views.page import Page

_EVERY_S = 0.5
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
        """How far it has come; cheap enough to be asked every second.

        Raises
        ------
        RequestError
            When the store has no such job.
        """
        return self._watcher.look()

    def wait(self, timeout_s: float | None = None) -> "Job":
        """Return once nobody works on it any more.

        Raises
        ------
        TimeoutError
            When it is not over by then.
        DaskmrError
            What ended the job, when this process runs it.
        """
        end = time.monotonic() + timeout_s if timeout_s is not None else None
        while self._driver.is_alive() if self._driver else not self.progress().is_over:
            if end is not None and time.monotonic() > end:
                msg = f"job {self.job_id}: not over after {timeout_s:g} s"
                raise TimeoutError(msg)
            time.sleep(_EVERY_S)
        if self._driver is not None and self._driver.error is not None:
            raise self._driver.error
        return self

    def result(self) -> gpd.GeoDataFrame:
        """The features, as `daskmr.run` returns them.

        Raises
        ------
        RequestError
            When there is no result yet.
        """
        names = [n for n in self._manifest()["results"] if n.startswith("result-")]
        import fsspec

        with fsspec.open(f"{self._watcher.folder.url}/{names[0]}", "rb") as file:
            return gpd.read_parquet(file)

    @property
    def report(self) -> Mapping[str, Any]:
        """The account of the job.

        Raises
        ------
        RequestError
            When it has not come to its end.
        """
        found = self._watcher.folder.report()
        if found is None:
            msg = f"job: {self.store} has no report of {self.job_id!r}; see daskmr status"
            raise RequestError(msg)
        return found

    @property
    def timings(self) -> Mapping[str, Mapping[str, float]]:
        """Seconds by stage: ``sum``, and ``p50`` and ``p95`` of one tile."""
        report = self.report
        return {
            stage: {"sum": report["seconds"][stage], **said}
            for stage, said in report["percentiles"].items()
        }

    @property
    def errors(self) -> Sequence[TileOutcome]:
        """The tiles that failed, in grid order."""
        return self._watcher.errors()

    def explore(self) -> "Page":
        """A map of the result; as `Result.explore`."""
        from daskmr.views.overview import overview
        from daskmr.views.page import map_page

        image, placing = self._image()
        seen = overview(image, placing) if image is not None else None
        return map_page(self.result(), seen, title=self.job_id)

    def plot(self, ax: Any = None) -> Any:
        """Outlines over the image; as `Result.plot`."""
        from daskmr.views.plot import plot

        return plot(self.result(), self._image()[0], ax)

    def gallery(self, n: int = 12) -> "Page":
        """The best and the worst of the result; as `Result.gallery`."""
        from daskmr.views.gallery import gallery_page

        image, _ = self._image()
        if image is None:
            msg = f"gallery: {self.report['image']} cannot be opened"
            raise RequestError(msg)
        return gallery_page(self.result(), image, n)

    def page(self) -> "Page":
        """The account of the job as one page: tiles and features on a map, time, advice, gallery.

        Raises
        ------
        RequestError
            When it has not come to its end.
        """
        from daskmr.views.overview import overview
        from daskmr.views.report import report_page

        image, placing = self._image()
        seen = overview(image, placing) if image is not None else None
        return report_page(self.report, self.result(), seen=seen, tiles=self._tiles(), image=image)

    def _image(self) -> tuple[Image | None, SensorModel | None]:
        """The image and what places it; none when it is not there any more, or was an array."""
        try:
            image = open_image(self.report["image"])
        except DaskmrError:
            return None, None
        return image, pick(image.info)[0] if self.result().crs is not None else None

    def _tiles(self) -> gpd.GeoDataFrame | None:
        """The map of tiles, without a CRS when it is one of pixels."""
        import fsspec

        names = [n for n in self._manifest()["results"] if n.startswith("coverage-")]
        if not names:
            return None
        with fsspec.open(f"{self._watcher.folder.url}/{names[0]}", "rb") as file:
            found = gpd.GeoDataFrame.from_features(json.load(file)["features"])
        is_placed = self.result().crs is not None
        return found.set_crs("EPSG:4326") if is_placed and len(found) else found

    def events(self) -> list[dict[str, Any]]:
        """What happened, in order."""
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
        self._watcher.folder.stop(state.epoch, CANCELED)

    def retry(self, **how: Any) -> "Job":
        """Ask about the failed tiles again, deliver again, or go on where a job was cut off.

        Begins in the background; see `wait`. Parameters and errors as of `again`.
        """
        return self._begin(self.again(**how))

    def again(self, **how: Any) -> dict[str, Any]:
        """Arguments of `daskmr.run` that ask about the failed tiles again.

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
        arguments = restored(folder, **how)
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

    def merge(self, **changes: Any) -> gpd.GeoDataFrame:
        """Merge the answers in another way; asks no model, and needs no cluster.

        The result stands beside the first one, which stays the job's. Parameters and errors as of
        `merging`.
        """
        return run(**self.merging(**changes)).features

    def merging(self, **changes: Any) -> dict[str, Any]:
        """Arguments of `daskmr.run` that merge the answers in another way.

        Parameters
        ----------
        **changes
            `merge`, `iou`, `merge_options`, `feature_properties`, and `out` and `formats`.

        Raises
        ------
        RequestError
            When not all regions are done.
        """
        if self._watcher.folder.manifest() is None:
            state = self.progress()
            msg = f"job: {self.job_id!r} is not done: {state.n_done} of {state.n_regions} regions"
            raise RequestError(msg)
        arguments = restored(self._watcher.folder, **changes)
        if "out" not in changes:
            arguments.pop("outputs", None)
        return {**arguments, "store": self.store}

    def _is_owed(self) -> bool:
        """Whether some place has not taken the results."""
        return any(not delivery["is_done"] for delivery in self.report.get("deliveries", ()))

    def _manifest(self) -> Mapping[str, Any]:
        found = self._watcher.folder.published()
        if found is None:
            msg = f"job: {self.store} has no result of {self.job_id!r}; see daskmr status"
            raise RequestError(msg)
        return found

    def _begin(self, arguments: Mapping[str, Any]) -> "Job":
        self._driver = _Driver(arguments)
        self._driver.start()
        return self


class _Driver(threading.Thread):
    """Runs a job in the background of this process."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(name="daskmr-driver", daemon=True)
        self.arguments = arguments
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            run(**{"load": False, **self.arguments})
        except BaseException as error:  # noqa: BLE001 - `wait` raises it
            self.error = error


def submit(image: Any, model: Any = None, *, store: str, **options: Any) -> Job:
    """Begin a job in the background of this process.

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
    execution = {name: options.pop(name) for name in _EXECUTION & options.keys()}
    made: Plan = make(image, model, options)
    job = Job(store, made.settings.job_id)
    return job._begin({"image": made, "store": store, **execution})  # noqa: SLF001 - our own
