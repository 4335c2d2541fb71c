"""What stands for an image in a call: an image, a plan, a request or a job file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from daskmr.core.request import ImageRequest
from daskmr.errors import RequestError
from daskmr.planning.from_request import calls_from_request, read_request
from daskmr.planning.job_file import EXECUTION, is_job_file, overridden, read_job_file
from daskmr.planning.make_plan import make_plan
from daskmr.planning.plan import Plan
from daskmr.planning.settings import Settings

_FREE = frozenset({"job_id"})
"""Options that change no plan, and may stand beside one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of `daskmr.plan` or `daskmr.run`, resolved."""

    plan: Plan
    """What to do."""
    execution: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `daskmr.run` that a request or job file has, such as ``outputs``."""


def resolve(image: Any, model: Any, options: Mapping[str, Any]) -> Call:
    """Return the plan of a call, and where its request or job file sends the results.

    Parameters
    ----------
    image
        As for `daskmr.run`.
    model
        As for `daskmr.run`; None with a plan, a request or a job file.
    options
        Options that differ from their defaults.

    Raises
    ------
    RequestError
        When a plan, request or job file comes together with a model or with options that it brings
        itself; names them. When a request has several images.
    """
    if isinstance(image, Plan):
        _refuse_extra("plan", model, options)
        return Call(plan=_renamed(image, options))
    if is_job_file(image):
        _refuse_extra("job file", model, options)
        return from_arguments(overridden(read_job_file(image), options))
    request = _request(image)
    if request is None:
        return Call(plan=make_plan(image, model, Settings.of(_with_roi(options))))
    _refuse_extra("request", model, options)
    if len(request.image_urls) > 1:
        msg = f"imageUrls: {len(request.image_urls)} images; run them by daskmr run --request"
        raise RequestError(msg)
    (call,) = calls_from_request(request, None if request.outputs else "")
    return from_arguments({**call, "out": None, **options})


def from_arguments(arguments: Mapping[str, Any]) -> Call:
    """Return the call of keyword arguments of `daskmr.run`; None stands for a default."""
    values = {name: value for name, value in arguments.items() if value is not None}
    execution = {name: values.pop(name) for name in EXECUTION if name in values}
    image, model = values.pop("image"), values.pop("model", None)
    return Call(plan=make_plan(image, model, Settings.of(values)), execution=execution)


def _with_roi(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return options with the content of the file that `roi` names, if it names one.

    Only what is typed here may be a path: a request's area of interest never is.
    """
    roi = options.get("roi")
    if not isinstance(roi, str | Path) or "(" in str(roi) or str(roi).lstrip().startswith("{"):
        return options
    try:
        return {**options, "roi": Path(roi).read_text(encoding="utf-8")}
    except FileNotFoundError:
        msg = f"roi: {str(roi)!r} is neither WKT nor GeoJSON, and there is no such file"
    except (OSError, UnicodeDecodeError) as error:
        msg = f"roi: {str(roi)!r} cannot be read as text: {error}"
    raise RequestError(msg)


def _refuse_extra(kind: str, model: Any, options: Mapping[str, Any]) -> None:
    extra = sorted({*options} - _FREE | ({"model"} if model is not None else set()))
    if extra:
        msg = f"{', '.join(extra)}: a {kind} brings its model and options; change it instead"
        raise RequestError(msg)


def _renamed(plan: Plan, options: Mapping[str, Any]) -> Plan:
    """Return a plan with another job id."""
    if not options:
        return plan
    named = Settings.of({"job_id": options["job_id"]})
    return replace(plan, settings=replace(plan.settings, job_id=named.job_id))


def _request(image: Any) -> ImageRequest | None:
    """Return the request of a request or of the path of its JSON; None for an image."""
    if isinstance(image, ImageRequest):
        return image
    if not isinstance(image, str | Path) or not str(image).endswith(".json") or "://" in str(image):
        return None
    try:
        text = Path(image).read_bytes()
    except OSError as error:
        msg = f"{image}: cannot be read: {error.strerror}"
        raise RequestError(msg) from error
    try:
        return read_request(text)
    except RequestError as error:
        raise RequestError(*(f"{image}: {problem}" for problem in error.problems)) from None
