"""Pages in a real browser: boxes lie on what they were found at, and nothing is loaded."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image as Picture

import daskmr
from daskmr.testing.images import HALF_METRE, UTM, write_image

pytestmark = pytest.mark.deploy
SIZE, SIDE = 600, 40
SPOTS = [(40, 60), (300, 420), (520, 100)]
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--force-color-profile=srgb")  # fmt: skip
ORANGE = np.array([255, 154, 61])


def bright(tile: Any) -> dict[str, Any] | None:
    rows, cols = (tile[0] > 200).nonzero()
    if not len(rows):
        return None
    box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    return {"boxes": [box], "scores": [0.9], "labels": ["spot"]}


@pytest.fixture
def job(tmp_path: Path, client: Any) -> daskmr.Job:
    pixels = np.full((3, SIZE, SIZE), 40, np.uint8)
    for row, col in SPOTS:
        pixels[:, row : row + SIDE, col : col + SIDE] = 250
    scene = write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE)
    store = str(tmp_path / "store")
    daskmr.run(scene, bright, tile_size=300, overlap=0, client=client, store=store, job_id="j")
    return daskmr.Job(store, "j")


@pytest.fixture
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    with playwright.sync_playwright() as drivers:
        made = drivers.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield made
        made.close()


def opened(browser: Any, path: Path) -> Any:
    """A page that fails the test when it asks for anything, or has an error of its own."""
    page = browser.new_page(viewport={"width": 900, "height": 700}, color_scheme="light")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.on("console", lambda message: asked.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('canvas')?.dataset.picture")
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    return page


def screenshot(page: Any, selector: str) -> NDArray[np.uint8]:
    raw = page.locator(selector).first.screenshot()
    return np.asarray(Picture.open(io.BytesIO(raw)).convert("RGB"))


def test_boxes_are_drawn_round_what_is_bright(
    job: daskmr.Job, browser: Any, tmp_path: Path
) -> None:
    page = opened(browser, job.explore().save(tmp_path / "map.html"))
    told = page.eval_on_selector("canvas", "canvas => ({...canvas.dataset})")
    assert (told["mode"], told["drawn"]) == ("boxes", "3")
    seen = screenshot(page, "canvas").astype(int)
    seen = seen[:, :650]  # beside the legend
    is_box = np.abs(seen - ORANGE).sum(axis=-1) < 60
    is_bright = seen.min(axis=-1) > 200
    assert is_bright.sum() > 3 * 500
    rows, cols = is_bright.nonzero()
    for row, col in SPOTS:  # the map is turned a little against the image
        near = (abs(rows / rows.max() - (row + 40) / 560) < 0.1) & (
            abs((cols - cols.min()) / np.ptp(cols) - (col - 60) / 400) < 0.13
        )
        top, left = rows[near].min(), cols[near].min()
        bottom, right = rows[near].max(), cols[near].max()
        ring = is_box[top - 4 : bottom + 5, left - 4 : right + 5].copy()
        ring[8:-8, 8:-8] = False
        assert ring.any(axis=0).mean() > 0.8
        assert ring.any(axis=1).mean() > 0.8
        assert not is_box[top + 8 : bottom - 8, left + 8 : right - 8].any()
    page.close()


def test_a_click_tells_of_a_feature_and_a_box_can_be_hidden(
    job: daskmr.Job, browser: Any, tmp_path: Path
) -> None:
    page = opened(browser, job.explore().save(tmp_path / "map.html"))
    seen = screenshot(page, "canvas")
    rows, cols = (seen[:, :650].min(axis=-1) > 200).nonzero()
    page.mouse.click(int(cols[0]) + 8, int(rows[0]) + 8)
    text = page.locator(".box").inner_text()
    assert text.startswith("class: spot\nscore: 0.9\nplace: 40.7")
    page.locator(".legend input[type=checkbox]").uncheck()
    assert page.eval_on_selector("canvas", "canvas => canvas.dataset.drawn") == "0"
    page.close()


def test_many_features_are_a_density_and_few_of_them_boxes(
    job: daskmr.Job, browser: Any, tmp_path: Path
) -> None:
    from daskmr.views.page import map_page

    one = job.result().features.iloc[:1]
    many = one.iloc[np.zeros(12_000, dtype=int)].reset_index(drop=True)
    at = np.random.default_rng(0).uniform(0, 0.01, (12_000, 2))
    many["geometry"] = shapely.box(*at.T, *(at.T + 2e-5))
    path = map_page(many, None, title="many").save(tmp_path / "many.html")
    page = browser.new_page(viewport={"width": 900, "height": 700})
    page.goto(path.as_uri())
    assert page.eval_on_selector("canvas", "canvas => canvas.dataset.mode") == "density"
    page.focus("canvas")
    for _ in range(14):
        page.keyboard.press("+")
    assert page.eval_on_selector("canvas", "canvas => canvas.dataset.mode") in {"boxes", "points"}
    page.close()


def test_the_report_shows_map_times_and_pictures(
    job: daskmr.Job, browser: Any, tmp_path: Path
) -> None:
    page = opened(browser, job.page().save(tmp_path / "report.html"))
    assert page.locator("h1").inner_text() == "j: SUCCESS"
    assert page.locator(".gallery img").count() == 3
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    chip = screenshot(page, ".gallery span")
    assert (chip.min(axis=-1) > 200).sum() > 100
    assert "p95" in page.locator("main").inner_text()
    page.close()
