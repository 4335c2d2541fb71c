"""A region in a process of its own, so that what kills the process kills nothing else.

The process ends with its region, and at once when the worker that started it dies.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any, BinaryIO

from daskmr.core.grid import Region
from daskmr.errors import WorkerLostError
from daskmr.image.base import Source
from daskmr.worker.region import process_region
from daskmr.worker.task import JobContext, RegionSummary

_START = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"


def run_alone(job: JobContext, region: Region, source: Source) -> RegionSummary:
    """Run a region as `process_region` does, in a child process.

    A remote endpoint is asked one tile after the other: the child has no part in the share of the
    endpoint's capacity that its worker was given.

    Raises
    ------
    WorkerLostError
        When the child died.
    """
    import cloudpickle

    content = cloudpickle.dumps((_with_one_call(job), region, source))
    start = _START.format(path=sys.path, module=__name__)
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            answer = _answer_of(child, content)
        finally:
            child.kill()
    if answer is None:
        code = child.wait()
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        msg = f"region {region.id}: alone in its process, it died of {cause}"
        raise WorkerLostError(msg, alone=True)
    if isinstance(answer, BaseException):
        raise answer
    summary: RegionSummary = answer
    return summary


def _answer_of(child: "subprocess.Popen[bytes]", content: bytes) -> Any:
    """Return the child's answer; None when it died first."""
    questions, answers = child.stdin, child.stdout
    if questions is None or answers is None:
        return None
    try:
        questions.write(len(content).to_bytes(8, "big") + content)
        questions.flush()  # left open: its end tells the child that its worker is gone
    except BrokenPipeError:
        return None
    content = answers.read()
    try:
        return pickle.loads(content) if content else None  # noqa: S301 - from our own child
    except (pickle.UnpicklingError, EOFError):
        return None


def _with_one_call(job: JobContext) -> JobContext:
    """Return the job limited to one call in flight."""
    terms = replace(
        job.call.terms, capacity=1, share=1, processes=1, target=None, is_coordinated=False
    )
    return replace(job, call=replace(job.call, terms=terms))


def main() -> None:
    """Run one region in the child process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a model that prints does not spoil the answer
    questions = sys.stdin.buffer
    n_bytes = int.from_bytes(questions.read(8), "big")
    job, region, source = pickle.loads(questions.read(n_bytes))  # noqa: S301 - from our own parent
    threading.Thread(target=_end_with, args=(questions,), daemon=True).start()
    try:
        answer: Any = process_region(job, region, source, tick=lambda _tiles, _pixels: None)
    except Exception as error:  # noqa: BLE001 - whatever it was, the parent raises it
        answer = error
    answers.write(pickle.dumps(answer))
    answers.flush()
    os._exit(0)


def _end_with(questions: BinaryIO) -> None:
    questions.read(1)
    os._exit(1)
