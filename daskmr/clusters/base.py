"""What a named cluster is, and what all kinds share."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from daskmr.errors import ClusterError

_USUAL: tuple[type[Exception], ...] = (OSError, TimeoutError, ValueError, RuntimeError)

NEW = "new"
"""The name of a cluster that is made for a job, and ends with it."""


class NamedCluster(Protocol):
    """A cluster under a name; plain data (see `daskmr.registry.plugin`)."""

    name: str
    """Of the cluster."""

    def client(self, *, max_workers: int) -> AbstractContextManager[Any]:
        """A distributed.Client of the cluster, for as long as the block runs.

        Only what was made for the block ends with it.

        Parameters
        ----------
        max_workers
            Most workers of a cluster that is made here: it grows and shrinks with the work. One
            that runs already is left as it is.

        Raises
        ------
        ClusterError
            When there is no such cluster, it does not come up, or what talks to it is missing.
        """


@contextmanager
def refused(place: str, package: str, *errors: type[Exception]) -> Iterator[None]:
    """Tell what a library objects to as one error.

    Parameters
    ----------
    place
        What the user asked for.
    package
        Extra of daskmr that brings the library.
    errors
        What the library raises.
    """
    try:
        yield
    except ImportError as error:
        msg = f"{place}: install daskmr[{package}] ({error})"
        raise ClusterError(msg) from error
    except (*_USUAL, *errors) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        msg = f"{place}: {words[:500]}"
        raise ClusterError(msg) from error
