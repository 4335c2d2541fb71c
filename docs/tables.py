"""Pages of reference that are made from the code, so that they cannot be out of date."""

import json
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
    pages = {
        "metrics": _metrics(), "errors": _errors(), "plugins": _plugins(), "settings": _settings(),
    }  # fmt: skip
    for name, lines in pages.items():
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


def _settings() -> Iterator[str]:
    from daskmr.configuration import SECTION, Configuration

    yield "| key | default | |"
    yield "|---|---|---|"
    defaults = Configuration().model_dump(mode="json", by_alias=True)
    for field, (name, value) in zip(
        Configuration.model_fields.values(), defaults.items(), strict=True
    ):
        yield f"| `{SECTION}.{name}` | `{json.dumps(value)}` | {field.description} |"


def _plugins() -> Iterator[str]:
    from daskmr.clusters import CLUSTERS
    from daskmr.encode import ENCODERS
    from daskmr.endpoints import ENDPOINTS
    from daskmr.geolocate import SENSOR_MODELS, ranks
    from daskmr.merge import MERGES
    from daskmr.sinks import SINKS
    from daskmr.status import STATUS

    yield "| kind | group of entry points | built in |"
    yield "|---|---|---|"
    for registry in (ENCODERS, ENDPOINTS, MERGES, SINKS, SENSOR_MODELS, STATUS, CLUSTERS):
        names = ", ".join(f"`{name}`" for name in registry.builtin)
        if registry is SENSOR_MODELS:
            order = ranks()
            names = ", ".join(f"`{name}` ({order[name]:g})" for name in registry.builtin)
        yield f"| {registry.kind} | `daskmr.{registry.kind.replace(' ', '_')}` | {names} |"
