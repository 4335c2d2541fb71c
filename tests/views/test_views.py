"""Pages for people: what they show, and that they hold all of it."""

import base64
import io
import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rioxarray
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Picture

import daskmr
from daskmr.errors import ImageError, RequestError
from daskmr.testing.images import HALF_METRE, UTM, write_image
from daskmr.views.gallery import chip
from daskmr.views.overview import degrees, mercator, overview

SIZE = 600
SPOTS = [(40, 60), (300, 420), (520, 100)]
"""Row and column of bright squares of 24 pixels."""


@pytest.fixture
def scene(tmp_path: Path) -> str:
    pixels = np.full((3, SIZE, SIZE), 40, np.uint8)
    for row, col in SPOTS:
        pixels[:, row : row + 24, col : col + 24] = 250
    return str(write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE))


def bright(tile: Any) -> dict[str, Any] | None:
    rows, cols = (tile[0] > 200).nonzero()
    if not len(rows):
        return None
    box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    return {"boxes": [box], "scores": [0.5 + cols.min() / 2000], "labels": ["<b>spot</b>"]}


@pytest.fixture
def result(scene: str, client: Any) -> daskmr.Result:
    return daskmr.run(scene, bright, tile_size=300, overlap=0, client=client, job_id="views")


def data_of(html: str) -> dict[str, Any]:
    """What a map shows."""
    text = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert text is not None
    found: dict[str, Any] = json.loads(text[1])
    return found


def picture_of(uri: str) -> NDArray[np.uint8]:
    raw = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Picture.open(io.BytesIO(raw)).convert("RGBA"))


def test_a_map_holds_the_image_and_the_outlines_in_one_plane(result: daskmr.Result) -> None:
    page = result.explore()
    assert "http://" not in page.html
    assert "https://" not in page.html
    said = data_of(page.html)
    assert (said["n"], said["placed"], said["labels"]) == (3, True, ["<b>spot</b>"])
    picture = picture_of(said["picture"]["uri"])
    left, bottom, right, top = said["picture"]["bounds"]
    for ring in said["rings"]:
        x, y = np.reshape(ring, (-1, 2)).mean(axis=0)
        col = int((x - left) / (right - left) * picture.shape[1])
        row = int((top - y) / (top - bottom) * picture.shape[0])
        assert picture[row, col, 3] == 255
        assert picture[row, col, :3].min() > 200
        beside = picture[row, (col + 60) % picture.shape[1], :3]
        assert beside.max() < 100
    assert "<b>spot" not in re.sub(r"<script.*?</script>", "", page.html, flags=re.DOTALL)


def test_a_page_shows_itself_in_a_notebook_and_is_kept(
    result: daskmr.Result, tmp_path: Path
) -> None:
    page = result.explore()
    shown = page._repr_html_()
    found = re.search(r'srcdoc="(.*?)" sandbox="allow-scripts"', shown, re.DOTALL)
    assert found is not None
    assert unescape(found[1]) == page.html
    assert page.save(tmp_path / "map.html").read_text(encoding="utf-8") == page.html


def test_an_image_without_a_place_is_its_own_map(tmp_path: Path, client: Any) -> None:
    pixels = np.full((1, 200, 400), 10, np.uint8)
    pixels[0, 50:60, 300:320] = 255
    path = write_image(tmp_path / "p.png", pixels, driver="PNG")
    found = daskmr.run(path, bright, tile_size=200, overlap=0, client=client)
    said = data_of(found.explore().html)
    assert said["picture"]["bounds"] == [0, -200, 400, 0]
    assert sorted(set(said["rings"][0])) == [-60, -50, 300, 320]


def test_a_gallery_shows_the_best_and_the_worst(result: daskmr.Result) -> None:
    html = result.gallery(1).html
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    assert captions == ["&lt;b&gt;spot&lt;/b&gt; 0.560", "&lt;b&gt;spot&lt;/b&gt; 0.530"]
    for uri in re.findall(r'src="(data:[^"]+)"', html):
        picture = picture_of(uri)
        assert picture.shape[:2] == (132, 132)
        assert (picture[:, :, :3].min(axis=-1) > 200).sum() == pytest.approx(24 * 24, abs=60)


def test_a_large_image_without_overviews_has_no_picture() -> None:
    from dask import array as da

    huge = xr.DataArray(
        da.zeros((1, 100_000, 100_000), dtype=np.uint8, chunks=(1, 5000, 5000)),
        dims=("band", "y", "x"),
    )
    assert overview(daskmr.open_image(huge), None) is None


