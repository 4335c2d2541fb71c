"""ONNX detectors in the worker's own process."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_snake

from daskmr.core.imagery import Pixels
from daskmr.endpoints._boxes import Rules, answer, roles, split
from daskmr.endpoints.local import blamed, in_batches
from daskmr.errors import PermanentError, RequestError
from daskmr.registry import plugin

_LOCK = threading.RLock()
_RANK = 4
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}
_BYTE = 1 / 255

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@plugin
class OnnxModel:
    """A detector in an ONNX file, run by onnxruntime; nothing about it is guessed.

    The file is trusted as code is. Each process opens it once, on first use.
    """

    thread_safe: ClassVar[bool] = True

    path: str
    """The ``.onnx`` file, as every worker sees it."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes of the model's input."""
    bands: tuple[Count, ...] | None = None
    """Bands of the image in the model's order, from 1; None for all."""
    scale: float = _BYTE
    """What pixels are multiplied with; ``uint8`` input takes pixels as they are."""
    mean: tuple[float, ...] = ()
    """What is then subtracted from each band."""
    std: tuple[float, ...] = ()
    """What each band is then divided by."""
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    """Type of the model's input."""
    multiple: Count = 1
    """The input gets rows and columns of zeros at its end, up to a multiple of this."""
    boxes: Literal["xyxy", "yolo", "yolo_obb", "centernet", "masks"] = "xyxy"
    """Convention of the model's output."""
    score_threshold: Fraction = 0.25
    """Least score of a detection."""
    iou_threshold: Fraction = 0.5
    """Most overlap of two detections of a class in a tile, for ``yolo`` and ``yolo_obb``."""
    classes: tuple[str, ...] = ()
    """Names of class numbers."""
    max_detections: Count = 1000
    """Most detections of one tile, the best ones."""
    threads: Count = 1
    """Threads of one call of the model."""
    max_batch: Count = 1
    """Most tiles of one call of the model."""

    def __post_init__(self) -> None:
        """Refuse a file that is not there, and options that contradict each other."""
        problems = [f"{self.path}: {problem}" for problem in _problems(self)]
        if problems:
            raise RequestError(*problems)

    @property
    def name(self) -> str:
        """Name for messages and the report."""
        return f"onnx:{Path(self.path).name}"

    @classmethod
    def load(cls, path: str, **overrides: Any) -> Self:
        """The model in a file, with the options of the sidecar ``MODEL.json`` beside it.

        Parameters
        ----------
        path
            The ``.onnx`` file.
        overrides
            Options that win over the sidecar's.

        Raises
        ------
        RequestError
            When an option is unknown or wrong, or the model is not what the options say.
        """
        file = Path(path).absolute()
        sidecar = file.with_suffix(".json")
        said = _sidecar(sidecar) if sidecar.is_file() else {}
        where = f"{path} with {sidecar.name}" if said else path
        try:
            made: Self = TypeAdapter(cls).validate_python(said | overrides | {"path": str(file)})
        except ValidationError as error:
            found = ((".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
            raise RequestError(*(f"{where}: {key}: {text}" for key, text in found)) from None
        made.check()
        return made

    def check(self) -> None:
        """Open the model and compare its input and outputs with what is declared.

        Raises
        ------
        RequestError
            When they differ, or onnxruntime is missing.
        """
        _opened(self, _stamp(self.path))

    def detect(self, pixels: Pixels) -> Any:
        """What the model finds in one tile."""
        return self.detect_batch([pixels])[0]

    def detect_batch(self, tiles: Sequence[Pixels]) -> Sequence[Any]:
        """What the model finds in each tile, see `daskmr.endpoints.local.in_batches`.

        Parameters
        ----------
        tiles
            Of one shape; those of unlike shapes are asked about one by one.
        """
        return in_batches(self.name, self._ask, tiles, most=self.max_batch)

    def _ask(self, tiles: Sequence[Pixels]) -> list[Any]:
        with blamed(self.name):
            opened = _opened(self, _stamp(self.path))
            batch = np.stack([_tensor(self, opened, pixels) for pixels in tiles])
            said = opened.session.run([*opened.roles.values()], {opened.input: batch})
            outputs = dict(zip(opened.roles, said, strict=True))
            rules = self._rules(tiles[0].shape, batch.shape)
            return [answer(self.boxes, part, rules) for part in split(outputs, len(tiles))]

    def _rules(self, tile: tuple[int, ...], batch: tuple[int, ...]) -> Rules:
        height, width = batch[2:] if self.layout == "NCHW" else batch[1:3]
        return Rules(
            height=tile[1],
            width=tile[2],
            input_height=height,
            input_width=width,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_detections=self.max_detections,
            classes=self.classes,
        )


def _problems(model: OnnxModel) -> Iterator[str]:
    """What is wrong with the options, before the model is opened."""
    if not Path(model.path).is_file():
        yield "path: there is no such file"
    for key, values in (("mean", model.mean), ("std", model.std)):
        if values and model.bands is not None and len(values) != len(model.bands):
            yield f"{key}: {len(values)} values for {len(model.bands)} bands"
        if values and model.dtype == "uint8":
            yield f"{key}: {values} cannot be used with dtype uint8"
    if model.dtype == "uint8" and model.scale not in {1.0, _BYTE}:
        yield f"scale: {model.scale:g} cannot be used with dtype uint8"
    if 0.0 in model.std:
        yield f"std: {model.std} holds 0"
    if model.bands == ():
        yield "bands: none are given"


def _sidecar(file: Path) -> dict[str, Any]:
    """The options in a JSON file, in snake_case."""
    try:
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{file}: not JSON that can be read: {error}"
        raise RequestError(msg) from error
    if not isinstance(said, dict):
        msg = f"{file}: a JSON object of options is wanted, not a {type(said).__name__}"
        raise RequestError(msg)
    options = {to_snake(key): value for key, value in said.items()}
    if len(options) < len(said) or "path" in options:
        what = "names the model itself" if "path" in options else "gives an option twice"
        msg = f"{file}: {what}: {', '.join(said)}"
        raise RequestError(msg)
    return options


@dataclass(frozen=True, slots=True)
class _Opened:
    """A session, and what is known of the model."""

    session: Any
    input: str
    shape: Mapping[str, int | None]
    """Length of each axis (N, C, H, W) that the model fixes, else None."""
    roles: Mapping[str, str]
    """Names of outputs by role."""


def _stamp(path: str) -> tuple[int, int]:
    """Changes when the file does, so that nobody is answered by a model that was replaced."""
    found = Path(path).stat()
    return found.st_mtime_ns, found.st_size


def _opened(model: OnnxModel, stamp: tuple[int, int]) -> _Opened:
    with _LOCK:  # the first call of many threads opens it, the others wait
        return _examined(model, stamp)


@lru_cache(maxsize=16)
def _examined(model: OnnxModel, stamp: tuple[int, int]) -> _Opened:
    session = _session(model.path, model.threads, stamp)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        msg = f"{model.path}: one input is wanted, the model has {[one.name for one in inputs]}"
        raise RequestError(msg)
    given = inputs[0]
    if given.type != _TYPES[model.dtype] or len(given.shape) != _RANK:
        msg = (
            f"{model.path}: dtype {model.dtype} and layout {model.layout} are declared, but input"
            f" {given.name!r} is a {given.type} of shape {given.shape}"
        )
        raise RequestError(msg)
    lengths = [length if isinstance(length, int) else None for length in given.shape]
    shape = dict(zip(model.layout, lengths, strict=True))
    problems = [f"{model.path}: {problem}" for problem in _misfits(model, shape)]
    if problems:
        raise RequestError(*problems)
    try:
        found = roles(model.boxes, [output.name for output in session.get_outputs()])
    except ValueError as error:
        msg = f"{model.path}: boxes: {error}"
        raise RequestError(msg) from None
    return _Opened(session, given.name, shape, found)


def _misfits(model: OnnxModel, shape: Mapping[str, int | None]) -> Iterator[str]:
    """Where the model's input differs from what is declared."""
    batch, channels = shape["N"], shape["C"]
    if batch is not None and (batch != 1 or model.max_batch != 1):
        yield f"max_batch: {model.max_batch} is declared, but the model's batch is fixed at {batch}"
    declared = {"bands": model.bands or (), "mean": model.mean, "std": model.std}
    for key, values in declared.items():
        if values and channels is not None and len(values) != channels:
            yield (
                f"{key}: {len(values)} are declared with layout {model.layout}, but the model's"
                f" input has {channels} channels"
            )


@lru_cache(maxsize=4)
def _session(path: str, threads: int, stamp: tuple[int, int]) -> Any:
    """One for each process and file."""
    del stamp  # part of the key alone
    try:
        runtime = import_module("onnxruntime")
    except ImportError as error:
        msg = f"{path}: onnxruntime is missing; pip install 'daskmr[onnx]'"
        raise RequestError(msg) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    there = runtime.get_available_providers()
    wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in there]
    try:
        with blamed(path):
            return runtime.InferenceSession(path, options, providers=wanted)
    except PermanentError as error:
        msg = f"{path}: onnxruntime cannot open the model: {error.__cause__ or error}"
        raise RequestError(msg) from error


def _tensor(model: OnnxModel, opened: _Opened, pixels: Pixels) -> NDArray[Any]:
    """The model's input for one tile, without the axis of the batch."""
    chosen = _chosen(model, opened, pixels)
    if model.dtype != "uint8":
        chosen = np.multiply(chosen, model.scale, dtype=np.float32)
        for values, apply in ((model.mean, np.subtract), (model.std, np.divide)):
            if values:
                column = np.array(values, dtype=np.float32)[:, None, None]
                chosen = apply(chosen, column, dtype=np.float32)
    height, width = (-(-side // model.multiple) * model.multiple for side in chosen.shape[1:])
    for axis, side in (("H", height), ("W", width)):
        if opened.shape[axis] not in {None, side}:
            msg = (
                f"{model.name}: the model's input has shape {dict(opened.shape)}, but a tile of"
                f" {pixels.shape[1:]} with multiple={model.multiple} makes {height} x {width}"
            )
            raise PermanentError(msg, reason="MODEL_ERROR")
    padded = np.zeros((len(chosen), height, width), dtype=model.dtype)
    with np.errstate(over="raise"):  # float16 ends at 65504
        padded[:, : chosen.shape[1], : chosen.shape[2]] = chosen
    return padded if model.layout == "NCHW" else np.moveaxis(padded, 0, -1)


def _chosen(model: OnnxModel, opened: _Opened, pixels: Pixels) -> Pixels:
    """The bands that the model reads, if the image has them."""
    n_bands, channels, problem = len(pixels), opened.shape["C"], ""
    if model.bands and max(model.bands) > n_bands:
        problem = f"bands {model.bands} are declared, but the image has {n_bands}"
    elif model.bands is None and channels not in {None, n_bands}:
        problem = f"the model takes {channels} channels, but the image has {n_bands} bands"
    elif model.bands is None and {len(model.mean), len(model.std)} - {0, n_bands}:
        problem = f"mean {model.mean} and std {model.std}, but the image has {n_bands} bands"
    if not problem and model.dtype == "uint8" and pixels.dtype != np.uint8:
        problem = f"dtype uint8 is declared, but the image has {pixels.dtype} pixels"
    elif not problem and pixels.dtype.kind not in "biuf":
        problem = f"dtype {model.dtype} cannot hold {pixels.dtype} pixels of the image"
    if problem:
        msg = f"{model.name}: {problem}"
        raise PermanentError(msg, reason="MODEL_ERROR")
    return pixels if model.bands is None else pixels[[band - 1 for band in model.bands]]
