"""Points that the sensor models place on the ground in a second of one core."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import rasterio

from benchmarks.figure import Figure
from daskmr.core.imagery import ControlPoints, ImageInfo
from daskmr.geolocate import on_terrain, pick
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.corners import CornersModel
from daskmr.geolocate.gcp import GcpModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.testing.contracts_geolocate import (
    SAR_SIZE,
    SCENE_RPCS,
    rsm_fields,
    sicd_xml,
    sidd_xml,
)
from daskmr.testing.images import write_image

WIDTH, HEIGHT = 8819, 5212
INFO = ImageInfo(
    url="scene",
    height=HEIGHT,
    width=WIDTH,
    bands=1,
    dtype="uint8",
    driver="GTiff",
    rpcs=SCENE_RPCS,
)
ROUNDS = 3


def figures() -> Iterator[Figure]:
    """Millions of points in a CPU second, for each model and way."""
    rpc = RpcModel(rpcs=SCENE_RPCS)
    utm = AffineModel(transform=(0.5, 0.0, 5e5, 0.0, -0.5, 5e6), crs="EPSG:32631")
    yield _there("affine in UTM", utm, 1_000_000, budget=3)
    yield _there("four corners", _corners(), 1_000_000)
    yield _there("210 GCPs", _gcps(), 100_000)
    yield _there("RPC at its own height", rpc, 1_000_000, budget=2)
    heights = np.random.default_rng(1).uniform(0, 900, 1_000_000)
    pixels = _pixels(1_000_000)
    yield _figure("RPC at given heights", lambda: rpc.to_world(pixels, heights), budget=2)
    world = rpc.to_world(pixels, heights)
    yield _figure("RPC back to the image", lambda: rpc.to_image(world), budget=2)
    with TemporaryDirectory() as folder:
        terrain = on_terrain(rpc, INFO, _heights(Path(folder)), geoid=None, opened=rasterio.open)
    yield _there("RPC on terrain", terrain, 500_000, budget=0.4)
    yield from _radar()


def _radar() -> Iterator[Figure]:
    """Radar images of each kind of grid, and replacement sensor models."""
    info = ImageInfo(
        url="scene",
        height=SAR_SIZE[1],
        width=SAR_SIZE[0],
        bands=2,
        dtype="float32",
        driver="NITF",
    )
    pixels = _pixels(500_000) * np.array(SAR_SIZE) / [WIDTH, HEIGHT]
    documents = {f"SICD {kind}": sicd_xml(kind) for kind in ("PLANE", "PFA", "RGZERO")}
    for name, xml in {**documents, "SIDD": sidd_xml()}.items():
        model = _picked(replace(info, sar=xml))
        yield _figure(name, partial(model.to_world, pixels), budget=0.3)
        world = model.to_world(pixels)
        yield _figure(f"{name} back to the image", partial(model.to_image, world), budget=0.3)
    with TemporaryDirectory() as folder:
        heights = _heights(Path(folder), west=11.95, north=48.05)
        model = _picked(replace(info, sar=sidd_xml()))
        terrain = on_terrain(model, info, heights, geoid=None, opened=rasterio.open)
    yield _figure("SIDD on terrain", partial(terrain.to_world, pixels[:100_000]), budget=0)
    rsm = _picked(replace(info, rsm=rsm_fields("R")))
    yield _figure("RSM", partial(rsm.to_world, pixels[:200_000]), budget=0)
    world = rsm.to_world(pixels)
    yield _figure("RSM back to the image", partial(rsm.to_image, world), budget=0)


def _picked(info: ImageInfo) -> SensorModel:
    model, _ = pick(info)
    assert model is not None
    return model


def _there(name: str, model: SensorModel, n: int, *, budget: float = 0) -> Figure:
    pixels = _pixels(n)
    return _figure(name, lambda: model.to_world(pixels), budget=budget)


def _figure(name: str, run: Callable[[], Points], *, budget: float) -> Figure:
    """Return the fastest of some rounds."""
    spent = []
    for _ in range(ROUNDS):
        started = process_time()
        run()
        spent.append(process_time() - started)
    found = run()
    n, lost = len(found), int(np.isnan(found).any(axis=1).sum())
    return Figure(
        name=f"{name}: million points in a CPU second",
        value=n / min(spent) / 1e6,
        budget=f">= {budget}" if budget else "",
        detail=f"{n:,} points in {min(spent):.3f} s, {lost} without a place",
    )


def _pixels(n: int) -> Points:
    return np.random.default_rng(0).uniform(0, 1, (n, 2)) * [WIDTH, HEIGHT]


def _corners() -> SensorModel:
    corners = ControlPoints(
        source="GCPs",
        pixels=((0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)),
        ground=((5, 50, 0), (5.1, 50.01, 0), (5.11, 49.9, 0), (5, 49.91, 0)),
        crs="EPSG:4326",
    )
    info = ImageInfo(
        url="scene",
        height=HEIGHT,
        width=WIDTH,
        bands=1,
        dtype="uint8",
        driver="GTiff",
        corners=corners,
    )
    model = CornersModel.from_image(info)
    assert model is not None
    return model


def _gcps() -> SensorModel:
    x, y = np.meshgrid(np.linspace(0, WIDTH, 21), np.linspace(0, HEIGHT, 10))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    ground = RpcModel(rpcs=SCENE_RPCS).to_world(pixels)
    gcps = ControlPoints(
        source="GCPs",
        pixels=tuple(map(tuple, pixels.tolist())),
        ground=tuple(map(tuple, ground.tolist())),
        crs="EPSG:4326",
    )
    info = ImageInfo(
        url="scene", height=HEIGHT, width=WIDTH, bands=1, dtype="uint8", driver="GTiff", gcps=gcps
    )
    model = GcpModel.from_image(info)
    assert model is not None
    return model


def _heights(folder: Path, *, west: float = 121.4, north: float = 25.15) -> str:
    """Mountains of three arc seconds a cell, up to 1200 m high, rough on every scale."""
    random = np.random.default_rng(2)
    heights = np.zeros((512, 512))
    for size in (4, 16, 64, 256):
        rough = np.kron(random.random((size, size)), np.ones((512 // size, 512 // size)))
        heights += rough * 1600 / size
    transform = (1 / 1200, 0.0, west, 0.0, -1 / 1200, north)
    pixels = heights.astype(np.float32)[None]
    return str(write_image(folder / "dem.tif", pixels, crs="EPSG:4326", transform=transform))
