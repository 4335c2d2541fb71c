"""Settings of a site: defaults, types, what is misspelled, and the files made of them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

import daskmr
from daskmr import configuration as module
from daskmr.configuration import KEYS, Configuration, configuration, key, unknown_keys
from daskmr.errors import RequestError

FOLDER = Path(module.__file__).parent
NOT_A_SETTING = "an option of jobs, not a setting; use --tile-size or DASKMR_RUN_TILE_SIZE"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    from daskmr.testing.scene import SyntheticScene

    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    SyntheticScene(size=600).write(path)
    return str(path)


def test_the_files_in_the_package_are_made_of_the_class() -> None:
    assert (FOLDER / "daskmr.yaml").read_text(encoding="utf-8") == module.defaults_yaml()
    assert (FOLDER / "daskmr-schema.yaml").read_text(encoding="utf-8") == module.schema_yaml()


def test_the_defaults_file_gives_the_defaults() -> None:
    values = yaml.safe_load(module.defaults_yaml())["daskmr"]
    assert tuple(values) == KEYS
    assert Configuration.model_validate(values) == Configuration()


@pytest.mark.parametrize("text", ["import dask, daskmr", "import daskmr, dask"])
def test_the_defaults_are_in_dasks_configuration_whichever_is_imported_first(text: str) -> None:
    code = f"{text}; print(dask.config.get('daskmr.max-workers'), dask.config.get('daskmr.auth'))"
    environment = {"DASK_DASKMR__MAX_WORKERS": "3", "PATH": "/usr/bin"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == ["3", "{}"]


def test_a_setting_is_read_in_either_spelling_and_as_its_type() -> None:
    with dask.config.set({"daskmr.max_workers": "3", "daskmr.keep-alive": 5}):
        assert configuration().max_workers == 3
        assert configuration().keep_alive == 5.0
    assert configuration().max_workers == 8


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max-workers", "many", r"^daskmr\.max-workers: 'many': Input should be a valid integer"),
        ("keep-alive", 0, r"^daskmr\.keep-alive: 0: Input should be greater than 0"),
        ("status", ["sns"], r"^daskmr\.status: \['sns'\]: Input should be a valid dictionary"),
        ("auth", "my-secret", r"^daskmr\.auth: Input should be a valid dictionary"),
        ("auth", {"https://a": "my-secret"}, r"^daskmr\.auth\.https://a: Input should be a valid"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_no_secret_is_shown(
    scene: str, name: str, value: Any, message: str
) -> None:
    with (
        dask.config.set({f"daskmr.{name}": value}),
        pytest.raises(RequestError, match=message) as caught,
    ):
        configuration()
    assert "my-secret" not in str(caught.value)


def test_an_unknown_key_is_told_in_the_plan(scene: str) -> None:
    with dask.config.set({"daskmr.max-worker": 3, "daskmr.tile_size": 512, "daskmr.zebra": 1}):
        assert unknown_keys() == ["max-worker", "tile-size", "zebra"]
        warnings = daskmr.plan(scene, "centerpoint").warnings
    assert [text for text in warnings if "dask.config" in text] == [
        "daskmr.max-worker of dask.config is ignored: unknown; did you mean daskmr.max-workers?",
        f"daskmr.tile-size of dask.config is ignored: {NOT_A_SETTING}",
        "daskmr.zebra of dask.config is ignored: unknown",
    ]
    assert "dask.config" not in str(daskmr.plan(scene, "centerpoint").warnings)


def test_a_key_is_spelled_as_dask_has_it() -> None:
    assert key("region_status") == "daskmr.region-status"
    with pytest.raises(KeyError):
        key("tile_size")


def test_unknown_variables_of_the_environment_are_told_on_stderr() -> None:
    environment = {
        "DASKMR_TILE_SIZE": "512", "DASKMR_RUN_TILE_SISE": "512", "DASKMR_RUN_OVERLAP": "3",
        "DASKMR_STORE": "x", "DASKMR_QUEUE": "q",
        "DASKMR_STATUS_TOPIC": "t", "DASKMR_MODELS": "y", "DASKMR_MODELS_CHECK_MODEL": "z",
        "PATH": "/usr/bin",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "daskmr", "models", "list"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines() == [
        f"warning: {name} is ignored: it sets no option; did you mean DASKMR_RUN_TILE_SIZE?"
        for name in ("DASKMR_RUN_TILE_SISE", "DASKMR_TILE_SIZE")
    ]
