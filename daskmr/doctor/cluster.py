"""Checks of the processes of a cluster."""

from collections.abc import Iterator, Mapping
from typing import Any

from daskmr.doctor.check_result import CheckResult, ok, problem
from daskmr.doctor.software import compare_versions, package_versions

_MAX_NAMES = 3
_TIMEOUT_S = 60.0
_HIGHEST_PRIORITY = 1_000_000


def check_processes(client: Any) -> Iterator[CheckResult]:
    """Check the number of workers, and the software of workers and scheduler."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    threads = sum(worker["nthreads"] for worker in workers.values())
    memory = min(worker["memory_limit"] for worker in workers.values()) / 1024**3
    summary = f"{len(workers)} workers, {threads} threads, {memory:.1f} GiB each or more"
    yield ok("cluster", f"{client.scheduler.address}: {summary}")
    if client.dashboard_link:
        yield ok("dashboard", client.dashboard_link)
    results = dict(client.run(package_versions, on_error="return"))
    results["scheduler"] = _scheduler_versions(client)
    yield from _group_errors(results, "cannot run daskmr")
    versions = {name: v for name, v in results.items() if not isinstance(v, Exception)}
    yield from compare_versions(versions, len(results))


def check_on_workers(
    client: Any, subject: str, check: Any, *arguments: Any
) -> Iterator[CheckResult]:
    """Run a check in a task of every worker.

    Parameters
    ----------
    client
        A `distributed.Client`.
    subject
        Thing that is checked.
    check
        Function that returns an error as text, or None.
    arguments
        Arguments of the function.
    """
    tasks = {
        name: client.submit(
            check, *arguments, workers=[name], pure=False, priority=_HIGHEST_PRIORITY
        )
        for name in client.scheduler_info(n_workers=-1)["workers"]
    }
    results = {name: _task_error(task) for name, task in tasks.items()}
    errors = {name: error for name, error in results.items() if error is not None}
    yield from _group_errors(errors, subject)
    if not errors:
        yield ok(subject, f"from all {len(results)} workers")


def _task_error(task: Any) -> Any:
    try:
        return task.result(_TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {_TIMEOUT_S:g} s; is it busy?"
    except Exception as error:  # noqa: BLE001 - any error of a worker is a result
        return error


def _scheduler_versions(client: Any) -> Any:
    try:
        return client.run_on_scheduler(package_versions)
    except Exception as error:  # noqa: BLE001 - any error of a worker is a result
        return error


def _group_errors(results: Mapping[str, Any], subject: str) -> Iterator[CheckResult]:
    """Yield a problem for each distinct error, with the processes that have it."""
    errors: dict[str, list[str]] = {}
    for name, result in results.items():
        if isinstance(result, Exception | str):
            errors.setdefault(_error_text(result), []).append(name)
    for error, names in errors.items():
        shown = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
        yield problem(subject, f"{error} ({len(names)} of {len(results)}: {shown})")


def _error_text(error: Exception | str) -> str:
    return error if isinstance(error, str) else f"{type(error).__name__}: {error}"
