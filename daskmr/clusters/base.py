"""The interface of named clusters, and the translation of their libraries' errors."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from daskmr.errors import ClusterError

_COMMON_ERRORS: tuple[type[Exception], ...] = (OSError, TimeoutError, ValueError, RuntimeError)

NEW = "new"
"""Name of a cluster that is created for a job and ends with it."""


class NamedCluster(Protocol):
    """A cluster with a name; plain data (see `daskmr.registry.plugin`)."""

    name: str
    """Name of the cluster."""

    def client(self, *, max_workers: int) -> AbstractContextManager[Any]:
        """Return a context manager of a `distributed.Client` of the cluster.

        A cluster that is created on entry ends at exit; any other keeps running.

        Parameters
        ----------
        max_workers
            Maximal workers of a created cluster, which scales with the work. A running cluster is
            not scaled.

        Raises
        ------
        ClusterError
            If the cluster does not exist or does not start, or its library is not installed.
        """


@contextmanager
def translate_errors(scheduler: str, extra: str, *errors: type[Exception]) -> Iterator[None]:
    """Raise the errors of a library as `ClusterError`.

    Parameters
    ----------
    scheduler
        ``KIND:NAME``, for the message.
    extra
        Extra of daskmr that installs the library.
    errors
        Exceptions of the library.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{scheduler}: install daskmr[{extra}] ({error})"
        raise ClusterError(msg) from error
    except (*_COMMON_ERRORS, *errors) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        msg = f"{scheduler}: {text[:500]}"
        raise ClusterError(msg) from error
