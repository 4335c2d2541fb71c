"""One image of a request: planned and run, each by a thread of the service."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from daskmr.core.report import JobReport
from daskmr.core.request import ImageRequest
from daskmr.endpoints.base import ControlPlane, Endpoint
from daskmr.image import open_image
from daskmr.pipeline.execution import Execution
from daskmr.pipeline.measures import model_name
from daskmr.pipeline.output import Destination, destination
from daskmr.pipeline.plan import Plan, make_plan
from daskmr.pipeline.progress import OnProgress, Progress
from daskmr.pipeline.requested import jobs, session
from daskmr.pipeline.run import run_plan
from daskmr.pipeline.settings import Settings
from daskmr.service.allowance import Allowance
from daskmr.service.balance import Entry, Strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An image that was planned."""

    plan: Plan
    """What to do."""
    outputs: Sequence[Destination]
    """Where results go."""
    entry: Entry
    """What the balance knows of it."""
    strength: Strength
    """What its endpoint stood when it was planned."""

    @property
    def job_id(self) -> str:
        """Name of the job."""
        return self.plan.settings.job_id

    @property
    def model_name(self) -> str:
        """What the model is called in metrics."""
        return model_name(self.plan.model)

    def told(self, left: Callable[[int, int], None]) -> OnProgress:
        """What hears of progress, and tells how many regions and tiles have not ended."""
        n_regions = self.plan.n_regions

        def tell(progress: Progress) -> None:
            n_tiles = progress.n_tiles - progress.n_done
            left(math.ceil(n_regions * n_tiles / max(1, progress.n_tiles)), n_tiles)

        return tell

    def run(self, how: Execution) -> JobReport:
        """Run it to its end.

        Raises
        ------
        DaskmrError
            As `daskmr.pipeline.run.run_plan`.
        """
        return run_plan(self.plan, how).report


def planned(
    request: ImageRequest,
    number: int,
    *,
    asked_at: float,
    allowance: Allowance,
    formats: Sequence[str],
) -> Work:
    """Plan one image of a request; reads its header, and asks what its endpoint is.

    Parameters
    ----------
    request
        What is asked for; the allowance has nothing against it.
    number
        Which of its images, from 0.
    asked_at
        When it was asked for, seconds since 1970 (UTC).
    allowance
        What may be named.
    formats
        Of outputs that are files.

    Raises
    ------
    RequestError
        Names what cannot work with this image.
    ImageError
        When the image cannot be opened.
    """
    name, url = session(request.job_id), request.image_urls[number]
    plain = request.model_copy(update={"image_read_role": ""})
    arguments = jobs(
        plain, None, external_id=lambda role: allowance.identity(role, session=name).external_id
    )[number]
    places = [destination(said, formats) for said in arguments.pop("outputs")]
    door = allowance.door(url, role=request.image_read_role, session=name)
    model = arguments.pop("model")
    del arguments["image"], arguments["out"]
    plan = make_plan(
        open_image(url, door=door),
        model,
        Settings.of(arguments),
        is_trusted=allowance.names_model(model),
    )
    entry = Entry(
        job_id=plan.settings.job_id,
        endpoint=_endpoint(plan),
        asked_at=asked_at,
        n_regions=plan.n_regions,
        n_tiles=plan.n_tiles - plan.n_skipped,
        priority=request.priority,
    )
    return Work(plan=plan, outputs=places, entry=entry, strength=strength_of(plan.model))


def strength_of(model: Any) -> Strength:
    """What an endpoint stands at present; asks its control plane."""
    if not isinstance(model, Endpoint):
        return Strength()
    count = getattr(model, "instances", None)
    most = model.concurrency
    if most == "auto":
        found = model.capacity() if isinstance(model, ControlPlane) else None
        return Strength(instances=count() if count else 1, most=found)
    return Strength(instances=count() if count else 1, most=most)


def _endpoint(plan: Plan) -> str:
    """What jobs have in common that compete for one capacity: endpoint and variant."""
    return plan.model.name
