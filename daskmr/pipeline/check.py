"""One tile sent to a model, and what to change when that fails."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmr.decode.symptoms import sentences
from daskmr.errors import RequestError, UnreachableError
from daskmr.pipeline.probe import Sample, probe
from daskmr.planning.make_plan import make_plan
from daskmr.planning.payload import fitting, limit
from daskmr.planning.plan import Plan
from daskmr.planning.settings import Settings
from daskmr.views.text import lines, size

_HINTS = {
    "BAD_RESPONSE": "if the model answers in another convention, name it: --answer-format",
    "CONNECT": "is the model server running, and its host and port right?",
    "HTTP_401": "give credentials in the configuration: daskmr.auth",
    "HTTP_403": "give credentials that may call this model: daskmr.auth",
    "HTTP_404": "is the path of the URL right? SageMaker containers serve /invocations",
    "HTTP_405": "is the path of the URL right? tiles are sent by POST",
    "HTTP_413": "send smaller tiles (--tile-size) or compress them (--tile-compression)",
    "HTTP_415": "send the format that the model reads: --tile-format",
    "HTTP_422": "send the format that the model reads: --tile-format",
    "HTTP_400": "the model refused the tile; does it read this --tile-format?",
    "HTTP_500": "the model failed on the tile; its own log says why",
    "HTTP_503": "the endpoint is busy or starting; try again, or lower --concurrency",
    "MODEL_ERROR": "the model raised; the message says what",
    "NO_CREDENTIALS": "configure AWS credentials",
    "PAYLOAD_TOO_LARGE": "send smaller tiles (--tile-size) or compress them (--tile-compression)",
    "TIMEOUT": "give the model more time (--timeout), or send smaller tiles (--tile-size)",
    "TLS": "is the certificate valid? name its authority: --endpoint-option ca_file=FILE",
    "TOO_LARGE": "the answer is too large; raise the model's score threshold",
    "VALIDATIONERROR": "the message says what SageMaker did not like",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Outcome of one tile that was sent to a model."""

    plan: Plan
    """The plan of the tile."""
    sample: Sample
    """Its outcome."""

    @property
    def is_well(self) -> bool:
        """Whether the model answered with features that can be used."""
        return not self.sample.reason and not self.sample.dropped

    @property
    def exit_code(self) -> int:
        """Exit status of the command line."""
        if self.sample.reason == "CONNECT":
            return UnreachableError.exit_code
        return 0 if self.is_well else 1

    def rows(self) -> list[tuple[str, str]]:
        """Return the outcome as names and values."""
        plan, sample = self.plan, self.sample
        rows = [("model", plan.model.name), ("tile", _described(plan))]
        if plan.is_remote:
            rows.append(("payload", _payload(plan, sample)))
        outcome = f"failed: {sample.reason}" if sample.reason else "answered"
        calls = "1 call" if sample.attempts == 1 else f"{sample.attempts} calls"
        rows.append(("status", f"{outcome} in {sample.seconds * 1000:,.0f} ms, {calls}"))
        if sample.reason:
            rows.append(("message", " ".join(sample.message.split())))
        else:
            labels = ", ".join(
                f"{n:,} x {label or '(no label)'}" for label, n in sample.labels.items()
            )
            total = f"{sample.labels.total():,}"
            rows.append(("features", f"{total}: {labels}" if labels else total))
        rows.extend(("dropped", f"{n:,} x {reason}") for reason, n in sample.dropped.items())
        rows.extend(("hint", hint) for hint in self.hints())
        return rows

    def hints(self) -> list[str]:
        """Return what to change."""
        rows = [_HINTS[self.sample.reason]] if self.sample.reason in _HINTS else []
        if self.sample.dropped or self.sample.reason == "UNREADABLE":
            rows.append("answer in tile pixels: x right, y down, (0, 0) the outer corner")
        odd = self.sample.symptoms
        return rows + sentences(dict.fromkeys(odd, 1), odd, 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        sample = self.sample
        return {
            "model": self.plan.model.name,
            "ok": self.is_well,
            "reason": sample.reason,
            "message": sample.message,
            "seconds": sample.seconds,
            "payloadBytes": sample.payload_bytes,
            "maxPayloadBytes": limit(self.plan.model),
            "features": dict(sample.labels),
            "dropped": dict(sample.dropped),
            "hints": self.hints(),
        }

    def __str__(self) -> str:
        return lines(self.rows())


def check(model: Any, image: Any = None, *, pixels: str = "3xuint8", **options: Any) -> Check:
    """Send one tile to a model.

    Parameters
    ----------
    model
        As for `daskmr.plan`.
    image
        Where the tile is cut from; noise of one tile when None.
    pixels
        Bands and type of the noise, ``"BANDSxTYPE"``.
    **options
        As for `daskmr.plan`.

    Raises
    ------
    RequestError
        When an option is wrong.
    """
    settings = Settings.of(options)
    plan = make_plan(_noise(settings, pixels) if image is None else image, model, settings)
    return Check(plan=plan, sample=probe(plan, 1).samples[0])


def _payload(plan: Plan, sample: Sample) -> str:
    settings = plan.settings
    text = f"{size(sample.payload_bytes)} of {settings.tile_format} {settings.tile_compression}"
    most = limit(plan.model)
    if most is None:
        return text
    text += f", limit {size(most)}"
    if sample.payload_bytes > most:
        text += f": too large, --tile-size {fitting(plan.info, most)} would fit"
    return text


def _described(plan: Plan) -> str:
    tile, info = plan.regions.grid.tile, plan.info
    width, height = min(tile.width, info.width), min(tile.height, info.height)
    return f"{width}x{height}, {info.bands} x {info.dtype}"


def _noise(settings: Settings, pixels: str) -> Any:
    """Return an image of one tile of noise, the same every time."""
    import xarray as xr

    bands, _, name = pixels.partition("x")
    try:
        shape = (int(bands), settings.tile_size.height, settings.tile_size.width)
        kind = np.dtype(name)
        values = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    except (TypeError, ValueError) as error:
        msg = f"pixels: {pixels!r} is not BANDSxTYPE, such as 3xuint8: {error}"
        raise RequestError(msg) from None
    return xr.DataArray(values, dims=("band", "y", "x"), name="noise")
