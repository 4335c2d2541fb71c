"""What goes to and comes from endpoints: bytes and their media type.

Several tiles may share a call: a multipart body there, a JSON list back (see docs/models.md). The
framing is ours: aiohttp's writer gives the same bytes, but only as a coroutine, after a warning
for each tile above 1 MiB, and in several times the time.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from daskmr.errors import BadResponseError

_HEADER_SIZE = "json-header-size"
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an endpoint to one tile."""

    body: bytes
    """The body of the answer."""
    content_type: str = ""
    """Media type with parameters, as in the answer; empty when missing."""

    @property
    def json_bytes(self) -> int | None:
        """Length of the JSON in front of binary tensors (KServe V2); None for a plain body."""
        return json_bytes(self.content_type)


def json_bytes(content_type: str) -> int | None:
    """Return the parameter ``json-header-size`` of a media type.

    Triton uses it behind SageMaker; plain HTTP has the header ``Inference-Header-Content-Length``.

    Examples
    --------
    >>> json_bytes("application/vnd.sagemaker-triton.binary+json;json-header-size=196")
    196
    >>> json_bytes("application/json") is None
    True
    """
    for parameter in content_type.lower().replace(" ", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name == _HEADER_SIZE and value.isdecimal() and len(value) <= _MOST_DIGITS:
            return int(value)
    return None


def join_tiles(payloads: Sequence[bytes], content_type: str) -> tuple[bytes, str]:
    r"""Return encoded tiles as one ``multipart/mixed`` body (RFC 2046, 5.1) and its media type.

    Examples
    --------
    >>> body, media_type = join_tiles([b"a", b"b"], "image/png")
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


def split_answers(answer: Answer, n: int) -> list[object]:
    """Return the answers to the tiles of one call, in their order.

    Raises
    ------
    BadResponseError
        When the answer is not a JSON list of as many answers as there were tiles.
    """
    try:
        answers = json.loads(answer.body)
    except (ValueError, RecursionError):
        answers = None
    if not isinstance(answers, list) or len(answers) != n:
        content = f"{len(answers)} answers" if isinstance(answers, list) else "no JSON list"
        msg = f"the answer to {n} tiles is {content}"
        raise BadResponseError(msg, reason="BAD_RESPONSE")
    return answers
