"""JSON logs: one object a line, without secrets, with the field names of documented queries.

The formatter is ours: python-json-logger neither bounds a record nor keeps its reserved names, so
redaction, limits and the order of the fields would all stay, and only a dozen lines go.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TextIO

from daskmr.core.events import bound_text
from daskmr.status._redaction import MAX_CHARS, MAX_ITEMS, redact, redact_value

TIMELINE, SCHEDULER = "TIMELINE EVENT", "SCHEDULER EVENT"
"""Values of ``tag`` in documented queries."""
MAX_BYTES = 16 * 2**10
"""Maximal bytes of one text in a record."""
MAX_LINE_BYTES = 240 * 2**10
"""Maximal bytes of a record; CloudWatch accepts 256 KiB."""
_NAMESPACE = "daskmr"
_SUBJECT: ContextVar[Mapping[str, str]] = ContextVar("daskmr-log-subject", default={})  # noqa: B039
"""Job and region that this thread works on."""
_FIRST = ("job_id", "job_name", "region_id", "tag")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RESERVED = frozenset({"time", "level", "logger", "message", "exception", "stack"})


@contextmanager
def logs_about(job_id: str, region_id: str = "", *, job_name: str = "") -> Iterator[None]:
    """Let JSON records of this thread have id and name of a job, and the id of a region of it."""
    ids = {"job_id": job_id, "job_name": job_name, "region_id": region_id}
    token = _SUBJECT.set({name: value for name, value in ids.items() if value})
    try:
        yield
    finally:
        _SUBJECT.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line.

    Its members are ``time``, ``level``, ``logger``, ``message``, then ``job_id``, ``job_name``,
    ``region_id`` and ``tag`` if ``extra`` or `logs_about` has them, the rest of ``extra``, and
    ``exception``, a list of lines. No content of a record can make a second line or replace another
    member.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        extra = {**_SUBJECT.get(), **_extra(record)}
        fields |= {name: extra[name] for name in _FIRST if name in extra}
        fields |= {name: extra[name] for name in extra if name not in _FIRST}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = _lines(self.formatException(record.exc_info))
        elif record.exc_text:
            fields["exception"] = _lines(record.exc_text)
        if record.stack_info:
            fields["stack"] = _lines(record.stack_info)
        return _line(fields)


class Redaction(logging.Filter):
    """Removes secrets from a record, for handlers with any other formatter."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and return True."""
        record.msg, record.args = redact(_message(record)), None
        for name in vars(record).keys() - _STANDARD:
            setattr(record, name, redact_value({name: getattr(record, name)})[name])
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


class JsonHandler(logging.StreamHandler[TextIO]):
    """Writes records as JSON lines; an error with one never shows its content."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream if stream is not None else sys.stdout)
        self.setFormatter(JsonFormatter())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging names it so
        """Write that a record failed, instead of its content and arguments."""
        kind = sys.exc_info()[0]
        fields = {
            "level": "ERROR",
            "logger": _NAMESPACE,
            "message": f"a record of {record.name} could not be written",
            "error": kind.__name__ if kind else "",
        }
        try:
            self.stream.write(json.dumps(_plain(fields)) + self.terminator)
        except (OSError, ValueError):  # the stream is closed
            return


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):  # arguments that do not fit
        return f"{record.msg!s} {record.args!r}"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return the ``extra`` of a record; members of ``extra={"daskmr": …}`` are lifted out."""
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    inner = extra.pop(_NAMESPACE, {})
    extra |= inner if isinstance(inner, Mapping) else {_NAMESPACE: inner}
    return {f"{name}_" if name in _RESERVED else str(name): v for name, v in extra.items()}


def _lines(text: str) -> list[str]:
    """Return the last lines of a traceback, redacted."""
    lines = redact(text[-MAX_CHARS:]).splitlines()[-MAX_ITEMS:]
    return lines if len(text) <= MAX_CHARS else ["...", *lines[len(lines) // 2 :]]


def _line(fields: Mapping[str, Any]) -> str:
    """Return a line of JSON in ASCII; a record that is too long is reduced to its usual members."""
    plain = _plain(redact_value(fields))
    line = json.dumps(plain, allow_nan=False)
    if len(line) > MAX_LINE_BYTES:
        kept = {name: str(plain[name])[:1024] for name in plain if name in {*_RESERVED, *_FIRST}}
        line = json.dumps({**kept, "is_cut": True})
    return line


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold, each text bounded."""
    if isinstance(value, dict):
        return {bound_text(str(name), MAX_BYTES): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return bound_text(value, MAX_BYTES)
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value
