"""The order of a job, from its plan to its result; read this first.

open the job - dispatch its regions - summarise - merge - georeference - publish

where a worker does this with each region (`daskmr.worker.region`):

read - encode - infer - decode - commit
"""

from contextlib import ExitStack
from functools import partial

from daskmr.core.report import JobStatus
from daskmr.dispatch.cluster import connect
from daskmr.dispatch.cluster_arguments import can_connect_again, makes_own
from daskmr.dispatch.run_regions import run_regions
from daskmr.lifecycle.open_job import open_job
from daskmr.lifecycle.outages import raise_outages
from daskmr.planning.execution import Execution
from daskmr.planning.plan import Plan
from daskmr.results.earlier import earlier_result, end_state
from daskmr.results.georeference import georeference
from daskmr.results.job_end import EndRecorder
from daskmr.results.merge import merge
from daskmr.results.publish import publish
from daskmr.results.result import Result
from daskmr.results.summarise import raise_or_warn, report_of, summarise


def run_plan(plan: Plan, execution: Execution) -> Result:
    """Run a plan to its end.

    Raises
    ------
    JobError
        When tiles were run and none succeeded, or the job was canceled.
    DaskmrError
        When the cluster, the endpoint, the store or a sink could not be used.
    """
    earlier = earlier_result(plan, execution)
    if earlier is not None:
        return earlier
    cluster = execution.cluster
    again = partial(connect, **cluster) if can_connect_again(**cluster) else None
    with ExitStack() as stack:
        job = stack.enter_context(open_job(plan, execution, has_own_workers=makes_own(**cluster)))
        end = stack.enter_context(EndRecorder(job))
        n_tiles = run_regions(job)

        summary = stack.enter_context(summarise(job))
        raise_outages(job, summary.reasons.keys())
        features = merge(job, summary, again)
        placed = stack.enter_context(georeference(job, summary, features))

        end.report = report_of(job, summary, placed.statistics)
        raise_or_warn(end.report, summary.alerts())
        report = publish(job, summary, placed, end=end, n_tiles=n_tiles)
        result = Result(
            report=report,
            loaded=placed.whole() if execution.load else None,
            tile_content=summary.tiles.read_bytes(),
            image=plan.original,
            placing=plan.placing,
        )
    if job.workspace.is_kept and report.status is JobStatus.SUCCESS:
        end_state(job.workspace.folder, keeps_beside=execution.keeps_beside)
    return result
