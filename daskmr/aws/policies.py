"""Write session policies, which limit an assumed role to one task.

A session policy can only restrict the permissions of its role.
"""

import json
from collections.abc import Sequence


def _policy(actions: Sequence[str], resources: Sequence[str]) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return json.dumps(document, separators=(",", ":"))


def reading(role: str, bucket: str, key: str) -> str:
    """Return the policy to read one object.

    Examples
    --------
    >>> json.loads(reading("arn:aws-us-gov:iam::1:role/r", "b", "k"))["Statement"][0]["Resource"]
    ['arn:aws-us-gov:s3:::b/k']
    """
    return _policy(["s3:GetObject"], [f"arn:{_partition(role)}:s3:::{bucket}/{_escape(key)}"])


def writing(role: str, bucket: str, prefix: str) -> str:
    """Return the policy to write objects below a prefix of a bucket, and to read them."""
    actions = ["s3:PutObject", "s3:PutObjectAcl", "s3:GetObject", "s3:AbortMultipartUpload"]
    path = "/".join(part for part in (bucket, _escape(prefix.strip("/")), "*") if part)
    return _policy(actions, [f"arn:{_partition(role)}:s3:::{path}"])


def sending(role: str, stream: str) -> str:
    """Return the policy to send records to one stream."""
    resource = f"arn:{_partition(role)}:kinesis:*:*:stream/{_escape(stream)}"
    return _policy(["kinesis:PutRecords", "kinesis:DescribeStreamSummary"], [resource])


def invoking(role: str, endpoint: str) -> str:
    """Return the policy to invoke and describe one SageMaker endpoint."""
    actions = ["InvokeEndpoint", "DescribeEndpoint", "DescribeEndpointConfig", "ListTags",
               "DescribeInferenceComponent"]  # fmt: skip
    start = f"arn:{_partition(role)}:sagemaker:*:*"
    resources = [f"{start}:endpoint/{_escape(endpoint)}", f"{start}:endpoint-config/*",
                 f"{start}:inference-component/*"]  # fmt: skip
    return _policy([f"sagemaker:{action}" for action in actions], resources)


def _partition(role: str) -> str:
    return role.split(":")[1] if ":" in role else "aws"


def _escape(name: str) -> str:
    """Return a name with its wildcards ``*`` and ``?`` and variables ``${`` escaped."""
    return name.replace("$", "${$}").replace("*", "${*}").replace("?", "${?}")
