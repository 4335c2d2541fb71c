"""What was seen of one thing that a job depends on."""

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one thing."""

    grade: Grade
    """``ok``; ``warning``: jobs run, though not all of them or not well; ``problem``: none does."""
    what: str
    """What was looked at."""
    told: str
    """What was seen, and what to do about it."""

    def __str__(self) -> str:
        return f"{self.grade:<8} {self.what}: {self.told}"

    def as_dict(self) -> dict[str, str]:
        """Plain JSON values."""
        return {"grade": self.grade, "what": self.what, "told": self.told}


def ok(what: str, told: str) -> Finding:
    """A thing that is well."""
    return Finding("ok", what, told)


def warning(what: str, told: str) -> Finding:
    """A thing with which not everything works."""
    return Finding("warning", what, told)


def problem(what: str, told: object) -> Finding:
    """A thing with which nothing works; an error says it in one line."""
    return Finding("problem", what, " ".join(str(told).split()))
