"""The same answers give the same result, however the work was split, ordered or cut off."""

import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daskmr
from daskmr.core.grid import RegionGrid, Size
from daskmr.dispatch.model_call import model_call
from daskmr.lifecycle.job_spec import job_spec
from daskmr.planning.identity import request_identity, source_of
from daskmr.planning.plan import Plan
from daskmr.results import merge, merge_on_cluster
from daskmr.store import JobFolder
from daskmr.testing.scene import SyntheticScene
from daskmr.worker.region import process_region
from daskmr.worker.task import JobContext

OPTIONS: dict[str, Any] = {"tile_size": 200, "overlap": 60, "iou": 0.3, "job_id": "j"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright blobs, many of them in several tiles."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    SyntheticScene(size=900, spacing=64).write(path)
    return path


def facts(features: Any) -> Any:
    """A result without the moment of its making, in its own order."""
    found = {name: list(features[name]) for name in features.columns if name != "inferred_at"}
    return {
        name: [value.wkb if hasattr(value, "wkb") else value for value in values]
        for name, values in found.items()
    }


@pytest.fixture(scope="module")
def expected(scene: Path) -> Any:
    """The result of one worker with one thread and one region."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        found = facts(daskmr.run(regions(scene, 99), client=client).features)
    assert len(found["label"]) > 80
    return found


def regions(scene: Path, side: int) -> Plan:
    """The job in regions of that many tiles along a side."""
    plan = daskmr.plan(str(scene), "blobs", **OPTIONS)
    return replace(
        plan, regions=RegionGrid(grid=plan.regions.grid, tiles_per_side=Size.parse(side))
    )


@pytest.mark.parametrize("side", [1, 4, 16])
def test_any_size_of_region_on_two_workers(
    side: int, scene: Path, client: Any, expected: Any
) -> None:
    assert facts(daskmr.run(regions(scene, side), client=client).features) == expected


def test_merged_by_the_workers(
    scene: Path, client: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MANY_FEATURES", 1)
    monkeypatch.setattr(merge_on_cluster, "BLOCK", 20)
    assert facts(daskmr.run(regions(scene, 1), client=client).features) == expected


def test_four_workers(scene: Path, expected: Any) -> None:
    found = daskmr.run(regions(scene, 2), scheduler="local", workers=4).features
    assert facts(found) == expected


def test_any_hash_seed(scene: Path, expected: Any, tmp_path: Path, cluster: Any) -> None:
    for seed in ("0", "4711"):
        out = tmp_path / seed
        words = ["run", str(scene), "-m", "blobs", "-o", str(out), "-f", "parquet"]
        for name, value in OPTIONS.items():
            words += ["--" + name.replace("_", "-"), str(value)]
        subprocess.run(
            [sys.executable, "-m", "daskmr", *words, "-s", cluster.scheduler_address],
            check=True, timeout=120, capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        plain = {name: values for name, values in expected.items() if name != "image_bbox"}
        found = gpd.read_parquet(out / "j.parquet")[list(plain)]
        assert facts(found) == plain


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    side=st.sampled_from([1, 2, 3, 4]),
    seed=st.integers(0, 10_000),
    part=st.floats(0, 1),
)
def test_any_order_and_any_point_of_going_on(
    scene: Path, client: Any, expected: Any, *, side: int, seed: int, part: float
) -> None:
    """Some regions, in any order, were done by drivers before; the rest is done now."""
    plan = regions(scene, side)
    order = list(plan.regions)
    random.Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
    with tempfile.TemporaryDirectory() as store:
        folder = JobFolder.at(store, "j")
        folder.begin(request_identity(plan), source_of(plan), plan={"tiles": 0, "regions": 0},
                     options=job_spec(plan, []))  # fmt: skip
        job = JobContext(
            job_id="j", call=model_call(plan), regions=plan.regions, selection=plan.selection,
            folder=folder, skip_nodata=True,
        )  # fmt: skip
        assert plan.image.source is not None
        for region in order[: round(part * len(order))]:
            process_region(job, region, plan.image.source, tick=lambda _tiles, _pixels: None)
        assert facts(daskmr.run(plan, store=store, client=client).features) == expected
        once = {name: folder.objects.read(name) for name in folder.objects.names("result-")}
        again = daskmr.run(plan, store=store, client=client)
        assert facts(again.features) == expected
        assert {n: folder.objects.read(n) for n in folder.objects.names("result-")} == once
        assert len(once) == 1
