"""Several tiles in one call: a multipart body there, a JSON list back (see docs/models.md)."""

import hashlib
import json
from collections.abc import Sequence

from daskmr.core.wire import Answer
from daskmr.errors import BadResponseError


def joined(payloads: Sequence[bytes], content_type: str) -> tuple[bytes, str]:
    r"""Encoded tiles as one ``multipart/mixed`` body (RFC 2046, section 5.1) and its media type.

    Examples
    --------
    >>> body, media_type = joined([b"a", b"b"], "image/png")
    >>> media_type.startswith("multipart/mixed; boundary=")
    True
    >>> body.count(b"Content-Type: image/png\r\n")
    2
    """
    digest = hashlib.blake2b(digest_size=16)
    for payload in payloads:
        digest.update(payload)
    boundary = f"daskmr-{digest.hexdigest()}"
    parts = []
    for payload in payloads:
        head = f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Length: {len(payload)}"
        parts += [head.encode("ascii"), b"\r\n\r\n", payload, b"\r\n"]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode("ascii")])
    return body, f"multipart/mixed; boundary={boundary}"


def split(answer: Answer, n: int) -> list[object]:
    """The answers to the tiles of one call, in their order.

    Raises
    ------
    BadResponseError
        When the answer is not a JSON list of as many answers as there were tiles.
    """
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) != n:
        said = f"{len(found)} answers" if isinstance(found, list) else "no JSON list"
        msg = f"the answer to {n} tiles is {said}"
        raise BadResponseError(msg, reason="BAD_RESPONSE")
    return found
