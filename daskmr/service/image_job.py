"""One image of a request: planned and run, each by a thread of the service."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from daskmr.core.progress import OnProgress, Progress
from daskmr.core.report import JobReport
from daskmr.core.request import ImageRequest
from daskmr.endpoints.base import ControlPlane, Endpoint, Fleet
from daskmr.image import open_image
from daskmr.pipeline.run import run_plan
from daskmr.planning.execution import Execution
from daskmr.planning.from_request import calls_from_request, session_name
from daskmr.planning.make_plan import make_plan
from daskmr.planning.outputs import Destination, destination
from daskmr.planning.plan import Plan
from daskmr.planning.settings import Settings
from daskmr.service.policy import RequestPolicy
from daskmr.service.scheduler import EndpointCapacity, Entry
from daskmr.worker.metrics import model_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageJob:
    """A planned image."""

    plan: Plan
    """Its plan."""
    outputs: Sequence[Destination]
    """Destinations of the results."""
    entry: Entry
    """Its entry for the scheduler."""
    capacity: EndpointCapacity
    """Capacity of its endpoint when it was planned."""
    job_name: str = ""
    """Name of the job for people."""

    @property
    def job_id(self) -> str:
        """Name of the job."""
        return self.plan.settings.job_id

    @property
    def model_name(self) -> str:
        """Name of the model in metrics."""
        return model_name(self.plan.model)

    def progress_callback(self, on_remaining: Callable[[int, int], None]) -> OnProgress:
        """Return a progress callback that passes on the remaining regions and tiles.

        Parameters
        ----------
        on_remaining
            Called with the numbers of regions and tiles that have not ended.
        """
        n_regions = self.plan.n_regions

        def on_progress(progress: Progress) -> None:
            n_tiles = progress.n_tiles - progress.n_done
            on_remaining(math.ceil(n_regions * n_tiles / max(1, progress.n_tiles)), n_tiles)

        return on_progress

    def run(self, execution: Execution) -> JobReport:
        """Run the image to its end and return its report.

        Raises
        ------
        DaskmrError
            As `daskmr.pipeline.run.run_plan`.
        """
        return run_plan(self.plan, execution).report


def plan_image(
    request: ImageRequest,
    number: int,
    *,
    requested_at: float,
    policy: RequestPolicy,
    formats: Sequence[str],
) -> ImageJob:
    """Plan one image of a request; reads its header and requests its endpoint's capacity.

    Parameters
    ----------
    request
        A request that *policy* allows.
    number
        Index of the image, from 0.
    requested_at
        Time of the request, seconds since 1970 (UTC).
    policy
        Names that requests may contain.
    formats
        Formats of outputs that are files.

    Raises
    ------
    RequestError
        If options do not fit this image; names each.
    ImageUnreachableError
        If the place of the image does not answer.
    ImageError
        If the image cannot be opened.
    """
    name, url = session_name(request.job_id), request.image_urls[number]
    plain = request.model_copy(update={"image_read_role": ""})
    arguments = calls_from_request(
        plain, None, external_id=lambda role: policy.identity(role, session=name).external_id
    )[number]
    outputs = [
        replace(destination(output, formats), is_awaited=True)
        for output in arguments.pop("outputs")
    ]
    access = policy.image_access(url, role=request.image_read_role, session=name)
    model = arguments.pop("model")
    del arguments["image"], arguments["out"]
    plan = make_plan(
        open_image(url, door=access),
        model,
        Settings.of(arguments),
        is_trusted=policy.lists_model(model),
    )
    entry = Entry(
        job_id=plan.settings.job_id,
        endpoint=_endpoint(plan),
        requested_at=requested_at,
        n_regions=plan.n_regions,
        n_tiles=plan.n_tiles - plan.n_skipped,
        priority=request.priority,
    )
    return ImageJob(
        plan=plan,
        outputs=outputs,
        entry=entry,
        capacity=endpoint_capacity(plan.model),
        job_name=request.job_name,
    )


def endpoint_capacity(model: Any) -> EndpointCapacity:
    """Return the present capacity of an endpoint; calls its control plane."""
    if not isinstance(model, Endpoint):
        return EndpointCapacity()
    n_instances = model.instances() if isinstance(model, Fleet) else 1
    max_calls = model.concurrency
    if max_calls == "auto":
        capacity = model.capacity() if isinstance(model, ControlPlane) else None
        return EndpointCapacity(n_instances=n_instances, max_calls=capacity)
    return EndpointCapacity(n_instances=n_instances, max_calls=max_calls)


def _endpoint(plan: Plan) -> str:
    """Return the name that jobs share which compete for one capacity: endpoint and variant."""
    return plan.model.name
