"""The stack: a queue and what listens to it, where results go, and who is told."""

from typing import Any

import aws_cdk as cdk
from access import allow
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct
from settings import Settings
from watch import watch

HEALTH_PORT = 8080
RECEIVES = 50
"""A backstop only: the listener itself decides what is refused, and holds what it works on."""
SCRATCH_GIB = 60


class ServiceStack(cdk.Stack):
    """Everything that one listener service needs."""

    def __init__(self, scope: Construct, name: str, settings: Settings, **more: Any) -> None:
        super().__init__(scope, name, **more)
        self.settings = settings
        self.dead = self._queue("Refused", retention_days=14)
        self.queue = self._queue(
            "Requests",
            retention_days=14,
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead, max_receive_count=RECEIVES),
        )
        self.bucket = self._bucket()
        self.stream = kinesis.Stream(
            self, "Features",
            stream_mode=kinesis.StreamMode.ON_DEMAND,
            encryption=kinesis.StreamEncryption.MANAGED,
            retention_period=cdk.Duration.days(7),
        )  # fmt: skip
        self.topic = sns.Topic(self, "Status", enforce_ssl=True)
        self.alarms = sns.Topic(self, "Alarms", enforce_ssl=True)
        self.log_group = logs.LogGroup(
            self, "Log",
            retention=logs.RetentionDays.THREE_MONTHS,
            removal_policy=cdk.RemovalPolicy.RETAIN,
        )  # fmt: skip
        self.service = self._service(self._task())
        self._scale()
        watch(self)
        for label, value in {
            "QueueUrl": self.queue.queue_url,
            "RefusedQueueUrl": self.dead.queue_url,
            "BucketName": self.bucket.bucket_name,
            "StreamName": self.stream.stream_name,
            "StatusTopicArn": self.topic.topic_arn,
            "AlarmTopicArn": self.alarms.topic_arn,
        }.items():
            cdk.CfnOutput(self, label, value=value)

    def _queue(self, name: str, *, retention_days: int, **more: Any) -> sqs.Queue:
        return sqs.Queue(
            self, name,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(retention_days),
            visibility_timeout=cdk.Duration.minutes(5),
            **more,
        )  # fmt: skip

    def _bucket(self) -> s3.Bucket:
        return s3.Bucket(
            self, "Results",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=cdk.RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(
                    prefix="jobs/",
                    expiration=cdk.Duration.days(self.settings.retention_days),
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(2),
                )
            ],
        )  # fmt: skip

    def _task(self) -> ecs.FargateTaskDefinition:
        task = ecs.FargateTaskDefinition(
            self, "Task",
            cpu=self.settings.cpu,
            memory_limit_mib=self.settings.memory,
            ephemeral_storage_gib=SCRATCH_GIB,
            task_role=iam.Role(self, "Role", assumed_by=_tasks_of(self)),
        )  # fmt: skip
        task.add_volume(name="scratch")
        container = task.add_container(
            "listener",
            image=ecs.ContainerImage.from_registry(self.settings.image),
            command=self.command(),
            environment={"AWS_STS_REGIONAL_ENDPOINTS": "regional"},
            logging=ecs.LogDrivers.aws_logs(stream_prefix="listener", log_group=self.log_group),
            readonly_root_filesystem=True,
            stop_timeout=cdk.Duration.seconds(120),
            linux_parameters=ecs.LinuxParameters(self, "Linux", init_process_enabled=True),
        )
        container.add_mount_points(
            ecs.MountPoint(container_path="/tmp", source_volume="scratch", read_only=False)  # noqa: S108 - in the container
        )
        allow(self, task.task_role)
        return task

    def command(self) -> list[str]:
        """Return what a task runs, after the image's entry point."""
        said = self.settings
        bucket = self.bucket.bucket_name
        images = [f"s3://{each}" for each in (*said.allow_images, bucket)]
        outputs = [f"s3://{each}" for each in (*said.allow_outputs, bucket)]
        named = {
            "--allow-image": images,
            "--allow-output": [*outputs, f"kinesis:{self.stream.stream_name}"],
            "--allow-endpoint": said.allow_endpoints,
            "--allow-role": said.allow_roles,
            "--scheduler": [said.scheduler] if said.scheduler else [],
        }
        repeated = [
            word for flag, values in named.items() for each in values for word in (flag, each)
        ]
        return [
            "listen", "--queue", self.queue.queue_url, "--dlq", self.dead.queue_url,
            "--store", f"s3://{bucket}/jobs", "--status-topic", self.topic.topic_arn,
            "--health", f"0.0.0.0:{HEALTH_PORT}", "--emf", *repeated,
        ]  # fmt: skip

    def _service(self, task: ecs.FargateTaskDefinition) -> ecs.FargateService:
        vpc = ec2.Vpc(
            self, "Net",
            max_azs=2,
            nat_gateways=self.settings.nat,
            restrict_default_security_group=False,
            subnet_configuration=self._subnets(),
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
        )  # fmt: skip
        vpc.add_flow_log("Flow")
        cluster = ecs.Cluster(
            self, "Cluster", vpc=vpc, container_insights_v2=ecs.ContainerInsights.ENABLED
        )
        group = ec2.SecurityGroup(
            self, "Nothing comes in", vpc=vpc, description="Calls go out, nothing comes in"
        )
        return ecs.FargateService(
            self, "Listener",
            cluster=cluster,
            task_definition=task,
            desired_count=1,
            min_healthy_percent=100,
            security_groups=[group],
            assign_public_ip=not self.settings.nat,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
        )  # fmt: skip

    def _subnets(self) -> list[ec2.SubnetConfiguration]:
        kinds = [ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC)]
        if self.settings.nat:
            inner = ec2.SubnetType.PRIVATE_WITH_EGRESS
            kinds.append(ec2.SubnetConfiguration(name="private", subnet_type=inner))
        return kinds

    def _scale(self) -> None:
        """More tasks while messages wait; one fewer at a time when none does."""
        from aws_cdk import aws_applicationautoscaling as scaling

        count = self.service.auto_scale_task_count(min_capacity=1, max_capacity=self.settings.most)
        count.scale_on_metric(
            "Waiting",
            metric=self.queue.metric_approximate_number_of_messages_visible(
                period=cdk.Duration.minutes(1)
            ),
            scaling_steps=[
                scaling.ScalingInterval(upper=0, change=-1),
                scaling.ScalingInterval(lower=5, change=1),
                scaling.ScalingInterval(lower=20, change=3),
                scaling.ScalingInterval(lower=100, change=5),
            ],
            adjustment_type=scaling.AdjustmentType.CHANGE_IN_CAPACITY,
            cooldown=cdk.Duration.minutes(5),
            evaluation_periods=2,
        )


def _tasks_of(stack: cdk.Stack) -> iam.IPrincipal:
    """Tasks of this account alone."""
    return iam.ServicePrincipal(
        "ecs-tasks.amazonaws.com",
        conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
    )
