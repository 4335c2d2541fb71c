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
from daskmr.endpoints._boxes import DecodeOptions, decode_outputs, output_roles, split_batch
from daskmr.endpoints.local import detect_in_batches, model_error
from daskmr.errors import PermanentError, RequestError
from daskmr.registry import plugin
from daskmr.validation import dotted, sentences

_LOCK = threading.RLock()
_RANK = 4
_TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}
_BYTE = 1 / 255

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


@plugin
class OnnxModel:
    """A detector in an ONNX file, run by onnxruntime; its options are declared, never guessed.

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
    """Factor of the pixels; ``uint8`` input takes pixels as they are."""
    mean: tuple[float, ...] = ()
    """Mean of each band, subtracted after scaling."""
    std: tuple[float, ...] = ()
    """Standard deviation of each band, the divisor after subtraction."""
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    """Type of the model's input."""
    multiple: Count = 1
    """Divisor of the input's height and width: zeros pad its bottom and right."""
    boxes: Literal["xyxy", "yolo", "yolo_obb", "centernet", "masks"] = "xyxy"
    """Convention of the model's output."""
    score_threshold: Fraction = 0.25
    """Minimum score of a detection."""
    iou_threshold: Fraction = 0.5
    """Maximum overlap of two detections of a class in a tile, for ``yolo`` and ``yolo_obb``."""
    classes: tuple[str, ...] = ()
    """Names of class numbers."""
    max_detections: Count = 1000
    """Maximum detections of one tile, the best ones."""
    threads: Count = 1
    """Threads of one call of the model."""
    max_batch: Count = 1
    """Maximum tiles of one call of the model."""

    def __post_init__(self) -> None:
        """Raise for a missing file, or options that contradict each other."""
        problems = [f"{self.path}: {problem}" for problem in _problems(self)]
        if problems:
            raise RequestError(*problems)

    @property
    def name(self) -> str:
        """Name for messages and the report."""
        return f"onnx:{Path(self.path).name}"

    @classmethod
    def load(cls, path: str, **overrides: Any) -> Self:
        """Open the model of a file, with the options of the sidecar ``MODEL.json`` beside it.

        Parameters
        ----------
        path
            The ``.onnx`` file.
        overrides
            Options that take precedence over the sidecar's.

        Raises
        ------
        RequestError
            When an option is unknown or wrong, or the model is not what the options say.
        """
        file = Path(path).absolute()
        sidecar = file.with_suffix(".json")
        options = _read_sidecar(sidecar) if sidecar.is_file() else {}
        source = f"{path} with {sidecar.name}" if options else path
        try:
            model: Self = TypeAdapter(cls).validate_python(
                options | overrides | {"path": str(file)}
            )
        except ValidationError as error:
            raise RequestError(
                *sentences(error, lambda place: f"{source}: {dotted(place)}")
            ) from None
        model.check()
        return model

    def check(self) -> None:
        """Open the model and compare its input and outputs with the declared options.

        Raises
        ------
        RequestError
            When they differ, or onnxruntime is missing.
        """
        _open_once(self, _file_version(self.path))

    def detect(self, pixels: Pixels) -> Any:
        """Return the detections in one tile."""
        return self.detect_batch([pixels])[0]

    def detect_batch(self, tiles: Sequence[Pixels]) -> Sequence[Any]:
        """Return the detections in each tile, see `daskmr.endpoints.local.detect_in_batches`.

        Parameters
        ----------
        tiles
            Tiles of one shape; tiles of different shapes are sent one by one.
        """
        return detect_in_batches(self.name, self._call, tiles, max_batch=self.max_batch)

    def _call(self, tiles: Sequence[Pixels]) -> list[Any]:
        with model_error(self.name):
            opened = _open_once(self, _file_version(self.path))
            batch = np.stack([_tensor(self, opened, pixels) for pixels in tiles])
            values = opened.session.run([*opened.roles.values()], {opened.input: batch})
            outputs = dict(zip(opened.roles, values, strict=True))
            options = self._decode_options(tiles[0].shape, batch.shape)
            parts = split_batch(outputs, len(tiles))
            return [decode_outputs(self.boxes, part, options) for part in parts]

    def _decode_options(self, tile: tuple[int, ...], batch: tuple[int, ...]) -> DecodeOptions:
        height, width = batch[2:] if self.layout == "NCHW" else batch[1:3]
        return DecodeOptions(
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
    """Yield the problems of the options, before the model is opened."""
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
        yield "bands: none are listed"


def _read_sidecar(file: Path) -> dict[str, Any]:
    """Return the options in a JSON file, in snake_case."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{file}: not JSON that can be read: {error}"
        raise RequestError(msg) from error
    if not isinstance(content, dict):
        msg = f"{file}: a JSON object of options is wanted, not a {type(content).__name__}"
        raise RequestError(msg)
    options = {to_snake(key): value for key, value in content.items()}
    if len(options) < len(content) or "path" in options:
        problem = "names the model itself" if "path" in options else "gives an option twice"
        msg = f"{file}: {problem}: {', '.join(content)}"
        raise RequestError(msg)
    return options


@dataclass(frozen=True, slots=True)
class _OpenModel:
    """An onnxruntime session and the model's signature."""

    session: Any
    input: str
    shape: Mapping[str, int | None]
    """Fixed length of each axis (N, C, H, W), None for a dynamic one."""
    roles: Mapping[str, str]
    """Names of outputs by role."""


def _file_version(path: str) -> tuple[int, int]:
    """Return a key that changes with the file, so that a replaced model is opened again."""
    stat = Path(path).stat()
    return stat.st_mtime_ns, stat.st_size


def _open_once(model: OnnxModel, version: tuple[int, int]) -> _OpenModel:
    with _LOCK:  # the first call of many threads opens it, the others wait
        return _open(model, version)


@lru_cache(maxsize=16)
def _open(model: OnnxModel, version: tuple[int, int]) -> _OpenModel:
    session = _start_session(model.path, model.threads, version)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        msg = f"{model.path}: one input is wanted, the model has {[one.name for one in inputs]}"
        raise RequestError(msg)
    tensor = inputs[0]
    if tensor.type != _TYPES[model.dtype] or len(tensor.shape) != _RANK:
        msg = (
            f"{model.path}: dtype {model.dtype} and layout {model.layout} are declared, but input"
            f" {tensor.name!r} is a {tensor.type} of shape {tensor.shape}"
        )
        raise RequestError(msg)
    lengths = [length if isinstance(length, int) else None for length in tensor.shape]
    shape = dict(zip(model.layout, lengths, strict=True))
    problems = [f"{model.path}: {problem}" for problem in _mismatches(model, shape)]
    if problems:
        raise RequestError(*problems)
    try:
        roles = output_roles(model.boxes, [output.name for output in session.get_outputs()])
    except ValueError as error:
        msg = f"{model.path}: boxes: {error}"
        raise RequestError(msg) from None
    return _OpenModel(session, tensor.name, shape, roles)


def _mismatches(model: OnnxModel, shape: Mapping[str, int | None]) -> Iterator[str]:
    """Yield the differences of the model's input from the declared options."""
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
def _start_session(path: str, threads: int, version: tuple[int, int]) -> Any:
    """Create the session of a file; one for each process, file and version."""
    del version  # part of the key alone
    try:
        runtime = import_module("onnxruntime")
    except ImportError as error:
        msg = f"{path}: onnxruntime is missing; pip install 'daskmr[onnx]'"
        raise RequestError(msg) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    available = runtime.get_available_providers()
    providers = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in available]
    try:
        with model_error(path):
            return runtime.InferenceSession(path, options, providers=providers)
    except PermanentError as error:
        msg = f"{path}: onnxruntime cannot open the model: {error.__cause__ or error}"
        raise RequestError(msg) from error


