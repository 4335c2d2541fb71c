"""``python -m tests.chaos``: many jobs, and what was wrong with them as JSON."""

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from tests.chaos.job import ChaosJob, Outcome, credentials
from tests.chaos.processes import Service
from tests.chaos.snapshot import s3

_SIDES, _LATENCY_S = (48, 52, 56), 0.04
_MOST_EXTRA_PERCENT = 20.0
_BUCKET = "chaos"


@dataclass
class Suite:
    """Jobs one after the other, or a few at once."""

    n_jobs: int
    n_kills: int
    endpoint: str | None
    folder: Path
    outcomes: list[Outcome] = field(default_factory=list)
    n_begun: int = 0

    def run(self, seed: int) -> None:
        """The job of one seed; kills that are missing so far are shared out among those left."""
        left = self.n_kills - sum(sum(done.kills.values()) for done in self.outcomes)
        n_left = max(1, self.n_jobs - self.n_begun)
        self.n_begun += 1
        job = ChaosJob(
            seed=seed,
            folder=self.folder / str(seed),
            n_kills=max(0, -(-left // n_left)),
            bucket=f"s3://{_BUCKET}" if self.endpoint else None,
            endpoint=self.endpoint,
            latency_s=_LATENCY_S,
            sides=_SIDES,
        )
        done = job.run()
        self.outcomes.append(done)
        click.echo(done.line())
        if done.is_good:
            shutil.rmtree(job.folder)
        else:
            click.echo(f"seed {seed}: its files are kept in {job.folder}", err=True)

    def summary(self) -> dict[str, Any]:
        """Figures of all jobs."""
        kills: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        for done in self.outcomes:
            kills.update(done.kills)
            faults.update(done.findings.faults)
        extra = sum(done.findings.extra_calls for done in self.outcomes)
        n_tiles = sum(done.findings.n_tiles for done in self.outcomes)
        return {
            "jobs": len(self.outcomes),
            "tiles": n_tiles,
            "kills": sum(kills.values()),
            "kills_by_kind": dict(sorted(kills.items())),
            **faults,
            "odd_ends": sum(len(done.odd) for done in self.outcomes),
            "extra_calls_percent": round(100.0 * extra / max(1, n_tiles), 1),
            "failed_seeds": [done.seed for done in self.outcomes if not done.is_good],
        }


@click.group(invoke_without_command=True)
@click.option("--jobs", "n_jobs", type=int, default=40, show_default=True)
@click.option("--kills", "n_kills", type=int, default=300, show_default=True, help="Of all jobs.")
@click.option("--store", type=click.Choice(["local", "s3"]), default="local", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first job.")
@click.option("--at-once", type=int, default=1, show_default=True, help="Jobs side by side.")
@click.option("--s3-endpoint", help="An S3 server that runs already.  [default: moto's]")
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Run jobs, kill their processes, and say what was lost: nothing, or exit status 1."""
    if context.invoked_subcommand is not None:
        return
    started = time.monotonic()
    n_jobs, seed = options["n_jobs"], options["seed"]
    with _s3(options["s3_endpoint"]) if options["store"] == "s3" else _nowhere() as endpoint:
        folder = Path(tempfile.mkdtemp(prefix="daskmr-chaos-"))
        suite = Suite(n_jobs, options["n_kills"], endpoint, folder)
        with ThreadPoolExecutor(options["at_once"]) as pool:
            list(pool.map(suite.run, range(seed, seed + n_jobs)))
    summary = suite.summary()
    click.echo(json.dumps({**summary, "wall_s": round(time.monotonic() - started)}, indent=1))
    if not summary["failed_seeds"]:
        shutil.rmtree(folder)
    is_costly = summary["extra_calls_percent"] > _MOST_EXTRA_PERCENT
    sys.exit(bool(summary["failed_seeds"]) or is_costly)


@main.command("publication")
@click.option("--kills", "n_kills", type=int, default=200, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def publication_command(n_kills: int, seed: int) -> None:
    """Kill processes that publish a result, while a reader looks on."""
    from tests.chaos.publication import PublicationKills

    with tempfile.TemporaryDirectory(prefix="daskmr-chaos-") as folder:
        _told(PublicationKills(Path(folder), seed).run(n_kills), ("torn", "wrong"))


@main.command("races")
@click.option("--races", "n_races", type=int, default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def races_command(n_races: int, seed: int) -> None:
    """Start two drivers of one job at the same time."""
    from distributed import LocalCluster

    from tests.chaos.races import Races

    cluster = LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )  # fmt: skip
    with cluster, tempfile.TemporaryDirectory(prefix="daskmr-chaos-") as folder:
        _told(Races(Path(folder), cluster.scheduler_address, seed).run(n_races), ("wrong",))


@main.command("listening")
@click.option("--messages", "n_messages", type=int, default=1000, show_default=True)
@click.option("--kills", "n_kills", type=int, default=50, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--aws-endpoint", help="SQS and S3 that run already.  [default: moto's]")
def listening_command(
    *, n_messages: int, n_kills: int, seed: int, aws_endpoint: str | None
) -> None:
    """Kill listeners that work off a queue; 10 % of its messages come twice, 5 % are bad."""
    from tests.chaos.listening import ListenerKills

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="daskmr-chaos-"))
        if aws_endpoint is None:
            aws_endpoint = stack.enter_context(Service("tests.chaos.bucket")).url
        made = ListenerKills(
            Path(folder), aws_endpoint, n_messages=n_messages, n_kills=n_kills, seed=seed
        )
        _told(made.run(), ("left", "lost", "wrong", "good_buried", "bad_not_buried"))


def _told(figures: dict[str, Any], zeros: tuple[str, ...]) -> None:
    """Print figures, and end with 1 unless some of them are zero."""
    click.echo(json.dumps(figures, indent=1))
    if any(figures[name] for name in zeros):
        sys.exit(1)


@contextmanager
def _nowhere() -> Iterator[None]:
    yield None


@contextmanager
def _s3(url: str | None) -> Iterator[str]:
    """Yield URL of an S3 server that has the bucket."""
    import os

    os.environ.update(credentials())
    if url is None:
        with Service("tests.chaos.bucket") as server, _s3(server.url) as made:
            yield made
        return
    client = s3(url)
    try:
        if _BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=_BUCKET)
    finally:
        client.close()
    yield url


if __name__ == "__main__":
    main()