def test_a_job_has_a_page(scene: str, tmp_path: Path, client: Any) -> None:
    store = str(tmp_path / "store")
    daskmr.run(scene, bright, tile_size=300, overlap=0, client=client, store=store, job_id="j")
    job = daskmr.Job(store, "j")
    html = job.page().html
    assert "<h1>j: SUCCESS</h1>" in html
    assert "<th>features</th><td>3 after merging 3</td>" in html
    said = data_of(html)
    assert {tile["status"] for tile in said["tiles"]} == {"SUCCEEDED"}
    tiles = np.concatenate([np.reshape(tile["ring"], (-1, 2)) for tile in said["tiles"]])
    left, bottom, right, top = said["picture"]["bounds"]
    assert np.allclose(tiles.min(axis=0), [left, bottom], atol=2)
    assert np.allclose(tiles.max(axis=0), [right, top], atol=2)
    assert data_of(job.explore().html)["rings"] == said["rings"]
    Path(scene).unlink()
    assert data_of(job.page().html)["picture"] is None
    with pytest.raises(RequestError, match=r"gallery: .*x\.tif cannot be opened"):
        job.gallery()


def test_an_array_has_the_model_at_hand(scene: str, client: Any) -> None:
    chunks: Any = {"band": -1, "y": 256, "x": 256}
    opened: Any = rioxarray.open_rasterio(scene, chunks=chunks)
    with opened as da:
        ratio = (da[:1].astype("float32") / 255).rename("ratio")

        def find(tile: Any) -> dict[str, Any] | None:
            return bright(tile * 255)

        assert ratio.mr.plan(find, tile_size=300, overlap=0).n_tiles == 4
        found = ratio.mr.run(find, tile_size=300, overlap=0, client=client)
    corners = sorted(tuple(box[:2]) for box in found.features["image_bbox"])
    assert corners == sorted((float(col), float(row)) for row, col in SPOTS)
    assert found.features.crs == "EPSG:4326"


def item(href: str, **assets: Any) -> Any:
    import pystac

    made = pystac.Item(
        id="S2A_1", geometry=None, bbox=None, datetime=datetime(2026, 1, 2, tzinfo=UTC),
        properties={},
    )  # fmt: skip
    for key, fields in {"data": {"roles": ["data"]}, "thumb": {"media_type": "image/png"},
                        **assets}.items():  # fmt: skip
        said = {"href": href, "media_type": "image/tiff; application=geotiff", **fields}
        made.add_asset(key, pystac.Asset(**said))
    return made


def test_a_stac_item_is_an_image(scene: str, client: Any) -> None:
    found = daskmr.run(item(scene), bright, tile_size=300, overlap=0, client=client)
    assert len(found.features) == 3
    info = daskmr.open_image(item(scene)).info
    assert (info.collection, info.collected) == ("S2A_1", "2026-01-02T00:00:00+00:00")
    two = item(scene, a={"roles": ["data"]}, b={"roles": ["data"]})
    del two.assets["data"]
    with pytest.raises(ImageError, match=r"asset=KEY\): a, b, thumb"):
        daskmr.open_image(two)
    assert daskmr.open_image(two, asset="b").info.width == SIZE
    with pytest.raises(ImageError, match="no asset 'nope'; there are data, thumb"):
        daskmr.open_image(item(scene), asset="nope")


def test_a_plot_has_the_image_and_the_outlines(result: daskmr.Result) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = result.plot()
    outlines = axes.collections[0].get_segments()
    assert len(outlines) == 3
    assert sorted(float(line[:, 0].min()) for line in outlines) == [60.0, 100.0, 420.0]
    assert axes.images[0].get_extent() == [0, SIZE, SIZE, 0]


@given(st.floats(-180, 180), st.floats(-85, 85))
def test_the_plane_of_the_map_and_back(lon: float, lat: float) -> None:
    point = np.array([[lon, lat]])
    assert degrees(mercator(point)) == pytest.approx(point, abs=1e-9)


@given(
    st.floats(-50, 900), st.floats(-50, 900), st.floats(0.5, 3000), st.floats(0.5, 3000),
    st.integers(1, 800), st.integers(1, 800),
)  # fmt: skip
def test_a_chip_lies_in_its_image(
    x: float, y: float, wide: float, tall: float, width: int, height: int
) -> None:
    window = chip(np.array([x, y, x + wide, y + tall]), width=width, height=height)
    assert 0 <= window.row < window.row_stop <= height
    assert 0 <= window.col < window.col_stop <= width
