"""What may be secret in a text is taken out, before it is said, kept or logged."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from daskmr.core.events import StatusEvent

MASK = "[redacted]"
"""What stands where a secret was."""
MAX_CHARS = 64 * 2**10
"""Most characters of a text that are looked through; the rest is left out."""
MAX_ITEMS = 200
"""Most members of one object or list."""
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
"""Between a name and its value, as JSON, Python, headers and settings write them."""
_QUOTED = r"(?P<quote>[\"'])(?:\\.|(?!(?P=quote)).)*"
_PASSWORD = r"[^\s\"'<>]{0,512}"  # noqa: S105 - what one looks like
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
    # Key ids and session tokens, by the way they begin.
    re.compile(r"()(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"()(?:FwoG|FQoG|IQoJ|AQoD)[A-Za-z0-9+/=_%-]{20,}"),
)
_HINT = re.compile(
    r"(?i)://|-----BEGIN|authorization|cookie|bearer|basic|hmac|secret|token|passw|passphrase|key"
    r"|sig|credential|AKIA|ASIA|FwoG|FQoG|IQoJ|AQoD"
)
"""What stands in every text that a rule may change; most texts have nothing of it."""


def redacted(text: str) -> str:
    """A text without secrets: AWS keys and tokens, signatures, headers, passwords.

    Examples
    --------
    >>> redacted("GET https://me:pass@host/x?X-Amz-Signature=0a1b&n=1")
    'GET https://[redacted]@host/x?X-Amz-Signature=[redacted]&n=1'
    """
    found = text[:MAX_CHARS]
    for rule in _RULES if _HINT.search(found) else ():
        found = rule.sub(rf"\g<1>{MASK}", found)
    # What stood across the cut was not seen whole.
    return found if len(text) <= MAX_CHARS else found[:-_MARGIN]


def redacted_value(value: Any, depth: int = 0) -> Any:
    """A plain value without secrets; what a secret name leads to is taken out whole.

    Values that JSON does not know become text.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redacted(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {
            redacted(str(key)): MASK
            if _SECRET_KEY.fullmatch(str(key))
            else redacted_value(inner, depth + 1)
            for key, inner in islice(value.items(), MAX_ITEMS)
        }
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [redacted_value(inner, depth + 1) for inner in islice(value, MAX_ITEMS)]
    return redacted(str(value))


def redacted_event(event: StatusEvent) -> StatusEvent:
    """The event without secrets, such as the signature of the URL of an image."""
    return replace(
        event,
        message=redacted(event.message),
        image_url=redacted(event.image_url),
        region_id=redacted(event.region_id),
        model_name=redacted(event.model_name),
    )
