"""The template that is synthesised: lint, least privilege, its creation in a stand-in of AWS."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.deploy.conftest import parsed

pytestmark = pytest.mark.deploy

CDK = Path(__file__).parents[2] / "deploy" / "cdk"
CONTEXT = {
    "allow-images": ["imagery/scenes"],
    "allow-outputs": ["elsewhere"],
    "allow-endpoints": ["ships*"],
    "allow-roles": ["arn:aws:iam::123456789012:role/reader=us"],
}
ACCEPTED = {"CKV_AWS_18", "CKV_AWS_21", "CKV_AWS_26", "CKV_AWS_27", "CKV_AWS_158"}
"""Findings of checkov that deploy/cdk/README.md gives reasons for."""


def synthesised(folder: Path, **context: Any) -> Path:
    """The template's file."""
    told = json.loads((CDK / "cdk.json").read_text())["context"] | CONTEXT | context
    environment = os.environ | {"CDK_OUTDIR": str(folder), "CDK_CONTEXT_JSON": json.dumps(told)}
    environment["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "1"
    done = subprocess.run(
        [sys.executable, CDK / "app.py"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ValueError(done.stderr)
    return folder / "daskmr.template.json"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("aws_cdk")
    if not shutil.which("node"):
        pytest.skip("no node, in which the CDK runs")
    return synthesised(tmp_path_factory.mktemp("cdk"))


@pytest.fixture(scope="module")
def template(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def of_type(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Properties of the resources of a type."""
    every = template["Resources"].values()
    return [each.get("Properties", {}) for each in every if each["Type"] == kind]


def flat(value: Any) -> str:
    """What CloudFormation makes of a value, with names in place of what only it knows."""
    if isinstance(value, dict):
        ((name, said),) = value.items()
        if name == "Fn::Join":
            return str(said[0]).join(map(flat, said[1]))
        return f"<{said if isinstance(said, str) else '.'.join(said)}>"
    return str(value)


def test_cfn_lint_finds_nothing(file: Path) -> None:
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run(
        [program, "-t", file], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_checkov_finds_what_was_decided(file: Path) -> None:
    program = os.environ.get("DASKMR_CHECKOV")
    if not program:
        pytest.skip("DASKMR_CHECKOV names no checkov")
    done = subprocess.run(
        [program, "--file", file.name, "--framework", "cloudformation", "--skip-download",
         "--compact", "--quiet", "--output", "json"],
        cwd=file.parent, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["summary"]["passed"] > 50
    assert {each["check_id"] for each in found["results"]["failed_checks"]} == ACCEPTED


def test_the_listener_understands_its_options(template: dict[str, Any]) -> None:
    (task,) = of_type(template, "AWS::ECS::TaskDefinition")
    (container,) = task["ContainerDefinitions"]
    told = parsed([flat(word) for word in container["Command"]])
    assert str(told["images"]).startswith("('s3://imagery/scenes', 's3://<Results")
    assert told["endpoints"] == ("ships*",)
    assert told["roles"] == ("arn:aws:iam::123456789012:role/reader=us",)
    assert told["emf"] is True
    assert str(told["store"]).endswith("/jobs")
    assert container["ReadonlyRootFilesystem"] is True
    assert container["StopTimeout"] == 120  # a listener ends within 110


def test_tasks_may_do_little(template: dict[str, Any]) -> None:
    statements = [
        statement
        for policy in of_type(template, "AWS::IAM::Policy")
        if "Role" in flat(policy["Roles"][0]) and "Flow" not in flat(policy["Roles"][0])
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    allowed: dict[str, set[str]] = {}
    for statement in statements:
        resources = statement["Resource"]
        every = resources if isinstance(resources, list) else [resources]
        actions = statement["Action"]
        for action in actions if isinstance(actions, list) else [actions]:
            allowed.setdefault(action, set()).update(map(flat, every))
    assert not [action for action in allowed if "*" in action]
    assert allowed["sts:AssumeRole"] == {"arn:aws:iam::123456789012:role/reader"}
    assert allowed["sagemaker:InvokeEndpoint"] == {
        "arn:<AWS::Partition>:sagemaker:<AWS::Region>:<AWS::AccountId>:endpoint/ships*"
    }
    assert "arn:<AWS::Partition>:s3:::imagery/scenes/*" in allowed["s3:GetObject"]
    assert "arn:<AWS::Partition>:s3:::imagery/scenes/*" not in allowed["s3:PutObject"]
    everything = {action for action, where in allowed.items() if "*" in where}
    assert everything <= {"ecr:GetAuthorizationToken"}


def test_queues_bury_only_what_comes_back_for_ever(template: dict[str, Any]) -> None:
    queues = of_type(template, "AWS::SQS::Queue")
    (policy,) = [queue["RedrivePolicy"] for queue in queues if "RedrivePolicy" in queue]
    assert policy["maxReceiveCount"] == 50
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues)


def test_alarms_wake_somebody(template: dict[str, Any]) -> None:
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    ours = [alarm for alarm in alarms if "Alarms" in "".join(map(flat, alarm["AlarmActions"]))]
    assert len(ours) == 5
    assert all(alarm["AlarmDescription"] for alarm in ours)
    (dashboard,) = of_type(template, "AWS::CloudWatch::Dashboard")
    body, names = dashboard["DashboardBody"]["Fn::Sub"]
    assert json.loads(body)["widgets"]
    assert list(names) == ["LogGroup"]


def test_what_is_wrong_in_the_context_is_named(tmp_path: Path, file: Path) -> None:
    assert file.exists()
    with pytest.raises(ValueError, match=r"allow-images: 'imagery' is not a list in JSON"):
        synthesised(tmp_path, **{"allow-images": "imagery"})


@pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")  # alarms, by the stand-in
def test_it_is_created(template: dict[str, Any]) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    where = {
        "endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1",
        "aws_access_key_id": "test", "aws_secret_access_key": "test",
    }  # fmt: skip
    try:
        ssm, formation = boto3.client("ssm", **where), boto3.client("cloudformation", **where)
        ssm.put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="21", Type="String")
        formation.create_stack(
            StackName="daskmr",
            TemplateBody=json.dumps(template),
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
        (stack,) = formation.describe_stacks(StackName="daskmr")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        told = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        sqs = boto3.client("sqs", **where)
        found = sqs.get_queue_attributes(QueueUrl=told["QueueUrl"], AttributeNames=["All"])
        assert json.loads(found["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 50
        made = formation.list_stack_resources(StackName="daskmr")["StackResourceSummaries"]
        assert "AWS::ECS::Service" in {each["ResourceType"] for each in made}
    finally:
        server.stop()
