"""Every option is described once, and every door agrees with the description."""

import inspect
import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

import click
import pytest

import daskmr
from daskmr.cli.running import plan_command, run_command
from daskmr.endpoints import PATIENCE_S
from daskmr.errors import RequestError
from daskmr.merge import usual_iou
from daskmr.planning.from_request import calls_from_request
from daskmr.planning.options import BY_NAME, OPTIONS, JobOptions, changed
from daskmr.planning.settings import Settings
from tests.planning.test_plan import image

TYPING = Path(__file__).parents[1] / "typing"


def request(path: str, **more: object) -> daskmr.ImageRequest:
    return daskmr.ImageRequest.from_json({
        "jobId": "a", "imageUrls": [path], "imageProcessorTileSize": 300,
        "imageProcessorTileOverlap": 88, "imageProcessorTileFormat": "GTIFF",
        "imageProcessor": {"name": "http://127.0.0.1:9/x", "type": "HTTP_ENDPOINT"}, **more,
    })  # fmt: skip


@pytest.mark.parametrize("function", [daskmr.plan, daskmr.run])
def test_signatures_have_every_option_with_its_default(function: object) -> None:
    signature = inspect.signature(typing.cast("typing.Any", function))
    written = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for option in OPTIONS:
        default = written[option.name]
        assert (dict(default) if isinstance(option.default, dict) else default) == option.default
    assert set(inspect.signature(daskmr.plan).parameters) - {"image", "model", "unknown"} == set(
        BY_NAME
    )


@pytest.mark.parametrize("function", [daskmr.plan, daskmr.run])
def test_types_of_signatures_are_those_of_the_options(function: typing.Any) -> None:
    wanted = typing.get_type_hints(JobOptions)
    assert set(wanted) == set(BY_NAME)
    written = typing.get_type_hints(function)
    assert {name: written[name] for name in wanted} == wanted


@pytest.mark.parametrize("function", [daskmr.plan, daskmr.run])
def test_help_describes_every_option(function: typing.Any) -> None:
    lines = (inspect.getdoc(function) or "").splitlines()
    names = [line for line in lines if re.fullmatch(r"[a-z_]+(, [a-z_]+)*", line)]
    assert set(BY_NAME) <= {name for line in names for name in line.split(", ")}


def test_settings_are_the_options_with_their_defaults() -> None:
    settings = Settings.of({})
    assert {f.name for f in fields(Settings)} == set(BY_NAME)
    assert (settings.merge, settings.iou) == ("edge_aware", usual_iou("edge_aware"))
    assert settings.patience_s == PATIENCE_S
    resolved = {"tile_size", "overlap", "iou", "job_id"}
    for name in set(BY_NAME) - resolved:
        assert getattr(settings, name) == BY_NAME[name].default, name
    assert (str(settings.tile_size), str(settings.overlap)) == ("1024x1024", "50x50")


@pytest.mark.parametrize("command", [plan_command, run_command])
def test_commands_offer_every_option_of_their_door(command: click.Command) -> None:
    offered = {parameter.name: parameter for parameter in command.params}
    for option in OPTIONS:
        assert option.cli_flag in [*offered[option.name].opts, *offered[option.name].secondary_opts]


def test_fields_of_requests_carry_what_the_table_says() -> None:
    names = {field.alias or name for name, field in daskmr.ImageRequest.model_fields.items()}
    assert {option.request for option in OPTIONS if option.request} <= names
    (call,) = calls_from_request(request("x.tif", outputs=[{"type": "S3", "bucket": "b"}]), None)
    carried = {option.name for option in OPTIONS if option.request}
    assert carried <= set(call)


def test_only_what_was_changed_is_an_option_of_a_call() -> None:
    assert changed(
        {"tile_size": 1024, "overlap": 50, "merge": "nms", "client": 3, "iou": None}
    ) == {"merge": "nms"}
    assert changed({"roi_only": 0, "linger_s": 0.0}) == {"roi_only": 0, "linger_s": 0.0}


def test_a_request_or_its_file_is_planned(tmp_path: Path) -> None:
    path = str(image(tmp_path / "x.tif"))
    asked = request(path)
    made = daskmr.plan(asked)
    assert (made.settings.job_id, str(made.settings.tile_size)) == ("a", "300x300")
    file = tmp_path / "request.json"
    file.write_text(asked.to_json())
    assert daskmr.plan(file).settings == daskmr.plan(str(file)).settings == made.settings


def test_what_contradicts_a_request_is_named(tmp_path: Path) -> None:
    asked = request(str(image(tmp_path / "x.tif")))
    with pytest.raises(RequestError, match=r"^merge, model, tile_size: a request brings"):
        daskmr.plan(asked, "blobs", tile_size=5, merge="nms")
    two = request("x.tif", imageUrls=["x.tif", "y.tif"])
    with pytest.raises(RequestError, match="imageUrls: 2 images"):
        daskmr.plan(two)


def test_a_file_that_is_no_request_is_named_with_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    with pytest.raises(RequestError, match=r"request\.json: cannot be read: No such file"):
        daskmr.plan(file)
    file.write_text('{"jobId": "a"}')
    with pytest.raises(RequestError, match=r"request\.json: imageUrls: is missing"):
        daskmr.plan(file)
    file.write_text("no JSON")
    with pytest.raises(RequestError, match=r"request\.json: "):
        daskmr.plan(file)


@pytest.mark.parametrize("order", ["daskmr, xarray", "xarray, daskmr"])
def test_arrays_have_the_accessor_in_any_order_of_imports(order: str) -> None:
    code = f"import {order}; print(type(xarray.DataArray([1]).mr).__name__, len(xarray.__path__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ModelRunner 1\n"), done.stderr


def test_a_type_checker_accepts_and_refuses_what_it_should() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *map(str, sorted(TYPING.glob("*.py")))],
        capture_output=True, text=True, check=False, cwd=TYPING.parents[1],
    )  # fmt: skip
    found = {
        (Path(line.split(":")[0]).name, int(line.split(":")[1]))
        for line in done.stdout.splitlines()
        if ": error: " in line
    }
    wanted = {
        (path.name, number)
        for path in TYPING.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith("# refused")
    }
    assert found == wanted, done.stdout
