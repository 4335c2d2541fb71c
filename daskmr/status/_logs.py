"""Logs for machines: one JSON object a line, without secrets, with the names that queries use."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TextIO

from daskmr.core.events import bounded
from daskmr.status._redaction import MAX_CHARS, MAX_ITEMS, redacted, redacted_value

TIMELINE, SCHEDULER = "TIMELINE EVENT", "SCHEDULER EVENT"
"""Values of ``tag`` that documented queries look for."""
MAX_BYTES = 16 * 2**10
"""Most bytes of one text in a record."""
MAX_LINE_BYTES = 240 * 2**10
"""Most bytes of a record; CloudWatch takes 256 KiB of an event."""
_OURS = "daskmr"
_FIRST = ("job_id", "region_id", "tag")
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RESERVED = frozenset({"time", "level", "logger", "message", "exception", "stack"})


class JsonFormatter(logging.Formatter):
    """A record as one JSON object on one line.

    Its members are ``time``, ``level``, ``logger``, ``message``, then ``job_id``, ``region_id`` and
    ``tag`` when they were given, whatever else stood in ``extra``, and ``exception``, a list of
    lines. Nothing in a record can make a second line or pass for another member.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        extra = _extra(record)
        said |= {name: extra[name] for name in _FIRST if name in extra}
        said |= {name: extra[name] for name in extra if name not in _FIRST}
        if record.exc_info and record.exc_info[0] is not None:
            said["exception"] = _lines(self.formatException(record.exc_info))
        elif record.exc_text:
            said["exception"] = _lines(record.exc_text)
        if record.stack_info:
            said["stack"] = _lines(record.stack_info)
        return _line(said)


class Redaction(logging.Filter):
    """Takes secrets out of a record, for handlers with any other formatter."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True; the record is changed."""
        record.msg, record.args = redacted(_message(record)), None
        for name in vars(record).keys() - _USUAL:
            setattr(record, name, redacted_value({name: getattr(record, name)})[name])
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = redacted(record.exc_text)
        if record.stack_info:
            record.stack_info = redacted(record.stack_info)
        return True


class JsonHandler(logging.StreamHandler[TextIO]):
    """Writes records as JSON lines; what goes wrong with one never shows what is in it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream if stream is not None else sys.stdout)
        self.setFormatter(JsonFormatter())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging names it so
        """Tell that there was a record, instead of its content and arguments."""
        kind = sys.exc_info()[0]
        said = {
            "level": "ERROR",
            "logger": _OURS,
            "message": f"a record of {record.name} could not be written",
            "error": kind.__name__ if kind else "",
        }
        try:
            self.stream.write(json.dumps(_plain(said)) + self.terminator)
        except (OSError, ValueError):  # nobody reads any more
            return


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError, IndexError):  # arguments that do not fit
        return f"{record.msg!s} {record.args!r}"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What was said beside the message; members of ``extra={"daskmr": …}`` stand alone."""
    found = {name: value for name, value in vars(record).items() if name not in _USUAL}
    inner = found.pop(_OURS, {})
    found |= inner if isinstance(inner, Mapping) else {_OURS: inner}
    return {f"{name}_" if name in _RESERVED else str(name): v for name, v in found.items()}


def _lines(text: str) -> list[str]:
    """The last lines of a traceback."""
    lines = redacted(text[-MAX_CHARS:]).splitlines()[-MAX_ITEMS:]
    return lines if len(text) <= MAX_CHARS else ["...", *lines[len(lines) // 2 :]]


def _line(said: Mapping[str, Any]) -> str:
    """One line of JSON in ASCII; of one that is too long, what every record has."""
    plain = _plain(redacted_value(said))
    line = json.dumps(plain, allow_nan=False)
    if len(line) > MAX_LINE_BYTES:
        kept = {name: str(plain[name])[:1024] for name in plain if name in {*_RESERVED, *_FIRST}}
        line = json.dumps({**kept, "is_cut": True})
    return line


def _plain(value: Any) -> Any:
    """A value as JSON can hold it, each text on one line and none too long."""
    if isinstance(value, dict):
        return {bounded(str(name), MAX_BYTES): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return bounded(value, MAX_BYTES)
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value
