"""Every error that daskmr raises, in one tree.

::

    DaskmrError
    ├── RequestError            the request, an option or a combination of them is wrong
    │   ├── UnknownNameError    a model, format or merge name that is not in its table
    │   └── ConflictError       another request has taken the name of the job
    ├── ImageError              the image cannot be opened, or is not one we can run
    │   ├── ImageReadError      one window of an open image cannot be read
    │   │   └── ImageUnreachableError  its store or server does not answer: it may come back
    │   └── SourceChangedError  the image is not the one that the job began with
    ├── EncodeError             one tile cannot be put into the tile format
    ├── EndpointError           one call of a model endpoint failed; says whether a retry can help
    │   ├── CapacityError       busy or throttled: wait, then try again
    │   ├── TransientError      server fault, reset: a few more tries
    │   │   └── SilentError     no answer in time: one more try
    │   ├── BadResponseError    answered, but not with features: one more try
    │   ├── PermanentError      this tile will never be accepted
    │   ├── AuthError           credentials are missing or were refused
    │   │   └── ExpiredCredentialsError  they expired or are being rotated: read them again
    │   └── UnreachableError    nothing answers at the address
    ├── SinkError               results could not be written
    ├── StoreError              the job's parts could not be written or read back
    │   └── BusyError           somebody else runs the job
    ├── ClusterError            no Dask cluster at the address, or one that cannot run daskmr
    │   ├── SchedulerLostError  the scheduler went away while it ran a job
    │   └── WorkerLostError     a worker went away while it ran a region
    ├── HandedBackError         this process was told to let the job go; another can go on
    └── JobError                the job as a whole failed
        └── CanceledError       it was stopped

``exit_code`` is what the command line returns for the class.
"""

from collections.abc import Sequence
from typing import ClassVar


class DaskmrError(Exception):
    """Base of all errors that a user of daskmr is meant to read."""

    exit_code: ClassVar[int] = 1
    """Exit status of the command line."""


class RequestError(DaskmrError):
    """A request or an option is wrong; nothing was started.

    Parameters
    ----------
    problems
        One sentence for each wrong field, each naming the field and its value.
    """

    exit_code = 4

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems: Sequence[str] = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class UnknownNameError(RequestError):
    """A name that is not in its table; the message lists the known ones."""


class ConflictError(RequestError):
    """Another request has taken the name of the job."""


class ImageError(DaskmrError):
    """The image is missing, unreadable, refused by the door, or of a kind we cannot run."""

    exit_code = 4


class ImageReadError(ImageError):
    """One window of an image could not be read; its tiles fail, the job goes on."""


class ImageUnreachableError(ImageReadError):
    """The store or server of an image does not answer now, or the credentials have expired."""

    exit_code = 5


class SourceChangedError(ImageError):
    """The image has changed since the job began: results of both would be mixed."""


class EncodeError(DaskmrError):
    """One tile could not be encoded; the tile fails, the job goes on."""


class EndpointError(DaskmrError):
    """One call of an endpoint failed.

    Parameters
    ----------
    message
        Which endpoint, and what happened.
    reason
        Short upper-case name of the cause, as it stands in the report (``HTTP_500``, ``TIMEOUT``).

    Attributes
    ----------
    attempts
        Calls that were made until it was given up.
    """

    may_pass: ClassVar[bool] = False
    """True if the cause lies in the deployment, so that the same call may succeed later."""
    max_attempts: ClassVar[int] = 1
    """How often a call that fails like this may be made in all; waiting for an endpoint that is
    busy or away is not bounded by it."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.attempts = 1

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), str(self), self.__dict__)


def _rebuild(cls: type[EndpointError], message: str, state: dict[str, object]) -> EndpointError:
    error = cls(message, reason="")
    error.__dict__.update(state)
    return error


class CapacityError(EndpointError):
    """The endpoint is busy (429, 503): wait and try again.

    Parameters
    ----------
    retry_after_s
        Seconds that the endpoint asked us to wait; None when it did not say.
    """

    may_pass = True

    def __init__(self, message: str, *, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class TransientError(EndpointError):
    """A fault of the server or the network that may pass (5xx, reset)."""

    may_pass = True
    max_attempts = 4


class SilentError(TransientError):
    """The endpoint did not answer within the time for one call."""

    max_attempts = 2


class BadResponseError(EndpointError):
    """The endpoint answered with something that is not a feature collection."""

    max_attempts = 2


class PermanentError(EndpointError):
    """The endpoint refused the tile for good (4xx), or the model raised."""


class AuthError(EndpointError):
    """The endpoint refused our credentials or its certificate is not trusted."""


class ExpiredCredentialsError(AuthError):
    """The credentials have expired, are not valid yet, or cannot be read at the moment."""

    may_pass = True


class UnreachableError(EndpointError):
    """Nothing listens at the endpoint's address: wait, it may come back."""

    exit_code = 5
    may_pass = True


class SinkError(DaskmrError):
    """Results could not be written; nothing half-written was left behind."""


class StoreError(DaskmrError):
    """A part of the job could not be written, or is not visible to the driver."""


class BusyError(StoreError):
    """Somebody else runs the job, and is alive."""


class ClusterError(DaskmrError):
    """No usable Dask cluster."""

    exit_code = 5


class SchedulerLostError(ClusterError):
    """The scheduler went away; what was committed is kept."""


class WorkerLostError(ClusterError):
    """The process that ran a region died.

    Parameters
    ----------
    message
        Which process, and how it died as far as is known.
    alone
        Whether the region was all that it ran.
    """

    def __init__(self, message: str, *, alone: bool = False) -> None:
        super().__init__(message)
        self.alone = alone


class HandedBackError(DaskmrError):
    """The driver was told to let the job go; what was committed is kept."""


class JobError(DaskmrError):
    """The job failed as a whole.

    Parameters
    ----------
    message
        Which job, and why.
    report
        The job's `daskmr.core.report.JobReport`, when it came as far as having one.
    """

    def __init__(self, message: str, *, report: object = None) -> None:
        super().__init__(message)
        self.report = report


class CanceledError(JobError):
    """The job was stopped before its end; what was committed is kept."""

    exit_code = 6
