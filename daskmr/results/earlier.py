"""The result of an earlier run of the same job: given again, replaced, or never mixed with another.

A job without a store of its own keeps its state in ``.daskmr`` beside its results. When all is
published, its parts and logs end there, and a few kilobytes stay: what was asked, the report, and
the hashes of the files.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from daskmr.core.report import Delivery, JobReport, JobStatus
from daskmr.errors import RequestError, StoreError
from daskmr.lifecycle.notifier import notifying
from daskmr.lifecycle.workspace import Workspace
from daskmr.planning.execution import Execution
from daskmr.planning.identity import result_identity, source_of
from daskmr.planning.outputs import Destination, Output
from daskmr.planning.plan import Plan
from daskmr.results.result import Result
from daskmr.results.stored import OWN_RESULTS, published_twin, stored_features, stored_tile_table
from daskmr.store import JobFolder
from daskmr.store.jobs import REPLACED, differences
from daskmr.store.object_store import object_store

_ENDS = ("attempts/", "ends/", "regions/", "stop/")
"""What of a job's folder ends with its published result."""
_AGAIN = "again=True (--again) asks anew"
_OVERWRITE = "overwrite=True (--overwrite) replaces it"


def earlier_result(plan: Plan, execution: Execution) -> Result | None:
    """Return the published result of the same call; None when there is work to do.

    Parameters
    ----------
    plan
        What is asked.
    execution
        Where its state is kept, and whether an earlier result is to be replaced.

    Raises
    ------
    RequestError
        When the name has the result of another image or of other settings; names each difference.
    StoreError
        When the job is being run by another process.
    """
    if execution.store is None or execution.is_supervised or plan.image.source is None:
        return None
    folder = JobFolder.at(execution.store, plan.settings.job_id)
    try:
        record = folder.request()
        if record is None:
            _refuse_strangers(folder.job_id, execution)
            return None
    except StoreError:
        if execution.keeps_beside:  # a bucket that can be written only
            return None
        raise
    changes = list(_changes(plan, record, folder))
    if execution.overwrite or (execution.again and not changes):
        _begin_anew(folder)
    elif changes and (execution.again or execution.keeps_beside):
        raise RequestError(*changes, f"job_id: {folder.job_id} is taken; {_OVERWRITE}")
    elif not changes and _is_success(folder):
        return _again(plan, execution, folder)
    return None


def _is_success(folder: JobFolder) -> bool:
    manifest = folder.manifest()
    return manifest is not None and manifest["status"] == JobStatus.SUCCESS


def _again(plan: Plan, execution: Execution, folder: JobFolder) -> Result | None:
    """Return a result that was published before; None when not all of it is there any more."""
    report = JobReport.from_dict(folder.report() or {})
    known = [_delivered(output, folder.job_id, report) for output in execution.outputs]
    deliveries = [delivery for delivery in known if delivery is not None]
    if len(deliveries) < len(known):
        if execution.keeps_beside:  # there are no parts to write it from
            _begin_anew(folder)
        return None
    with notifying(plan, Workspace(folder=folder), execution) as notifier:
        notifier.ended(report)  # for channels that have not heard of it yet
    return Result(
        report=replace(
            report,
            outputs=[url for delivery in deliveries for url in delivery.outputs],
            deliveries=deliveries,
            notes=(f"given again as it was published, without asking the model; {_AGAIN}",),
        ),
        loaded=stored_features(folder) if execution.load else None,
        tile_content=stored_tile_table(folder),
        image=plan.original,
        placing=plan.placing,
    )


def end_state(folder: JobFolder, *, keeps_beside: bool) -> None:
    """Delete what a job with a published result needs no more.

    Parameters
    ----------
    folder
        The job.
    keeps_beside
        Whether its folder ends with its result, but for the record of it.
    """
    objects, manifest = folder.objects, folder.manifest() or {"results": {}}
    replaced = json.loads(objects.read(REPLACED) or b"{}")
    for url, names in replaced.items():
        with suppress(StoreError):  # who may write there may not be allowed to delete
            place = object_store(url)
            for name in sorted(set(names) - manifest["results"].keys()):
                place.delete(name)
    objects.delete(REPLACED)
    if not keeps_beside:
        return
    for prefix in _ENDS:
        objects.remove(prefix)
    for name in [name for name in manifest["results"] if name.startswith(OWN_RESULTS)]:
        if published_twin(folder, name) is not None:
            objects.delete(name)


def _changes(plan: Plan, record: dict[str, Any], folder: JobFolder) -> Iterator[str]:
    """Yield a sentence for each difference to what a job asked for when it began.

    A job that has not come to its end may go on with a model whose code was mended.
    """
    before, now = dict(record.get("result") or {}), result_identity(plan)
    has_ended = folder.last_manifest() is not None
    if not has_ended:
        before["model_code"] = now["model_code"]
    yield from differences(before, now, f"the job {folder.job_id} had")
    if has_ended and record.get("source") != source_of(plan):
        yield f"{plan.info.url}: has changed since the job {folder.job_id} began"


def _delivered(output: Destination, job_id: str, report: JobReport) -> Delivery | None:
    """Return the delivery to an output, if all that was written there is there still."""
    known = next((each for each in report.deliveries if each.to == output.name), None)
    if known is None or not known.is_done:
        return None
    if not isinstance(output, Output):
        return known
    names = output.files(job_id)
    if not set(names) <= known.files.keys():
        return None
    try:
        place = object_store(output.url)
        is_whole = all(place.size(name) == known.files[name]["bytes"] for name in names)
    except StoreError:  # what cannot be looked at is written again
        return None
    return known if is_whole else None


def _refuse_strangers(job_id: str, execution: Execution) -> None:
    """Raise when files have the names of this job's results, and it has none."""
    if execution.overwrite or not execution.keeps_beside:
        return
    places = [output for output in execution.outputs if isinstance(output, Output)]
    for output in places:
        place = object_store(output.url)
        for name in output.files(job_id):
            if place.exists(name):
                msg = f"out: {output.url}/{name} is no result of this job; {_OVERWRITE}"
                raise RequestError(msg)


def _begin_anew(folder: JobFolder) -> None:
    """Remove the state of a job that nobody runs; its published files stay until others are."""
    folder.lease().acquire()
    replaced: dict[str, list[str]] = json.loads(folder.objects.read(REPLACED) or b"{}")
    for delivery in (folder.report() or {}).get("deliveries", ()):
        if delivery["files"]:
            url = delivery["outputs"][0].rpartition("/")[0]
            replaced[url] = sorted({*replaced.get(url, ()), *delivery["files"]})
    folder.objects.remove()
    if replaced:
        folder.objects.create(REPLACED, json.dumps(replaced).encode())
