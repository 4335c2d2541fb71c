"""Amazon Resource Names of buckets and streams, which may stand wherever their plain names may."""

import re
from typing import NamedTuple

_BUCKET = re.compile(r"arn:[a-z0-9-]+:s3:::([^/\s]+)(?:/(\S*))?")
_STREAM = re.compile(r"arn:[a-z0-9-]+:kinesis:([a-z0-9-]+):[0-9]*:stream/([A-Za-z0-9_.-]+)")


class StreamName(NamedTuple):
    """Name of a Kinesis stream, and its region."""

    name: str
    """Name of the stream."""
    region: str | None
    """Region of its ARN; None without one."""


def s3_url(text: str) -> str:
    """Return the ``s3://`` URL of a bucket's or object's ARN; any other text as it is.

    Examples
    --------
    >>> s3_url("arn:aws:s3:::images/a/b.tif"), s3_url("arn:aws-us-gov:s3:::images")
    ('s3://images/a/b.tif', 's3://images')
    >>> s3_url("scene.tif")
    'scene.tif'

    Raises
    ------
    ValueError
        When the ARN is none of S3.
    """
    if not text.startswith("arn:"):
        return text
    match = _BUCKET.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not arn:aws:s3:::bucket or arn:aws:s3:::bucket/key"
        raise ValueError(msg)
    bucket, key = match.groups()
    return f"s3://{bucket}/{key}" if key else f"s3://{bucket}"


def stream_name(text: str) -> StreamName:
    """Return the name and region of a stream from its ARN; any other text as the name.

    Examples
    --------
    >>> stream_name("arn:aws:kinesis:us-west-2:123456789012:stream/ships")
    StreamName(name='ships', region='us-west-2')

    Raises
    ------
    ValueError
        When the ARN is none of a Kinesis stream.
    """
    if not text.startswith("arn:"):
        return StreamName(text, None)
    match = _STREAM.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"
        raise ValueError(msg)
    return StreamName(match[2], match[1])
