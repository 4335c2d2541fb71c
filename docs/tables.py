"""Pages of reference that are made from the code, so that they cannot be out of date."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """Write the tables before Sphinx looks for pages."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}


def _write(app: Any) -> None:
    folder = Path(app.srcdir) / "reference" / "made"
    folder.mkdir(exist_ok=True)
    for name, lines in {"metrics": _metrics(), "errors": _errors(), "plugins": _plugins()}.items():
        text = "\n".join(lines) + "\n"
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _metrics() -> Iterator[str]:
    from daskmr.status._metrics import METRICS, NAMESPACE

    yield f"Namespace in CloudWatch: `{NAMESPACE}`."
    yield ""
    yield "| metric | unit | adds up as | Prometheus |"
    yield "|---|---|---|---|"
    for metric, row in METRICS.items():
        yield f"| `{metric}` | {row.unit} | {row.kind} | `{row.prometheus}` |"


def _errors() -> Iterator[str]:
    from daskmr import errors

    yield "| error | is a | exit status | what it means |"
    yield "|---|---|---|---|"
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.DaskmrError):
            words = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
            yield f"| `{name}` | `{kind.__base__.__name__}` | {kind.exit_code} | {words} |"


def _plugins() -> Iterator[str]:
    from daskmr.clusters import CLUSTERS
    from daskmr.encode import ENCODERS
    from daskmr.geolocate import SENSOR_MODELS
    from daskmr.merge import MERGES
    from daskmr.sinks import SINKS
    from daskmr.status import STATUS

    yield "| kind | group of entry points | built in |"
    yield "|---|---|---|"
    for registry in (ENCODERS, MERGES, SINKS, SENSOR_MODELS, STATUS, CLUSTERS):
        names = ", ".join(f"`{name}`" for name in registry.builtin)
        yield f"| {registry.kind} | `daskmr.{registry.kind.replace(' ', '_')}` | {names} |"
