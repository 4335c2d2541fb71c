"""Encode tiles as KServe V2 (Open Inference Protocol) requests with a raw tensor."""

import json
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._limits import require
from daskmr.errors import EncodeError, RequestError
from daskmr.registry import plugin

JSON_BYTES = 1024
"""Length of the JSON, padded with spaces, since the media type contains it."""

_NAMES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
_CARRIED = {"FP32": "float32", "FP16": "float16", "UINT8": "uint8"}

Name = Annotated[str, Field(min_length=1)]


@plugin
class KserveEncoder:
    """A KServe V2 inference request with one input, a batch of one tile."""

    content_type: ClassVar[str] = (
        f"application/vnd.sagemaker-triton.binary+json;json-header-size={JSON_BYTES}"
    )

    input: Name = "images"
    """Name of the model's input."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes of the input."""
    dtype: Literal["image", "FP32", "FP16", "UINT8"] = "image"
    """Data type of the input; ``image`` for that of the image."""
    scale: float = 1.0
    """Factor of the pixels, for FP32 and FP16 only."""
    outputs: tuple[Name, ...] = ()
    """Names of the requested outputs; all when empty."""

    def check(self, info: ImageInfo) -> None:
        """Raise for pixel types that the protocol lacks, and for a JSON that is too long.

        Raises
        ------
        RequestError
            Names the option or type that is not supported.
        """
        dtypes = ("uint8",) if self.dtype == "UINT8" else tuple(_NAMES)
        instead = "dtype FP32 or NPY" if self.dtype == "UINT8" else "NPY"
        require(info, f"KSERVE with dtype {self.dtype}", dtypes=dtypes, instead=instead)
        if self.scale != 1.0 and self.dtype not in {"FP32", "FP16"}:
            msg = f"{info.url}: scale {self.scale:g} needs dtype FP32 or FP16, not {self.dtype}"
            raise RequestError(msg)
        shape = (info.bands, info.height, info.width)  # no tile is larger
        n_bytes = len(self._request(shape, self._carried(info.dtype)))
        if n_bytes > JSON_BYTES:
            msg = (
                f"{info.url}: KSERVE has room for {JSON_BYTES} bytes of JSON, but input"
                f" {self.input!r} and outputs {', '.join(self.outputs)!r} make {n_bytes}"
            )
            raise RequestError(msg)

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the size of the JSON and of the tensor, bytes."""
        itemsize = self._carried(info.dtype).itemsize
        return JSON_BYTES + info.bands * tile.height * tile.width * itemsize

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the JSON and the tensor, which is little-endian in C order."""
        dtype = self._carried(pixels.dtype.name)
        header = self._request(pixels.shape, dtype).ljust(JSON_BYTES)
        if len(header) > JSON_BYTES:
            msg = f"{_place(info, window)}: {len(header)} bytes of JSON, more than {JSON_BYTES}"
            raise EncodeError(msg)
        try:
            tensor = self._tensor(pixels, dtype)
        except FloatingPointError as error:
            msg = f"{_place(info, window)}: pixels times {self.scale:g} do not fit {self.dtype}"
            raise EncodeError(msg) from error
        return b"".join([header, tensor.data])

    def _carried(self, dtype: str) -> np.dtype[Any]:
        """Return the type of the tensor for pixels of a type."""
        return np.dtype(_CARRIED.get(self.dtype, dtype)).newbyteorder("<")

    def _tensor(self, pixels: Pixels, dtype: np.dtype[Any]) -> NDArray[Any]:
        if self.scale != 1.0:
            with np.errstate(over="raise"):
                pixels = np.multiply(pixels, self.scale, dtype=np.float32)
        ordered = pixels if self.layout == "NCHW" else np.moveaxis(pixels, 0, -1)
        with np.errstate(over="raise"):
            return np.ascontiguousarray(ordered, dtype=dtype)

    def _request(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
        """Return the JSON of the request in the form of tritonclient."""
        bands, height, width = shape
        axes = [bands, height, width] if self.layout == "NCHW" else [height, width, bands]
        n_bytes = bands * height * width * dtype.itemsize
        tensor = {
            "name": self.input,
            "shape": [1, *axes],
            "datatype": _NAMES.get(dtype.name, dtype.name),
            "parameters": {"binary_data_size": n_bytes},
        }
        request: dict[str, Any] = {"inputs": [tensor]}
        if self.outputs:
            binary = {"binary_data": True}
            request["outputs"] = [{"name": name, "parameters": binary} for name in self.outputs]
        else:
            request["parameters"] = {"binary_data_output": True}
        return json.dumps(request, separators=(",", ":")).encode()


def _place(info: ImageInfo, window: Window) -> str:
    return f"{info.url}: tile at row {window.row}, column {window.col} as KSERVE"
