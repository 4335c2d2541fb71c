"""What a job was asked to do, kept beside it, so that its name is enough to go on with it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from daskmr.core.grid import Size
from daskmr.core.roi import parse_roi
from daskmr.errors import RequestError
from daskmr.pipeline.output import Destination
from daskmr.pipeline.settings import Settings
from daskmr.store import JobFolder

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

_SECRET = re.compile(r"(?i)token|secret|passw|api.?key|authori[sz]ation|credential|cookie")
_HIDDEN = "sha256:"


def told(plan: "Plan", outputs: Sequence[Destination]) -> dict[str, Any]:
    """The arguments of a call that makes the same job again, as plain JSON values.

    Values whose names sound like secrets are kept as hashes only. A model that was a function of
    the calling process has no name that could be kept.
    """
    settings = {f.name: _plain(f.name, getattr(plan.settings, f.name)) for f in fields(Settings)}
    return {
        "image": plan.info.url,
        "model": plan.asked_for,
        "settings": settings,
        "outputs": [output.said for output in outputs],
    }


def restored(folder: JobFolder, **changes: Any) -> dict[str, Any]:
    """Keyword arguments of `daskmr.run` for a job of a store.

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
    said = folder.request()
    if said is None:
        msg = f"job: {folder.url.rpartition('/jobs/')[0]} has no job {folder.job_id!r}"
        raise RequestError(msg)
    kept = dict(said["options"])
    found = {**kept.pop("settings"), **{k: v for k, v in kept.items() if v is not None}}
    given = {name: value for name, value in changes.items() if value is not None}
    if "out" in given:
        found.pop("outputs", None)
    elif "formats" in given:
        found["outputs"] = [_with_formats(said, given["formats"]) for said in found["outputs"]]
    found |= given
    problems = [
        f"{name}.{key}: was not kept, since it may be a secret; give it again"
        for name in ("parameters", "endpoint_options")
        for key, value in dict(found.get(name) or {}).items()
        if str(value).startswith(_HIDDEN)
    ]
    if not found.get("model"):
        problems.append(f"model: the job {folder.job_id} ran a function; give it again")
    if problems:
        raise RequestError(*problems)
    return found


def _with_formats(said: Mapping[str, Any], formats: Sequence[str]) -> dict[str, Any]:
    """A place where results go, in other formats."""
    return {**said, "formats": list(formats)} if said["type"] == "Files" else dict(said)


def _plain(name: str, value: Any) -> Any:
    """A setting as plain JSON values."""
    if isinstance(value, Size):
        return str(value)
    if name == "roi" and value is not None:
        return parse_roi(value).wkt
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), inner) for key, inner in value.items()}
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return str(value)


def _hidden(name: str, value: Any) -> Any:
    """A value, or its hash when its name sounds like a secret."""
    plain = json.loads(json.dumps(value, default=str))
    if not _SECRET.search(name):
        return plain
    return _HIDDEN + hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
