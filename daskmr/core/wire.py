"""What goes to an endpoint and comes back, as bytes that say what they are."""

from dataclasses import dataclass

_HEADER_SIZE = "json-header-size"
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of an endpoint to one tile."""

    body: bytes
    """What it said."""
    content_type: str = ""
    """Media type with parameters, as it was answered; empty when the endpoint did not say."""

    @property
    def json_bytes(self) -> int | None:
        """Length of the JSON in front of binary tensors (KServe V2); None for a plain body."""
        return json_bytes(self.content_type)


def json_bytes(content_type: str) -> int | None:
    """The parameter ``json-header-size`` of a media type.

    Triton names it so behind SageMaker; plain HTTP says the same in the header
    ``Inference-Header-Content-Length``.

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
