"""The five lines of the README, as they are printed."""

import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def five_lines() -> str:
    """The first block of Python."""
    return README.read_text().split("```python\n")[1].split("```")[0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scene that the README makes."""
    folder = tmp_path_factory.mktemp("scene")
    command = [sys.executable, "-m", "daskmr.testing.scene", "scene.tif"]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return folder


def test_they_run_as_printed(scene: Path) -> None:
    assert len([line for line in five_lines().splitlines() if line]) == 5
    told = "print(result.report.status, len(result.features), set(result.features.label))"
    done = subprocess.run(
        [sys.executable, "-c", f"{five_lines()}\n{told}"],
        cwd=scene, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "SUCCESS 2066 {'bright_object'}\n"
    assert {path.suffix for path in (scene / "results").glob("[!.]*")} == {".geojson", ".parquet"}


@pytest.mark.deploy
def test_they_show_themselves_in_a_notebook(scene: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    *first, explore = five_lines().strip().splitlines()
    cells = [nbformat.v4.new_code_cell(text) for text in ("\n".join(first), "plan", explore)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook, timeout=200, resources={"metadata": {"path": str(scene)}}
    ).execute()
    bar, table = (each.data["text/html"] for each in notebook.cells[0].outputs)
    assert "tiles, " in bar
    assert 'value="361"' in bar
    assert table.count("</tr>") == 6  # a head, and five rows
    assert "daskmr plan" in notebook.cells[1].outputs[0].data["text/html"]
    assert "<iframe" in notebook.cells[2].outputs[0].data["text/html"]
