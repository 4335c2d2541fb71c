"""The report of a job as one page: outcomes of tiles, map of features, times."""

from collections.abc import Sequence
from html import escape
from typing import Any

import geopandas as gpd

from daskmr.core.report import Advice, JobReport, TileOutcome
from daskmr.image import Image
from daskmr.views.gallery import gallery_block
from daskmr.views.overview import Overview
from daskmr.views.page import Page, map_block, page

_MAX_PROBLEMS = 50


def report_page(
    report: JobReport,
    features: gpd.GeoDataFrame,
    *,
    picture: Overview | None = None,
    tiles: gpd.GeoDataFrame | None = None,
    image: Image | None = None,
) -> Page:
    """Return the report page of a job.

    Parameters
    ----------
    report
        The account of the job.
    features
        World table of the result.
    picture
        Picture of the image; None for none.
    tiles
        Tiles by status, in the plane of the features.
    image
        The image, for a gallery of features; None for none.
    """
    job, status = report.job_id, str(report.status)
    parts = [
        f"<h1>{escape(job)}: {escape(status)}</h1>{_summary(report)}",
        f"<h2>Map</h2>{map_block(features, picture, tiles=tiles)}",
        "<p>Tiles: green succeeded, red failed, gray skipped. Drag, scroll, click; + - 0.</p>",
        _failures(report.problems),
        _times(report),
        _advice(report.advice),
    ]
    if image is not None:
        parts.append(gallery_block(features, image, 12))
    return page(f"{job}: {status}", f"<main>{''.join(parts)}</main>", height=800)


def _summary(report: JobReport) -> str:
    outcomes = report.outcomes
    rows = [
        ("image", report.image),
        ("tiles", f"{report.n_tiles:,}"),
        *((f"tiles {status.lower()}", f"{n:,}") for status, n in sorted(outcomes.items())),
        *((f"because of {reason}", f"{n:,}") for reason, n in sorted(report.reasons.items())),
        ("features", f"{report.n_merged:,} after merging {report.n_features:,}"),
        *((f"dropped: {reason}", f"{n:,}") for reason, n in sorted(report.dropped.items())),
        *(("warning", warning) for warning in report.warnings),
        *(("output", output) for output in report.outputs),
    ]
    return _table(rows)


def _failures(problems: Sequence[TileOutcome]) -> str:
    if not problems:
        return ""
    rows = [
        (f"row {tile.row}, column {tile.col}", f"{tile.reason}: {tile.message}")
        for tile in problems[:_MAX_PROBLEMS]
    ]
    more = len(problems) - len(rows)
    tail = f"<p>and {more:,} more</p>" if more else ""
    return f"<h2>Failed tiles</h2>{_table(rows)}{tail}"


def _times(report: JobReport) -> str:
    percentiles = report.percentiles
    head = "<tr><th>stage</th><th>all, s</th><th>p50, s</th><th>p95, s</th></tr>"
    body = "".join(
        f'<tr><th>{escape(stage)}</th><td class="number">{seconds:,.2f}</td>'
        + "".join(
            f'<td class="number">{percentiles[stage][p]:,.4f}</td>'
            if stage in percentiles
            else "<td></td>"
            for p in ("p50", "p95")
        )
        + "</tr>"
        for stage, seconds in sorted(report.seconds.items())
    )
    return f"<h2>Time</h2><table>{head}{body}</table>"


def _advice(advice: Advice | None) -> str:
    if not advice:
        return ""
    sizes = ", ".join(f"{name} {value:.0f}" for name, value in advice.size_px.items())
    rows = [
        ("sizes of features in pixels", sizes),
        ("overlap that sees 99 % of them whole", str(advice.overlap)),
        ("tile size for it", str(advice.tile_size)),
    ]
    return f"<h2>Next time</h2>{_table(rows)}"


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    body = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<table>{body}</table>"
