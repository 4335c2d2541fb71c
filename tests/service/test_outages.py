"""What is away comes back, and the service goes on; how it is, it tells."""

import json
from typing import Any

import httpx
import pytest
from distributed import LocalCluster
from moto.server import ThreadedMotoServer

from daskmr.testing.numbered import numbered
from daskmr.testing.servers import serving
from tests.service.conftest import World, free_port, stop, until

pytestmark = pytest.mark.services


def asked(port: int) -> dict[str, Any]:
    """What the service says of itself; empty before it says anything."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/healthz")
    except httpx.HTTPError:
        return {}
    return {"code": answer.status_code, **answer.json()}


def check_metrics(log: str, metrics: str, model: str) -> None:
    """One image was counted, for Prometheus and for CloudWatch."""
    labels = f'input_format="TIFF",model_name="{model}",operation="ImageProcessing"'
    assert f"daskmr_invocations_total{{{labels}}} 1.0" in metrics.splitlines()
    told = [json.loads(line) for line in log.splitlines() if line.startswith('{"_aws"')]
    images = [said for said in told if said["Operation"] == "ImageProcessing"]
    assert [(said["Invocations"], said["InputFormat"]) for said in images] == [(1.0, "TIFF")]
    spaces = {said["_aws"]["CloudWatchMetrics"][0]["Namespace"] for said in told}
    assert spaces == {"OSML/ModelRunner"}


def test_a_service_waits_for_its_queue_and_its_cluster_and_tells_how_it_is(
    moto_world: World,
) -> None:
    world = moto_world
    health, scheduler = free_port(), free_port()
    nobody = f"http://127.0.0.1:{free_port()}"
    process = world.listen(
        "--health", f"127.0.0.1:{health}", "-s", f"tcp://127.0.0.1:{scheduler}", "--emf",
        "--visibility", "6", AWS_ENDPOINT_URL_SQS=nobody, AWS_MAX_ATTEMPTS="1",
    )  # fmt: skip

    def state() -> dict[str, Any]:
        return asked(health)

    until(state)
    assert {**state(), "unsaidEvents": 0} == {
        "code": 503, "status": "degraded", "queue": "silent", "secondsSinceQueue": None,
        "cluster": "not connected", "requests": 0, "running": 0, "waiting": 0, "unsaidEvents": 0,
    }  # fmt: skip
    host, _, port = nobody.removeprefix("http://").partition(":")
    late = ThreadedMotoServer(ip_address=host, port=int(port), verbose=False)
    late.start()  # the same queues: both servers are of this process
    try:
        world.send(world.request("patient"))
        until(lambda: state()["requests"] == 1)
        assert state()["code"] == 200
        with LocalCluster(
            n_workers=1, threads_per_worker=4, scheduler_port=scheduler, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ):  # fmt: skip
            until(lambda: world.is_left(world.queue) == 0 and state()["requests"] == 0, 90)
            assert state()["cluster"] == "connected"
            metrics = httpx.get(f"http://127.0.0.1:{health}/metrics").text
            assert stop(process) == 0
    finally:
        late.stop()
    assert world.labels("patient") == list(range(16))
    check_metrics(world.log(0), metrics, world.model.url)


def test_a_message_that_is_held_too_long_is_given_up_and_its_request_goes_on(
    world: World,
) -> None:
    world.send(world.request("long"))
    first = world.listen("--visibility", "3", "--hand-over", "0")
    until(lambda: world.is_left(world.queue) == 0)  # before its request has ended
    first.kill()
    first.wait()
    assert world.is_left(world.dead) == 0
    second = world.listen("--visibility", "3")
    until(lambda: world.has_ended("long"), 90)
    assert stop(second) == 0
    assert world.labels("long") == list(range(16))


def test_a_job_that_outlasts_its_message_stays_where_it_runs(world: World) -> None:  # K15
    with serving(numbered(2.0)) as slow:
        request = world.request("slow", imageProcessor={"name": slow.url, "type": "HTTP_ENDPOINT"})
        world.send(request)
        host = slow.url.removeprefix("http://").partition("/")[0]
        process = world.listen("--visibility", "3", "--allow-model", host)
        until(lambda: world.has_ended("slow"), 90)
        assert stop(process) == 0
        assert len(slow.requests) == 16  # two rounds of ten calls, longer than the message is ours
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0
    assert world.labels("slow") == list(range(16))


def test_what_a_topic_did_not_hear_it_hears_from_the_next_listener(world: World) -> None:
    world.send(world.request("quiet"), world.request("other"))
    world.run_once(AWS_ENDPOINT_URL_SNS=f"http://127.0.0.1:{free_port()}", AWS_MAX_ATTEMPTS="1")
    assert world.labels("quiet") == world.labels("other") == list(range(16))
    assert world.is_left(world.queue) == 0
    assert world.said() == []
    world.run_once()
    said = world.said()
    for job in ("quiet", "other"):
        statuses = [event["status"] for event in said if event["job_id"] == job]
        assert [statuses[0], statuses[-1]] == ["STARTED", "SUCCESS"]
    world.run_once()  # and is not told again
    assert world.said() == []
