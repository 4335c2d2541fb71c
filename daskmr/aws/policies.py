"""Session policies: a role that is assumed for one thing can do that one thing only.

A policy of a session never widens what its role may do; it takes away the rest.
"""

import json
from collections.abc import Sequence


def _policy(actions: Sequence[str], resources: Sequence[str]) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    said = {"Version": "2012-10-17", "Statement": [statement]}
    return json.dumps(said, separators=(",", ":"))


def reading(role: str, bucket: str, key: str) -> str:
    """To read one object.

    Examples
    --------
    >>> json.loads(reading("arn:aws-us-gov:iam::1:role/r", "b", "k"))["Statement"][0]["Resource"]
    ['arn:aws-us-gov:s3:::b/k']
    """
    return _policy(["s3:GetObject"], [f"arn:{_partition(role)}:s3:::{bucket}/{_plain(key)}"])


def writing(role: str, bucket: str, prefix: str) -> str:
    """To write below a prefix of a bucket, and to see what was written."""
    actions = ["s3:PutObject", "s3:PutObjectAcl", "s3:GetObject", "s3:AbortMultipartUpload"]
    path = "/".join(part for part in (bucket, _plain(prefix.strip("/")), "*") if part)
    return _policy(actions, [f"arn:{_partition(role)}:s3:::{path}"])


def sending(role: str, stream: str) -> str:
    """To send records to one stream."""
    resource = f"arn:{_partition(role)}:kinesis:*:*:stream/{_plain(stream)}"
    return _policy(["kinesis:PutRecords", "kinesis:DescribeStreamSummary"], [resource])


def invoking(role: str, endpoint: str) -> str:
    """To call one SageMaker endpoint, and to ask what it is."""
    actions = ["InvokeEndpoint", "DescribeEndpoint", "DescribeEndpointConfig", "ListTags",
               "DescribeInferenceComponent"]  # fmt: skip
    start = f"arn:{_partition(role)}:sagemaker:*:*"
    resources = [f"{start}:endpoint/{_plain(endpoint)}", f"{start}:endpoint-config/*",
                 f"{start}:inference-component/*"]  # fmt: skip
    return _policy([f"sagemaker:{action}" for action in actions], resources)


def _partition(role: str) -> str:
    return role.split(":")[1] if ":" in role else "aws"


def _plain(name: str) -> str:
    """A name that means itself: ``*`` and ``?`` would stand for others, ``${`` for a variable."""
    return name.replace("$", "${$}").replace("*", "${*}").replace("?", "${?}")
