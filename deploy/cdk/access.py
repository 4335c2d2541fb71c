"""What a task may do: what the listener does, on what it was told of, and nothing else."""

from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam

if TYPE_CHECKING:
    from service import ServiceStack


def allow(stack: "ServiceStack", role: iam.IRole) -> None:
    """Let a role do what the service needs."""
    said = stack.settings
    _grant(role, [stack.queue.queue_arn],
           "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility",
           "sqs:GetQueueAttributes")  # fmt: skip
    _grant(role, [stack.dead.queue_arn], "sqs:SendMessage", "sqs:GetQueueAttributes")
    _grant(role, [stack.topic.topic_arn], "sns:Publish")
    _grant(role, [stack.stream.stream_arn], "kinesis:PutRecords", "kinesis:DescribeStreamSummary")
    bucket = stack.bucket.bucket_arn
    _grant(role, [f"{bucket}/*"],
           "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
           "s3:AbortMultipartUpload")  # fmt: skip
    _grant(role, [bucket], "s3:ListBucket")
    _grant(role, [_objects(stack, each) for each in said.allow_images], "s3:GetObject")
    _grant(role, [_objects(stack, each) for each in said.allow_outputs],
           "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload")  # fmt: skip
    endpoints = [
        _sagemaker(stack, f"endpoint/{each}") for each in said.allow_endpoints if "://" not in each
    ]
    _grant(role, endpoints,
           "sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync",
           "sagemaker:DescribeEndpoint", "sagemaker:ListTags")  # fmt: skip
    related = [
        _sagemaker(stack, f"{kind}/*") for kind in ("endpoint-config", "inference-component")
    ]
    _grant(role, related if endpoints else [],
           "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeInferenceComponent")  # fmt: skip
    _grant(role, [each.partition("=")[0] for each in said.allow_roles], "sts:AssumeRole")


def _grant(role: iam.IRole, resources: list[str], *actions: str) -> None:
    if resources:
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=list(actions), resources=resources)
        )


def _objects(stack: "ServiceStack", place: str) -> str:
    """``BUCKET`` or ``BUCKET/PREFIX`` as the ARN of what lies there."""
    bucket, _, prefix = place.partition("/")
    path = "/".join(part for part in (bucket, prefix.strip("/"), "*") if part)
    return f"arn:{stack.partition}:s3:::{path}"


def _sagemaker(stack: "ServiceStack", name: str) -> str:
    return stack.format_arn(service="sagemaker", resource=name)
