"""The result of checking one thing that a job depends on."""

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check."""

    grade: Grade
    """``ok``; ``warning``: some jobs fail or run badly; ``problem``: none runs."""
    subject: str
    """Thing that was checked."""
    message: str
    """Observation, and what to do about it."""

    def __str__(self) -> str:
        return f"{self.grade:<8} {self.subject}: {self.message}"

    def as_dict(self) -> dict[str, str]:
        """Return plain JSON values."""
        return {"grade": self.grade, "what": self.subject, "told": self.message}


def ok(subject: str, message: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult("ok", subject, message)


def warning(subject: str, message: str) -> CheckResult:
    """Return the result of a check that passed in part."""
    return CheckResult("warning", subject, message)


def problem(subject: str, message: object) -> CheckResult:
    """Return the result of a check that failed; an error becomes one line."""
    return CheckResult("problem", subject, " ".join(str(message).split()))
