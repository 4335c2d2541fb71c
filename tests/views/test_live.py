"""Progress below the cell of a real notebook."""

import pytest

pytestmark = pytest.mark.deploy

CELL = """
import numpy as np, xarray as xr, daskmr
pixels = np.full((1, 256, 256), 7, np.uint8)
image = xr.DataArray(pixels, dims=("band", "y", "x"), name="x")
with __import__("dask").config.set({config}):
    daskmr.run(image, "centerpoint", tile_size=32, overlap=0, workers=1)
"""


def outputs(config: str) -> list[str]:
    """HTML that a notebook of one cell shows."""
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    cell = nbformat.v4.new_code_cell(CELL.replace("{config}", config))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    shown = notebook.cells[0].outputs
    return [each.data["text/html"] for each in shown if "text/html" in each.get("data", {})]


def test_a_notebook_shows_one_bar_that_ends_full() -> None:
    (bar, *rest) = outputs("{}")
    assert 'max="64" value="64"' in bar
    assert "64 of 64 tiles" in bar
    assert '<a href="http://127.0.0.1:' in bar
    assert rest == [] or "daskmr result" in rest[0]


def test_a_bar_can_be_switched_off() -> None:
    assert not [page for page in outputs("{'daskmr.progress': False}") if "<progress" in page]
