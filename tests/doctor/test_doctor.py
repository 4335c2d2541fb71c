"""What the doctor sees, of things that are well and of things that are not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from daskmr.doctor import CheckResult, examine
from daskmr.doctor.software import compare_versions, package_versions
from daskmr.testing.clusters import bare_cluster
from daskmr.testing.servers import saying, serving


def told(findings: list[CheckResult], subject: str) -> list[tuple[str, str]]:
    return [(each.grade, each.message) for each in findings if each.subject == subject]


def doctor(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "daskmr", "doctor", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_what_is_installed_is_told() -> None:
    found = list(examine())
    assert [each.subject for each in found] == [
        "daskmr", "packages", "extras", "GDAL", "PROJ", "scratch", "credentials",
    ]  # fmt: skip
    assert [each.grade for each in found if each.subject in {"daskmr", "GDAL", "PROJ"}] == [
        "ok"
    ] * 3
    assert found[0].message.startswith(
        f"{package_versions()['daskmr']} on Python {package_versions()['python']}"
    )
    assert "service" in told(found, "extras")[0][1].split(", ")


def test_versions_of_other_processes_are_compared() -> None:
    here = package_versions()
    there = {
        "a": {**here, "numpy": "1.0.0"},
        "b": {**here, "numpy": "1.0.0", "daskmr": "9.9.9"},
        "c": {**here, "dask": ""},
    }
    assert {(each.grade, each.subject): each.message for each in compare_versions(there, 4)} == {
        ("warning", "numpy"): f"1.0.0 in 2 of 4 (a), {here['numpy']} here",
        ("problem", "daskmr"): f"9.9.9 in 1 of 4 (b), {here['daskmr']} here",
        ("problem", "dask"): f"none in 1 of 4 (c), {here['dask']} here",
    }
    assert [str(each) for each in compare_versions({"a": here}, 1)] == [
        "ok       versions: the same as here in 1 of 1 processes"
    ]


def test_a_cluster_that_is_well(tmp_path: Path) -> None:
    with serving(saying(200)) as server, bare_cluster(tmp_path, n_workers=2) as address:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
        url = f"{server.url}/invocations"
        found = list(examine(scheduler=address, model=url, store=str(tmp_path / "store")))
    assert told(found, "cluster")[0][1].startswith(f"{address}: 2 workers, 4 threads, ")
    assert told(found, "versions") == [("ok", "the same as here in 3 of 3 processes")]
    assert told(found, "store")[1] == ("ok", "from all 2 workers")
    assert told(found, "model")[1] == ("ok", "from all 2 workers")
    assert not list((tmp_path / "store").rglob("seen"))


@pytest.mark.worker_errors("No module named 'daskmr")
def test_workers_without_daskmr_are_a_problem(tmp_path: Path) -> None:
    preload = tmp_path / "without.py"
    preload.write_text("import sys\nsys.modules['daskmr'] = None\n")
    options = ["--preload", str(preload)]
    with bare_cluster(tmp_path, n_workers=1, options=options) as address:
        code, text = doctor("-s", address, "--json")
    assert code == 1
    wrong = [each for each in json.loads(text) if each["grade"] == "problem"]
    assert {each["what"] for each in wrong} == {"cannot run daskmr"}
    assert all("daskmr" in each["told"] and "Error" in each["told"] for each in wrong)
    assert "scheduler" in " ".join(each["told"] for each in wrong)


def test_what_does_not_answer_is_a_problem_each(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, text = doctor(
        "-m", "http://127.0.0.1:1/invocations", "--store", tmp_path / "file", "-s", "nowhere:x"
    )
    assert code == 1
    wrong = [line for line in text.splitlines() if line.startswith("problem")]
    assert len(wrong) == 3
    assert wrong[0].startswith("problem  cluster: unknown cluster 'nowhere'; known: coiled, ")
    assert wrong[1].startswith(f"problem  store: {tmp_path}/file")
    assert wrong[2].startswith("problem  model: ")
    assert "127.0.0.1:1" in wrong[2]


def test_a_queue_tells_what_waits(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    from daskmr import aws

    for service in ("SQS", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", s3.meta.endpoint_url)
    aws.close()
    sqs = boto3.client("sqs")
    dead = sqs.create_queue(QueueName="refused")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": "5"})
    url = sqs.create_queue(QueueName="asked", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    found = list(examine(queue=url, dead_letters=dead))
    (seen, rash) = told(found, "queue")
    assert seen == ("ok", f"{url}: 1 waiting, 0 held")
    assert rash[0] == "warning"
    assert rash[1].startswith("puts a message aside after 5 deliveries; ")
    assert told(found, "dead letters") == [("ok", f"{dead}: 0 waiting")]
    assert told(found, "credentials")[0][0] == "ok"
    assert told(found, "credentials")[0][1].startswith("arn:aws:")
    lonely = list(examine(queue=dead))
    assert [each.grade for each in lonely if each.subject in {"queue", "dead letters"}] == [
        "ok", "ok",
    ]  # fmt: skip
    missing = list(examine(queue=f"{url}-missing"))
    assert missing[-1].grade == "problem"
    assert "QueueDoesNotExist" in missing[-1].message or "NonExistentQueue" in missing[-1].message


def test_a_store_in_a_bucket_is_tried_and_left_as_it_was(s3: Any) -> None:
    s3.create_bucket(Bucket="jobs")
    found = list(examine(store="s3://jobs/daskmr"))
    assert told(found, "store") == [("ok", "s3://jobs/daskmr: writes are conditional")]
    assert "Contents" not in s3.list_objects_v2(Bucket="jobs")
    missing = list(examine(store="s3://nobody/daskmr"))
    assert told(missing, "store")[0][0] == "problem"
    assert "NoSuchBucket" in told(missing, "store")[0][1]


def test_credentials_that_are_needed_and_missing_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    code, text = doctor("-m", "sagemaker://ships", "--json")
    findings = {each["what"]: each for each in json.loads(text)}
    assert code == 1
    assert findings["credentials"]["grade"] == "problem"
    assert "no AWS credentials were found" in findings["credentials"]["told"]
