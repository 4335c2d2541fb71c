"""Thousands of jobs with crashes, in virtual time: nothing lost, nothing double, one result."""

import json
import os

import pytest

from daskmr.testing.simulation import TILES, World

N_SEEDS = int(os.environ.get("DASKMR_SEEDS", "2000"))
N_CHUNKS = 8


def check(world: World) -> None:
    """All that a user was promised."""
    folder, objects = world.folder, world.objects
    manifest = folder.manifest()
    assert manifest is not None
    assert objects.names("manifest") == ["manifest.json"]
    assert sorted(manifest) == sorted(region.id for region in world.regions)
    for name, said in manifest.items():
        assert said == objects.content[f"regions/{name}.parquet"].decode()
        if name in world.poisoned:
            assert said == "POISON"
        else:
            assert said in {f"features of {name}", "TASK_FAILED"}
    for at, region, driver in world.calls:
        assert at <= objects.written_at[f"regions/{region}.parquet"], (region, driver)


@pytest.mark.parametrize("chunk", range(N_CHUNKS))
def test_whatever_dies_each_region_is_published_once(chunk: int) -> None:
    kills = 0
    for seed in range(chunk, N_SEEDS, N_CHUNKS):
        world = World(seed)
        try:
            world.run()
            check(world)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        kills += sum(world.kills.values())
    assert kills > N_SEEDS // N_CHUNKS  # more than one in each job


def test_a_job_without_faults_asks_once_about_each_tile() -> None:
    world = World(seed=1)
    world.poisoned.clear()
    world.objects.fault = 0.0
    world.chance = lambda probability: probability < 0  # type: ignore[method-assign]
    world.random.choice = lambda said: said[0]  # type: ignore[method-assign, assignment]
    world.run()
    check(world)
    assert len(world.calls) == TILES * len(world.regions)
    assert json.loads(world.objects.content["report.json"]) == {"by": 1}
