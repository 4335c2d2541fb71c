"""Plans and results in words and in HTML."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daskmr.core.report import JobReport
    from daskmr.pipeline.plan import Plan
    from daskmr.pipeline.probe import Estimate

_STYLE = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"


def size(n_bytes: float) -> str:
    """Bytes for people, spelled as by Model Runner.

    Examples
    --------
    >>> size(250), size(787_694), size(1024**3)
    ('250.0B', '769.2KiB', '1.0GiB')
    """
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - the base of the units
            return f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}TiB"


def plan_rows(plan: "Plan") -> list[tuple[str, str]]:
    """What a plan says of itself, as names and values."""
    info, grid = plan.info, plan.regions.grid
    n_rows, n_cols = grid.shape
    tile_bytes = min(grid.tile.height, info.height) * min(grid.tile.width, info.width)
    tile_bytes *= info.bands * info.itemsize
    rows = [
        ("job", plan.settings.job_id),
        (
            "image",
            (
                f"{info.url} ({info.format}, {info.width} x {info.height}, "
                f"{info.bands} x {info.dtype})"
            ),
        ),
        ("model", plan.model.name),
        (
            "tiles",
            (
                f"{plan.n_tiles:,} of {grid.tile} with overlap {grid.overlap} "
                f"({n_cols} x {n_rows}, {grid.strategy})"
            ),
        ),
        ("skipped", f"{plan.n_skipped:,} without data"),
        (
            "regions",
            f"{plan.n_regions:,} of up to {plan.regions.tiles_per_side} tiles",
        ),
        ("tile in memory", size(tile_bytes)),
    ]
    if plan.is_remote:
        settings = plan.settings
        sent = f"{settings.tile_format} {settings.tile_compression}, "
        rows.append(("payload", f"{sent}up to {size(plan.payload_bytes)}"))
    rows.append(("merge", f"{plan.settings.merge} (iou > {plan.settings.iou:g})"))
    rows.append(("ground", type(plan.sensor).__name__ if plan.sensor else "pixels only"))
    rows.extend(("warning", warning) for warning in plan.warnings)
    return rows


def plan_text(plan: "Plan") -> str:
    """A plan as lines of text."""
    return lines(plan_rows(plan))


def lines(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line."""
    return "\n".join(f"{name + ':':<16}{value}" for name, value in rows)


def estimate_rows(estimate: "Estimate") -> list[tuple[str, str]]:
    """What tiles sent ahead say of the job, as names and values."""
    samples = estimate.samples
    well = sorted(sample.seconds * 1000 for sample in samples if not sample.reason)
    told = f"{len(well)} of {len(samples)} tiles answered"
    if well:
        told += f", in {well[0]:,.0f} to {well[-1]:,.0f} ms"
    rows = [("probe", told)]
    rows.extend(("failed", f"{s.reason}: {s.message}") for s in samples if s.reason)
    if estimate.seconds is not None:
        low, high = (duration(value) for value in estimate.seconds)
        calls = f"{estimate.concurrency} in flight"
        rows.append(("time", f"{low} to {high} for {estimate.n_tiles:,} tiles, {calls}"))
    if estimate.price is not None:
        low, high = (f"{value:,.2f}" for value in estimate.price)
        rows.append(("price", f"{low} to {high}"))
    return rows


def duration(seconds: float) -> str:
    """Seconds for people.

    Examples
    --------
    >>> duration(0.25), duration(90), duration(7260)
    ('0.2 s', '1 min 30 s', '2 h 1 min')
    """
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def plan_json(plan: "Plan") -> dict[str, Any]:
    """A plan as plain JSON values."""
    info, grid = plan.info, plan.regions.grid
    return {
        "jobId": plan.settings.job_id,
        "image": {
            "url": info.url,
            "format": info.format,
            "width": info.width,
            "height": info.height,
            "bands": info.bands,
            "dtype": info.dtype,
        },
        "model": plan.model.name,
        "tileSize": str(grid.tile),
        "overlap": str(grid.overlap),
        "tiles": plan.n_tiles,
        "tilesSkipped": plan.n_skipped,
        "regions": plan.n_regions,
        "payloadBytes": plan.payload_bytes,
        "warnings": list(plan.warnings),
    }


def plan_html(plan: "Plan") -> str:
    """A plan as an HTML table."""
    return html_table("daskmr plan", plan_rows(plan))


def report_rows(report: "JobReport") -> list[tuple[str, str]]:
    """What a report says, as names and values."""
    outcomes = ", ".join(f"{n:,} {status.lower()}" for status, n in sorted(report.outcomes.items()))
    wall = report.seconds.get("wall", 0.0)
    speed = f" ({report.megapixels / wall:,.1f} Mpx/s)" if wall else ""
    rows = [
        ("job", f"{report.job_id}: {report.status}"),
        ("image", report.image),
        ("tiles", f"{report.n_tiles:,}: {outcomes or 'none'}"),
        *(("reason", f"{n:,} x {reason}") for reason, n in sorted(report.reasons.items())),
        ("features", f"{report.n_merged:,} after merging {report.n_features:,}"),
        *(("dropped", f"{n:,} x {reason}") for reason, n in sorted(report.dropped.items())),
        ("time", f"{wall:.1f} s, {report.megapixels:,.1f} Mpx{speed}"),
        *(("output", output) for output in report.outputs),
        *(("warning", warning) for warning in report.warnings),
    ]
    if report.problems:
        first = report.problems[0]
        where = f"row {first.row}, col {first.col}"
        rows.append(("first failure", f"tile at {where}: {first.reason}: {first.message}"))
    return rows


def report_text(report: "JobReport") -> str:
    """A report as lines of text."""
    return lines(report_rows(report))


def report_html(report: "JobReport") -> str:
    """A report as an HTML table."""
    return html_table("daskmr result", report_rows(report))


def html_table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Names and values as an HTML table with a title."""
    body = "".join(
        f'<tr><th style="{_STYLE}">{escape(name)}</th>'
        f'<td style="{_STYLE}">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<div><strong>{escape(title)}</strong><table>{body}</table></div>"
