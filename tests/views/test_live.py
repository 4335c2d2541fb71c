"""Progress below the cell of a real notebook."""

import time
from pathlib import Path

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


INTERRUPTED = """
import time, numpy as np, xarray as xr, daskmr
from daskmr.testing.images import write_image
image = str(write_image("x.tif", np.full((1, 256, 256), 7, np.uint8)))

def slow(tile):
    open("started", "w").close()
    time.sleep(0.2)
    return {"boxes": []}

daskmr.run(image, slow, tile_size=32, overlap=0, out="out", workers=1)
"""


def test_an_interrupted_cell_says_how_to_go_on(tmp_path: Path) -> None:
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel(cwd=str(tmp_path))
    try:
        client.execute(INTERRUPTED)
        end = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < end:
            time.sleep(0.1)
        kernel.interrupt_kernel()
        texts = []
        while True:
            message = client.get_iopub_msg(timeout=60)
            texts += message["content"].get("traceback", [])
            texts.append(message["content"].get("text", ""))
            if message["content"].get("execution_state") == "idle":
                break
        text = "\n".join(texts)
        assert "KeyboardInterrupt" in text
        assert "the same call goes on where this one was" in text
        assert "distributed" not in text.replace("/distributed/", "")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
