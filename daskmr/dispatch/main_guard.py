"""The guard of scripts that start processes: Python imports the script again in each of them."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from daskmr.errors import RequestError

_MARK = "_DASKMR_REIMPORTED"
"""Environment variable with the path of the file by which a worker tells of a missing guard."""


def refuse_reimport() -> None:
    """Raise in a process that is only just importing the script that started it.

    A worker that we have just started tells the process that started it, and ends without a word.

    Raises
    ------
    RequestError
        Names the guard.
    """
    if not getattr(multiprocessing.current_process(), "_inheriting", False):
        return
    if mark := os.environ.get(_MARK):
        Path(mark).touch()
        os._exit(1)
    raise _missing_guard()


@contextmanager
def asking_for_guard() -> Iterator[None]:
    """Name the guard when processes that are started meanwhile fail for lack of it.

    Raises
    ------
    RequestError
        Names the guard.
    """
    with TemporaryDirectory(prefix="daskmr-") as folder:
        mark = Path(folder) / "mark"
        os.environ[_MARK] = str(mark)
        try:
            yield
        except Exception:
            if mark.exists():
                raise _missing_guard() from None
            raise
        finally:
            del os.environ[_MARK]


def _missing_guard() -> RequestError:
    script = getattr(sys.modules["__main__"], "__file__", None) or "the script"
    return RequestError(
        f"{Path(script).name}: worker processes import the script again; put what it runs below "
        f"if __name__ == '__main__':, or run in this process with scheduler='threads'"
    )
