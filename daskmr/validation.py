"""What pydantic refuses, as sentences: path of the field, value, reason."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from pydantic import ValidationError

MAX_CHARS = 80
"""Most characters of a value, or of a key, in a sentence."""
Location = Sequence[int | str]
"""Keys and indices of a field, from the outermost."""


def dotted(location: Location) -> str:
    """Return a location as ``outer.inner``."""
    return ".".join(map(str, location))


def sentences(
    error: ValidationError,
    path: Callable[[Location], str] = dotted,
    *,
    shows_value: Callable[[Location], bool] = lambda _: True,
) -> list[str]:
    """Return what is wrong, one sentence for each problem, in order and each once.

    Parameters
    ----------
    error
        Of pydantic.
    path
        Returns the name of a location.
    shows_value
        Returns False where a value may be a secret.
    """
    problems = (
        _sentence(path(each["loc"]), dict(each), is_shown=shows_value(each["loc"]))
        for each in error.errors()
    )
    return list(dict.fromkeys(problems))


def _sentence(path: str, error: Mapping[str, Any], *, is_shown: bool) -> str:
    reason = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{path}: is missing"
    if not path or reason.startswith(f"{path}: "):
        return reason
    value = abbreviated(error["input"])
    if not is_shown or reason.startswith(value):
        return f"{path}: {reason}"
    if reason.startswith(("is ", "has ")):
        return f"{path}: {value} {reason}"
    return f"{path}: {value}: {reason}"


def abbreviated(value: object) -> str:
    """Return a value as Python writes it, a dataclass as text, cut after `MAX_CHARS` characters."""
    return shortened(str(value) if is_dataclass(value) else repr(value))


def shortened(text: str, most: int = MAX_CHARS) -> str:
    """Return a text, cut after so many characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."
