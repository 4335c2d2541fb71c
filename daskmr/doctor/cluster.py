"""Whether the processes of a cluster can run jobs."""

from collections.abc import Iterator, Mapping
from typing import Any

from daskmr.doctor.finding import Finding, ok, problem
from daskmr.doctor.software import compared, facts

_SHOWN = 3
_PATIENCE_S = 60.0
_FIRST = 1_000_000


def processes(client: Any) -> Iterator[Finding]:
    """Workers and scheduler of a client: how many, and what is installed there."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    threads = sum(worker["nthreads"] for worker in workers.values())
    memory = min(worker["memory_limit"] for worker in workers.values()) / 1024**3
    told = f"{len(workers)} workers, {threads} threads, {memory:.1f} GiB each or more"
    yield ok("cluster", f"{client.scheduler.address}: {told}")
    if client.dashboard_link:
        yield ok("dashboard", client.dashboard_link)
    there = dict(client.run(facts, on_error="return"))
    there["scheduler"] = _on_scheduler(client)
    yield from _failed(there, "cannot run daskmr")
    told_by = {name: said for name, said in there.items() if not isinstance(said, Exception)}
    yield from compared(told_by, len(there))


def everywhere(client: Any, what: str, act: Any, *arguments: Any) -> Iterator[Finding]:
    """Whether something works in a task of every worker: it returns nothing, or why it does not."""
    tasks = {
        name: client.submit(act, *arguments, workers=[name], pure=False, priority=_FIRST)
        for name in client.scheduler_info(n_workers=-1)["workers"]
    }
    found = {name: _outcome(task) for name, task in tasks.items()}
    wrong = {name: said for name, said in found.items() if said is not None}
    yield from _failed(wrong, what)
    if not wrong:
        yield ok(what, f"from all {len(found)} workers")


def _outcome(task: Any) -> Any:
    try:
        return task.result(_PATIENCE_S)
    except TimeoutError:
        return f"no answer within {_PATIENCE_S:g} s; is it busy?"
    except Exception as error:  # noqa: BLE001 - whatever is wrong there is what is looked for
        return error


def _on_scheduler(client: Any) -> Any:
    try:
        return client.run_on_scheduler(facts)
    except Exception as error:  # noqa: BLE001 - whatever is wrong there is what is looked for
        return error


def _failed(found: Mapping[str, Any], what: str) -> Iterator[Finding]:
    """The same error of many processes is told once."""
    errors: dict[str, list[str]] = {}
    for name, said in found.items():
        if isinstance(said, Exception | str):
            errors.setdefault(_words(said), []).append(name)
    for error, names in errors.items():
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        yield problem(what, f"{error} ({len(names)} of {len(found)}: {shown})")


def _words(said: Exception | str) -> str:
    return said if isinstance(said, str) else f"{type(said).__name__}: {said}"
