"""Removes secrets from texts before they are published, stored or logged."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from daskmr.core.events import StatusEvent

MASK = "[redacted]"
"""Replacement of a secret."""
MAX_CHARS = 64 * 2**10
"""Maximal characters of a text that are searched; the rest is left out."""
MAX_ITEMS = 200
"""Maximal members of one object or list."""
_MARGIN = 1024
_MAX_DEPTH = 12
_NAMES = (
    r"secret[_-]?(?:access[_-]?)?(?:key)?|(?:session|security|access|refresh|id)[_-]?token"
    r"|password|passwd|passphrase|api[_-]?key|private[_-]?key"
)
_HEADERS = r"authorization|(?:set-)?cookie"
_SECRET_KEY = re.compile(
    rf"(?i)[\w-]*(?:{_NAMES})|(?:proxy-)?(?:{_HEADERS})|token|credentials?"
    r"|x-amz-(?:signature|credential)|signature|sig"
)
_QUOTE = r"""\\{0,3}["']"""
_BEFORE = rf"""(?:(?:{_QUOTE})?\s*[:=]\s*|["']\s*,\s*)b?\\{{0,3}}"""
"""Text between a name and its value in JSON, Python, headers and settings."""
_QUOTED = r"(?P<quote>[\"'])(?:\\.|(?!(?P=quote)).)*"
_PASSWORD = r"[^\s\"'<>]{0,512}"  # noqa: S105 - a pattern
_RULES = (
    # Private keys, to their end or, where they are cut, to that of the text.
    re.compile(r"(?s)()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z)"),
    # Headers, and names and values: quoted to the closing quote.
    re.compile(rf"(?i)((?:{_NAMES}|{_HEADERS}){_BEFORE}){_QUOTED}"),
    # Headers otherwise to the end of the line, other values to the next blank.
    re.compile(rf"(?i)((?:{_HEADERS}){_BEFORE})[^\r\n\"'\s][^\r\n]*"),
    re.compile(rf"(?i)((?:{_NAMES}){_BEFORE})[^\s\"'&]+"),
    re.compile(r"((?i:bearer)\s+)[^\s\"'\\]{8,}"),
    re.compile(r"((?i:basic|aws4-hmac-sha256)\s+)(?=\S*[A-Z0-9=+/])[^\s\"'\\]{8,}"),
    # Signed URLs, also percent-encoded once or twice.
    re.compile(
        r"(?i)((?:x-(?:amz|goog)-(?:signature|security-token|credential)|signature|awsaccesskeyid"
        r"|(?<![a-z])sig|\\[nrt]sig|token)(?:=|%(?:25)?3D))[^&\s\"'<>\\]+"
    ),
    # User names and passwords of URLs, to the last @; a colon and digits alone are a port.
    re.compile(rf"(://)[^\s/?#@:\"'<>]{{0,512}}:(?!\d{{1,5}}(?:[/?#\s\"']|$)){_PASSWORD}(?=@)"),
    re.compile(r"(://)[^\s/?#\"'<>\\]{1,512}(?=@)"),
    # Key ids and session tokens, by their prefixes.
    re.compile(r"()(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"()(?:FwoG|FQoG|IQoJ|AQoD)[A-Za-z0-9+/=_%-]{20,}"),
)
_HINT = re.compile(
    r"(?i)://|-----BEGIN|authorization|cookie|bearer|basic|hmac|secret|token|passw|passphrase|key"
    r"|sig|credential|AKIA|ASIA|FwoG|FQoG|IQoJ|AQoD"
)
"""Matches every text that a rule may change; most texts do not match."""


def redact(text: str) -> str:
    """Return a text without secrets: AWS keys and tokens, signatures, headers, passwords.

    Examples
    --------
    >>> redact("GET https://me:pass@host/x?X-Amz-Signature=0a1b&n=1")
    'GET https://[redacted]@host/x?X-Amz-Signature=[redacted]&n=1'
    """
    result = text[:MAX_CHARS]
    for rule in _RULES if _HINT.search(result) else ():
        result = rule.sub(rf"\g<1>{MASK}", result)
    # A secret across the cut may have escaped the rules.
    return result if len(text) <= MAX_CHARS else result[:-_MARGIN]


def redact_value(value: Any, depth: int = 0) -> Any:
    """Return a plain value without secrets; the value of a secret name is removed whole.

    Values that JSON does not know become text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {
            redact(str(key)): MASK
            if _SECRET_KEY.fullmatch(str(key))
            else redact_value(inner, depth + 1)
            for key, inner in islice(value.items(), MAX_ITEMS)
        }
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [redact_value(inner, depth + 1) for inner in islice(value, MAX_ITEMS)]
    return redact(str(value))


def redact_event(event: StatusEvent) -> StatusEvent:
    """Return an event without secrets, such as the signature of an image's URL."""
    return replace(
        event,
        message=redact(event.message),
        job_name=redact(event.job_name),
        image_url=redact(event.image_url),
        region_id=redact(event.region_id),
        model_name=redact(event.model_name),
    )