def _tensor(model: OnnxModel, opened: _OpenModel, pixels: Pixels) -> NDArray[Any]:
    """Return the model's input for one tile, without the batch axis."""
    values = _select_bands(model, opened, pixels)
    if model.dtype != "uint8":
        values = np.multiply(values, model.scale, dtype=np.float32)
        for by_band, apply in ((model.mean, np.subtract), (model.std, np.divide)):
            if by_band:
                column = np.array(by_band, dtype=np.float32)[:, None, None]
                values = apply(values, column, dtype=np.float32)
    height, width = (-(-side // model.multiple) * model.multiple for side in values.shape[1:])
    for axis, side in (("H", height), ("W", width)):
        if opened.shape[axis] not in {None, side}:
            msg = (
                f"{model.name}: the model's input has shape {dict(opened.shape)}, but a tile of"
                f" {pixels.shape[1:]} with multiple={model.multiple} makes {height} x {width}"
            )
            raise PermanentError(msg, reason="MODEL_ERROR")
    padded = np.zeros((len(values), height, width), dtype=model.dtype)
    with np.errstate(over="raise"):  # float16 ends at 65504
        padded[:, : values.shape[1], : values.shape[2]] = values
    return padded if model.layout == "NCHW" else np.moveaxis(padded, 0, -1)


def _select_bands(model: OnnxModel, opened: _OpenModel, pixels: Pixels) -> Pixels:
    """Return the bands that the model reads; raise if the image does not have them."""
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
