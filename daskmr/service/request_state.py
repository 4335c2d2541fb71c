"""The state of requests without a job: those that wait, and those that were rejected."""

from collections.abc import Iterable

from daskmr.lifecycle.job_state import RUNNING, JobState
from daskmr.service.request_store import RequestStore


def unplanned(store: str, jobs: Iterable[str]) -> list[str]:
    """Return the names of the requests of a store without a job of their own, sorted.

    Parameters
    ----------
    store
        Folder or ``s3://`` URL that keeps requests and jobs.
    jobs
        Names of its jobs.
    """
    requests, planned = RequestStore(store=store), set(jobs)
    names = [name for name in requests.names() if name not in planned]
    return [name for name in names if not planned & set(_job_ids(requests, name))]


def _job_ids(requests: RequestStore, name: str) -> tuple[str, ...]:
    accepted = requests.request(name)
    return accepted[0].job_ids if accepted else ()


def request_state(store: str, name: str) -> JobState | None:
    """Return the state of a request that has no job; None when the store has no such request."""
    requests = RequestStore(store=store)
    accepted, end = requests.request(name), requests.end_record(name)
    if accepted is None and end is None:
        return None
    request = accepted[0] if accepted else None
    return JobState(
        job_id=name,
        job_name=request.job_name if request else "",
        state=str(end["status"]) if end else RUNNING,
        image=", ".join(request.image_urls) if request else "",
        model=request.image_processor.name if request else "",
        n_tiles=0,
        n_regions=0,
        n_done=0,
        why=str(end["why"]) if end else "",
    )
