"""Rows of names and values as text and HTML; reports, sizes and durations as text."""

from collections.abc import Sequence
from html import escape

from daskmr.core.report import JobReport

_STYLE = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"


def size(n_bytes: float) -> str:
    """Return a number of bytes as text, in the format of Model Runner.

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


def lines(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values as text, one pair a line."""
    return "\n".join(f"{name + ':':<16}{value}" for name, value in rows)


def duration(seconds: float) -> str:
    """Return a duration in seconds as text.

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


def report_rows(report: JobReport) -> list[tuple[str, str]]:
    """Return a report as rows of names and values."""
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
        *(("note", note) for note in report.notes),
        *(("warning", warning) for warning in report.warnings),
    ]
    if report.problems:
        first = report.problems[0]
        position = f"row {first.row}, col {first.col}"
        rows.append(("first failure", f"tile at {position}: {first.reason}: {first.message}"))
    return rows


def report_text(report: JobReport) -> str:
    """Return a report as lines of text."""
    return lines(report_rows(report))


def report_html(report: JobReport) -> str:
    """Return a report as an HTML table."""
    return html_table("daskmr result", report_rows(report))


def html_table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values as an HTML table with a title."""
    body = "".join(
        f'<tr><th style="{_STYLE}">{escape(name)}</th>'
        f'<td style="{_STYLE}">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<div><strong>{escape(title)}</strong><table>{body}</table></div>"
