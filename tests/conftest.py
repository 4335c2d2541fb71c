"""Settings for every test."""

import atexit
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import stacks

settings.register_profile(
    "daskmr",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),  # the same examples for every change that is judged
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("daskmr")

_SEPARATOR = "\x1e"
_AT_THE_END = "Failed to communicate with scheduler during heartbeat"
"""A worker logs it when a cluster ends while it beats."""
_SILENT = "failed to heartbeat for"
_LOST = "marked as failed because 4 workers died"
"""What Dask logs of a worker that answers nothing for long, and of the tasks that it had."""
_QUIET = {"handlers": ["stderr"], "propagate": False}


def _log_worker_errors() -> Path:
    """Let Dask also log errors to a file, in this process and in all that inherit its environment.

    Everything else is logged as Dask logs by itself: to stderr, and by pytest's own handlers here.
    """
    folder = Path(tempfile.mkdtemp(prefix="daskmr-worker-errors-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "errors.log"
    config: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "dask": {"format": "%(asctime)s - %(name)s - %(levelname)s - %(message)s"},
            "error": {"format": _SEPARATOR + "%(levelname)s %(name)s[%(process)d]: %(message)s"},
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "dask"},
            "errors": {
                "class": "logging.FileHandler",
                "filename": str(file),
                "delay": True,
                "formatter": "error",
                "level": "WARNING",
            },
        },
        "loggers": {
            "distributed": {"level": "INFO", "handlers": ["stderr", "errors"], "propagate": False},
            "distributed.client": {"level": "WARNING", **_QUIET},
            "distributed.gc": {"level": "WARNING", **_QUIET},
            "bokeh": {"level": "ERROR", **_QUIET},
            "tornado": {"level": "CRITICAL", **_QUIET},
            "tornado.application": {"level": "ERROR", **_QUIET},
        },
    }
    os.environ["DASK_LOGGING"] = repr(config)
    from distributed.config import initialize_logging

    initialize_logging({"logging": config})
    for name in config["loggers"]:
        logger = logging.getLogger(name)
        logger.propagate = True
        for handler in [h for h in logger.handlers if not isinstance(h, logging.FileHandler)]:
            logger.removeHandler(handler)
    return file


_WORKER_ERRORS = _log_worker_errors()


_SLOW_ROOMS = ("e2e", "chaos", "clusters", "docs", "service", "results", "endpoints")
"""Folders whose modules take longest; the last module alone decides when the suite ends."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the modules that start processes begin first, so that none of them is run alone."""
    tests = Path(__file__).parent
    slow = {tests / room for room in _SLOW_ROOMS}
    items.sort(key=lambda item: not slow.intersection(item.path.parents))


@pytest.fixture(autouse=True)
def worker_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which Dask logs an error, in any process, that the test does not announce.

    A task that fails and is run again changes no result; only its log tells. Tests about failing
    tasks and dying workers announce what they cause: ``@pytest.mark.worker_errors("regex", ...)``.
    """
    n_before = _WORKER_ERRORS.stat().st_size if _WORKER_ERRORS.exists() else 0
    yield
    if not _WORKER_ERRORS.exists():
        return
    with _WORKER_ERRORS.open("rb") as file:
        file.seek(n_before)
        records = file.read().decode(errors="replace").split(_SEPARATOR)[1:]
    errors = [text for text in records if text.startswith(("ERROR", "CRITICAL"))]
    marks = request.node.iter_markers("worker_errors")
    expected = [_AT_THE_END, *(regex for mark in marks for regex in mark.args)]
    if any(_SILENT in record for record in records):
        expected.append(_LOST)
    unexpected = [
        error for error in errors if not any(re.search(regex, error) for regex in expected)
    ]
    if unexpected:
        pytest.fail(
            f"{len(unexpected)} errors of Dask that no worker_errors mark of the test announces:\n"
            + "\n".join(error.strip()[:3000] for error in unexpected[:5]),
            pytrace=False,
        )


@pytest.fixture(scope="session")
def imagery() -> Path:
    """Folder of real imagery named by DASKMR_IMAGERY; skips, visibly, without it."""
    folder = os.environ.get("DASKMR_IMAGERY")
    if not folder:
        pytest.skip("DASKMR_IMAGERY names no folder of real imagery")
    return Path(folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two worker processes of two threads on loopback.

    One that answers nothing for a minute is replaced, long before the time of a test is up; its
    stacks are on stderr.
    """
    import dask
    from distributed import LocalCluster

    folder = tmp_path_factory.mktemp("stacks")
    os.environ[stacks.FOLDER] = str(folder)
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "60s"}),
        LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            preload=stacks.__name__,
        ) as made,
        stacks.watching(made, folder),
    ):  # fmt: skip
        yield made


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A client of the cluster that is nobody's default."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server on loopback, which all readers find, with one ``bucket``."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    from daskmr import aws

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    aws.close()
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    aws.close()
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def sagemaker(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """SageMaker on loopback: a control plane, and a runtime whose ``model`` is the built-in server.

    Yields the runtime (`daskmr.testing.gateway.Gateway`).
    """
    import boto3

    from daskmr import aws
    from daskmr.models.server import running
    from daskmr.testing.gateway import sagemaker_runtime

    url = s3.meta.endpoint_url
    with running() as server:
        models = {"model": server, "other": server}
        with sagemaker_runtime(control_plane=url, models=models, s3_endpoint=url) as gateway:
            for service in ("SAGEMAKER", "STS"):
                monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", gateway.url)
            client = boto3.client("sagemaker")
            for endpoint in client.list_endpoints()["Endpoints"]:
                client.delete_endpoint(EndpointName=endpoint["EndpointName"])
            for config in client.list_endpoint_configs()["EndpointConfigs"]:
                client.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
            client.close()
            aws.close()
            yield gateway
            aws.close()


@pytest.fixture
def bring_plugins(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Mapping[str, str]], Path]:
    """Install a package with entry points by group, without ``daskmr.``; return its folder."""

    def bring(groups: Mapping[str, str]) -> Path:
        folder = tmp_path_factory.mktemp("site")
        info = folder / "plugins-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
        lines = [f"[daskmr.{group}]\n{line}\n" for group, line in groups.items()]
        (info / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return bring
