"""Every example of docs/models.md does what the page says."""

import json
import re
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import daskmr
from daskmr.cli import cli
from daskmr.core.grid import Size
from daskmr.core.wire import Answer
from daskmr.decode import AnswerForm
from daskmr.decode.answers import CONVENTIONS, decode
from daskmr.endpoints._auth import parse_auth
from daskmr.endpoints.onnx import OnnxModel
from daskmr.errors import BadResponseError
from daskmr.testing.images import write_image

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
ANSWERS = re.findall(
    r"<!-- answer: (\w+)(?:; classes: ([\w,]+))? -->\n```json\n(.*?)```", PAGE, re.DOTALL
)
TILE = Size(height=512, width=512)


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def spoken() -> dict[str, Any]:
    """What the Python of the page defines."""
    names: dict[str, Any] = {}
    exec("\n".join(blocks("python")), names)  # noqa: S102 - our own page
    return names


@pytest.mark.parametrize(("name", "classes", "body"), ANSWERS)
def test_each_convention_says_one_ship(name: str, classes: str, body: str) -> None:
    form = AnswerForm(convention=name, classes=tuple(classes.split(",")) if classes else ())
    found = decode(Answer(body.encode()), tile=TILE, form=form)
    assert found.boxes.tolist() == [[10, 20, 30, 50]]
    assert found.labels == ["ship"]
    assert found.scores == pytest.approx([0.9])
    assert found.dropped == {}


def test_every_convention_is_on_the_page() -> None:
    assert {name for name in CONVENTIONS if f"**`{name}`**" not in PAGE} == set()
    assert len(ANSWERS) >= len(CONVENTIONS)


def test_lists_must_be_named_as_the_page_says() -> None:
    lists = [(name, body) for name, _, body in ANSWERS if body.startswith("[")]
    assert lists
    for name, body in lists:
        assert name != "auto"
        with pytest.raises(BadResponseError):
            decode(Answer(body.encode()), tile=TILE)


def test_the_server_of_the_page_is_a_model(spoken: dict[str, Any], tmp_path: Path) -> None:
    pixels = np.zeros((1, 128, 128), np.uint8)
    pixels[0, 70, 100] = 255
    image = write_image(tmp_path / "a.tif", pixels)
    server = spoken["serve"]()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        told = CliRunner().invoke(
            cli,
            ["models", "check", url, "--image", str(image), "--tile-format", "NPY", "--json"],
        )
        assert json.loads(told.output)["features"] == {"bright": 1}
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("name", ["brightest", "brightest_of_many"])
def test_the_functions_of_the_page_are_models(
    spoken: dict[str, Any], name: str, tmp_path: Path, client: Any
) -> None:
    pixels = np.zeros((1, 128, 128), np.uint8)
    pixels[0, 70, 100] = 255
    image = write_image(tmp_path / "a.tif", pixels)
    found = daskmr.run(image, spoken[name], tile_size=128, client=client).features
    assert found.image_bbox.iloc[0] == (100, 70, 101, 71)
    assert found.label.tolist() == ["bright"]


def test_the_commands_of_the_page_exist() -> None:
    words = set(re.findall(r"(--[a-z][a-z-]+)", "\n".join(blocks("sh")) + PAGE))
    helps = [CliRunner().invoke(cli, [*command, "--help"]).output for command in (
        ["run"], ["plan"], ["models", "check"]
    )]  # fmt: skip
    assert {word for word in words if not any(word in text for text in helps)} == set()


def test_the_credentials_of_the_page_are_read() -> None:
    (text,) = blocks("yaml")
    entries = yaml.safe_load(text)["daskmr"]["auth"]
    assert {type(parse_auth(said, place=url)).__name__ for url, said in entries.items()} == {
        "ApiKey",
        "Basic",
        "Bearer",
    }


def test_the_options_of_the_onnx_example_are_fields() -> None:
    sidecar = json.loads(re.findall(r"detector\.json`.*?```json\n(.*?)```", PAGE, re.DOTALL)[0])
    known = {re.sub(r"_(.)", lambda m: m[1].upper(), f.name) for f in fields(OnnxModel)}
    assert set(sidecar) <= known


def test_what_the_page_says_of_limits_is_so() -> None:
    from daskmr.decode.columns import MAX_FEATURES
    from daskmr.endpoints._retry import PATIENCE_S
    from daskmr.endpoints._transport import CONNECT_TIMEOUT_S, MAX_RESPONSE_BYTES, TIMEOUT_S
    from daskmr.endpoints.sagemaker import PARAMETERS

    assert (MAX_RESPONSE_BYTES, MAX_FEATURES) == (64 * 2**20, 100_000)
    assert (PATIENCE_S, TIMEOUT_S, CONNECT_TIMEOUT_S) == (600, 70, 5)
    assert all(f"`{name}`" in PAGE for name in PARAMETERS)


def test_media_types_are_those_of_the_encoders() -> None:
    from daskmr.encode import ENCODERS

    for name in ENCODERS.names():
        media_type = ENCODERS.load(name).content_type.partition(";")[0]
        assert f"`{media_type}" in PAGE, name
