"""Specification of a job, kept in its folder, so that its name is enough to go on with it."""

from collections.abc import Mapping, Sequence
from typing import Any

from daskmr.errors import RequestError
from daskmr.planning.job_file import hidden_values, plain_settings
from daskmr.planning.outputs import Destination
from daskmr.planning.plan import Plan
from daskmr.store import JobFolder


def job_spec(plan: Plan, outputs: Sequence[Destination]) -> dict[str, Any]:
    """Return the arguments of a call that makes the same job again, as plain JSON values.

    Values whose names sound like secrets are kept as hashes only. A model that was a function of
    the calling process has no name that could be kept.
    """
    return {
        "image": plan.info.url,
        "model": plan.model_address,
        "settings": plain_settings(plan.settings),
        "outputs": [output.document for output in outputs],
    }


def run_arguments(folder: JobFolder, **changes: Any) -> dict[str, Any]:
    """Return the keyword arguments of `daskmr.run` for a job of a store.

    Parameters
    ----------
    folder
        The job.
    **changes
        Arguments that replace what was kept; None leaves it.

    Raises
    ------
    RequestError
        When there is no such job, or when something of it could not be kept.
    """
    record = folder.request()
    if record is None:
        msg = f"job: {folder.url.rpartition('/jobs/')[0]} has no job {folder.job_id!r}"
        raise RequestError(msg)
    kept = dict(record["options"])
    arguments = {**kept.pop("settings"), **{k: v for k, v in kept.items() if v is not None}}
    replacements = {name: value for name, value in changes.items() if value is not None}
    if "out" in replacements:
        arguments.pop("outputs", None)
    elif "formats" in replacements:
        formats = replacements["formats"]
        arguments["outputs"] = [_with_formats(output, formats) for output in arguments["outputs"]]
    arguments |= replacements
    problems = list(hidden_values(arguments))
    if not arguments.get("model"):
        problems.append(f"model: the job {folder.job_id} ran a function; give it again")
    if problems:
        raise RequestError(*problems)
    return arguments


def _with_formats(record: Mapping[str, Any], formats: Sequence[str]) -> dict[str, Any]:
    """Return an output with other formats."""
    return {**record, "formats": list(formats)} if record["type"] == "Files" else dict(record)
