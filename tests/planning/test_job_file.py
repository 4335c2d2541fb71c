"""Job files: written with everything resolved, read strictly, run from every door."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import daskmr
from daskmr.cli import cli
from daskmr.core.grid import Size
from daskmr.errors import RequestError
from daskmr.planning.job_file import NAMES, job_file_text, overridden, read_job_file
from daskmr.planning.options import BY_NAME
from daskmr.planning.settings import Settings
from tests.planning.test_plan import area, image

HTTP = "http://127.0.0.1:9/model"


@pytest.fixture
def scene(tmp_path: Path) -> str:
    return str(image(tmp_path / "scene.tif"))


def command(*words: object) -> Any:
    return CliRunner().invoke(cli, list(map(str, words)))


def test_a_saved_plan_is_the_same_plan(scene: str, tmp_path: Path) -> None:
    plan = daskmr.plan(
        scene, HTTP, tile_size=(300, 200), overlap=88, roi=area((200, 300), (700, 300), (700, 800)),
        merge="wbf", merge_options={"score_threshold": 0.2}, prepare={"bands": "1"},
        parameters={"X-A": "1"}, classes=("a", "b"), feature_properties=[{"z": [1]}], deadline_s=9,
    )  # fmt: skip
    path = plan.save(tmp_path / "job.yaml")
    again = daskmr.plan(path)
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []
    assert list(read_job_file(path)) == ["image", "model", *(f.name for f in fields(Settings))]
    assert daskmr.plan(str(path)).settings == again.settings
    for name in BY_NAME:
        ours, theirs = getattr(plan.settings, name), getattr(again.settings, name)
        if name == "roi":
            assert again.area is not None
            assert again.area.equals(plan.area)
        else:
            assert ours == theirs, name
    assert (again.info.url, again.model_address) == (plan.info.url, HTTP)


@given(
    st.builds(
        dict,
        tile_size=st.tuples(st.integers(60, 9000), st.integers(60, 9000)),
        overlap=st.integers(0, 59),
        iou=st.floats(0, 1),
        elevation=st.none() | st.floats(-100, 9000) | st.just("dem.tif"),
        classes=st.lists(st.text(max_size=8), max_size=3),
        parameters=st.dictionaries(st.text("abc", min_size=1), st.text() | st.integers()),
        linger_s=st.floats(0, 60),
    )
)
def test_options_come_back_from_a_file_as_they_were(options: dict[str, Any]) -> None:
    settings = Settings.of(options)
    values = yaml.safe_load(job_file_text("x.tif", "blobs", settings))
    kept = {name: value for name, value in values.items() if name in BY_NAME}
    assert Settings.of({k: v for k, v in kept.items() if v is not None}) == settings


def test_a_job_file_brings_outputs_and_clusters(scene: str, tmp_path: Path) -> None:
    file = tmp_path / "job.yml"
    values = {"image": scene, "model": "centerpoint", "tile_size": 300, "out": f"{tmp_path}/a"}
    file.write_text(yaml.safe_dump({**values, "formats": ["geojson"], "job_id": "j"}))
    result = daskmr.run(file)
    assert result.report.outputs[0] == f"{tmp_path}/a/j.geojson"
    other = daskmr.run(file, out=f"{tmp_path}/b", formats=["fgb"], job_id="k")
    assert other.report.outputs[0] == f"{tmp_path}/b/k.fgb"
    assert len(other.features) == len(result.features) > 1


def test_the_command_line_writes_and_runs_one(scene: str, tmp_path: Path) -> None:
    file, out = tmp_path / "job.yaml", tmp_path / "out"
    words = ["plan", scene, "-m", "centerpoint", "--tile-size", 300, "--job-id", "j"]
    saved = command(*words, "--save", file)
    assert (saved.exit_code, saved.stderr) == (0, f"wrote {file}\n")
    assert read_job_file(file)["tile_size"] == "300x300"
    done = command("run", file, "-o", out, "--overlap", 30, "-f", "geojson", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["job_id"], report["outputs"][0]) == ("j", f"{out}/j.geojson")
    planned = json.loads(command("plan", "--config", file, "--overlap", 30, "--json").stdout)
    assert (planned["overlap"], planned["tiles"]) == ("30x30", report["n_tiles"])
    assert "--overlap" not in file.read_text()


def test_a_secret_is_not_written_and_has_to_be_given_again(scene: str, tmp_path: Path) -> None:
    plan = daskmr.plan(scene, HTTP, parameters={"X-Api-Key": "hush", "X-Plain": "yes"})
    file = plan.save(tmp_path / "job.yaml")
    assert "hush" not in file.read_text()
    with pytest.raises(RequestError, match=r"^parameters\.X-Api-Key: was not kept"):
        daskmr.plan(file)
    assert command("run", file, "-o", tmp_path).exit_code == 4
    arguments = overridden(read_job_file(file), {"parameters": {"X-Api-Key": "hush"}})
    assert arguments["parameters"] == {"X-Api-Key": "hush", "X-Plain": "yes"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image: x\ntile_sise: 3", "unknown name 'tile_sise'; did you mean tile_size?"),
        ("model: x", "image: None is no path or URL"),
        ("- a", "a mapping of names to values is expected, not list"),
        ("", "a mapping of names to values is expected, not NoneType"),
        ("a: [", "is no YAML: while parsing"),
        ("image: !!python/name:os.system x", "is no YAML: could not determine a constructor"),
        ("#" * 2**20 + "\n", "larger than 1,048,576 bytes"),
    ],
)
def test_a_file_that_is_none_is_named_with_its_problem(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    with pytest.raises(RequestError) as caught:
        daskmr.plan(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"job\.yaml: cannot be read: No such file"):
        daskmr.run(tmp_path / "job.yaml")


def test_what_contradicts_a_job_file_or_a_plan_is_named(scene: str, tmp_path: Path) -> None:
    plan = daskmr.plan(scene, "blobs", job_id="a")
    file = plan.save(tmp_path / "job.yaml")
    with pytest.raises(RequestError, match=r"^iou, model: a job file brings"):
        daskmr.plan(file, "blobs", iou=0.3)
    with pytest.raises(RequestError, match=r"^iou: a plan brings"):
        daskmr.run(plan, iou=0.3, job_id="b")
    assert daskmr.plan(plan, job_id="b").settings.job_id == "b"
    assert daskmr.plan(file, job_id="b").settings.job_id == "b"
    with pytest.raises(RequestError, match=r"^job_id: 'b/c'"):
        daskmr.plan(plan, job_id="b/c")
    assert command("run", file, "--config", file, "-o", tmp_path).exit_code == 2


def test_what_no_file_can_name_is_not_saved(scene: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="model: a function"):
        daskmr.plan(scene, lambda _tile: None).save(tmp_path / "job.yaml")
    with pytest.raises(RequestError, match=r"job\.json: the name of a job file ends in"):
        daskmr.plan(scene, "blobs").save(tmp_path / "job.json")
    import xarray as xr

    array = xr.DataArray(np.zeros((1, 9, 9), "uint8"), dims=("band", "y", "x"))
    with pytest.raises(RequestError, match="image: an array of this process cannot be saved"):
        daskmr.plan(array, "blobs", tile_size=9, overlap=0).save(tmp_path / "job.yaml")


def test_every_argument_of_run_may_stand_in_a_file() -> None:
    import inspect

    arguments = set(inspect.signature(daskmr.run).parameters)
    assert arguments - set(NAMES) == {"client", "on_progress", "unknown"}
    assert Size.parse("300x200") == Size(width=300, height=200)
