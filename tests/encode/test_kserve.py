"""Tiles as requests of KServe V2; Triton's own client is the oracle."""

import json
from typing import Any

import numpy as np
import pytest

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import Pixels
from daskmr.encode import encoder
from daskmr.encode.kserve import JSON_BYTES, KserveEncoder
from daskmr.errors import EncodeError, RequestError
from daskmr.testing.contracts_encode import DTYPES, EncoderContract, image, noise

WINDOW = Window(row=120, col=300, height=4, width=5)
SHAPE = (3, 4, 5)
NUMPY = {
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def parts(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the tensor of a request."""
    request: dict[str, Any] = json.loads(payload[:JSON_BYTES])
    return request, payload[JSON_BYTES:]


def tensor(payload: bytes) -> Pixels:
    """The input of a request, shape (1, ...)."""
    request, raw = parts(payload)
    said = request["inputs"][0]
    assert said["parameters"] == {"binary_data_size": len(raw)}
    pixels: Pixels = np.frombuffer(raw, NUMPY[said["datatype"]]).reshape(said["shape"])
    return pixels


def first(payload: bytes) -> Pixels:
    """The only tile of a request."""
    found: Pixels = tensor(payload)[0]
    return found


class TestKserve(EncoderContract):
    content_type = "application/vnd.sagemaker-triton.binary+json;json-header-size=1024"

    def make(self) -> KserveEncoder:
        return KserveEncoder()

    def decode(self, payload: bytes) -> Pixels:
        return first(payload)


class TestKserveChannelsLast(TestKserve):
    def make(self) -> KserveEncoder:
        return KserveEncoder(layout="NHWC", outputs=("boxes",))

    def decode(self, payload: bytes) -> Pixels:
        return np.moveaxis(first(payload), -1, 0)


@pytest.mark.parametrize("outputs", [(), ("boxes", "scores")])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.startswith("complex")])
def test_the_request_is_what_tritons_client_makes(
    dtype: str, layout: Any, outputs: tuple[str, ...]
) -> None:
    client = pytest.importorskip("tritonclient.http")
    pixels = noise(dtype, SHAPE)
    made = KserveEncoder(layout=layout, outputs=outputs, input="some input")
    request, raw = parts(made.encode(pixels, image(dtype), WINDOW))
    ordered = pixels if layout == "NCHW" else np.moveaxis(pixels, 0, -1)
    batch = np.ascontiguousarray(ordered)[None]
    wanted = client.InferInput("some input", batch.shape, request["inputs"][0]["datatype"])
    wanted.set_data_from_numpy(batch, binary_data=True)
    asked = [client.InferRequestedOutput(name, binary_data=True) for name in outputs]
    body, size = client.InferenceServerClient.generate_request_body([wanted], outputs=asked)
    assert request == json.loads(body[:size])
    assert raw == body[size:]


def test_the_json_is_filled_up_with_spaces() -> None:
    payload = KserveEncoder().encode(noise("uint8", SHAPE), image(), WINDOW)
    assert payload[:11] == b'{"inputs":['
    assert payload[JSON_BYTES - 500 : JSON_BYTES] == b" " * 500
    assert len(payload) == JSON_BYTES + 60


def test_the_length_is_known_exactly() -> None:
    pixels, tile = noise("uint8", (3, 7, 9)), Size(height=7, width=9)
    for dtype, itemsize in (("image", 1), ("UINT8", 1), ("FP16", 2), ("FP32", 4)):
        made = encoder("kserve", options={"dtype": dtype})
        payload = made.encode(pixels, image(), WINDOW)
        assert len(payload) == made.payload_bytes(image(), tile) == JSON_BYTES + 189 * itemsize


def test_pixels_are_scaled_in_single_precision() -> None:
    pixels = noise("uint16", SHAPE)
    wide = tensor(KserveEncoder(dtype="FP32", scale=0.1).encode(pixels, image("uint16"), WINDOW))
    assert wide.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(wide[0], pixels.astype(np.float32) * np.float32(0.1))
    half = tensor(KserveEncoder(dtype="FP16", scale=0.1).encode(pixels, image("uint16"), WINDOW))
    np.testing.assert_array_equal(half, wide.astype(np.float16))


def test_numbers_that_half_precision_cannot_hold_are_refused() -> None:
    pixels = np.full(SHAPE, 65_535, dtype=np.uint16)
    with pytest.raises(EncodeError, match=r"row 120, column 300 .* do not fit FP16"):
        KserveEncoder(dtype="FP16").encode(pixels, image("uint16"), WINDOW)


def test_pixels_of_the_other_byte_order_are_turned() -> None:
    pixels = noise("uint16", SHAPE)
    plain = KserveEncoder().encode(pixels, image("uint16"), WINDOW)
    assert KserveEncoder().encode(pixels.astype(">u2"), image("uint16"), WINDOW) == plain


def test_a_mask_is_carried_as_truths() -> None:
    pixels = noise("uint8", SHAPE) > 100
    request, raw = parts(KserveEncoder().encode(pixels, image("bool"), WINDOW))
    assert request["inputs"][0]["datatype"] == "BOOL"
    assert raw == pixels.tobytes()


@pytest.mark.parametrize(
    ("made", "dtype", "message"),
    [
        (KserveEncoder(), "complex64", "complex64 pixels"),
        (KserveEncoder(dtype="FP32"), "complex128", "complex128 pixels"),
        (KserveEncoder(dtype="UINT8"), "uint16", "KSERVE with dtype UINT8 .* uint16 pixels"),
        (KserveEncoder(scale=0.5), "uint8", "scale 0.5 needs dtype FP32 or FP16, not image"),
        (KserveEncoder(input="x" * 900), "uint8", "1024 bytes of JSON, but input 'xxx.* make 10"),
    ],
)
def test_what_cannot_be_carried_is_refused_at_once(
    made: KserveEncoder, dtype: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        made.check(image(dtype))


def test_json_that_became_too_long_is_not_sent() -> None:
    made = KserveEncoder(outputs=("y" * 1000,))
    with pytest.raises(EncodeError, match=r"row 120, column 300 .* bytes of JSON"):
        made.encode(noise("uint8", SHAPE), image(), WINDOW)


def test_the_longest_json_that_fits_is_sent_whole() -> None:
    pixels, info = np.zeros((3, 500, 900), np.uint8), image()  # one tile: the whole image
    window = Window(row=0, col=0, height=500, width=900)
    short = KserveEncoder(input="x").encode(pixels, info, window)
    length = JSON_BYTES - len(short[:JSON_BYTES].rstrip()) + 1
    made = KserveEncoder(input="x" * length)
    made.check(info)
    assert made.encode(pixels, info, window)[JSON_BYTES - 1 : JSON_BYTES] == b"}"
    with pytest.raises(RequestError, match="1025"):
        KserveEncoder(input="x" * (length + 1)).check(info)


def test_options_are_named_by_a_request() -> None:
    options = {"input": "in", "layout": "NHWC", "dtype": "FP32", "scale": 0.5, "outputs": ["out"]}
    wanted = KserveEncoder(input="in", layout="NHWC", dtype="FP32", scale=0.5, outputs=("out",))
    assert encoder("KServe", options=options) == wanted
    assert encoder("KSERVE", options={}) == KserveEncoder()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("KSERVE", {"names": "x"}),
        ("KSERVE", {"layout": "NCWH"}),
        ("KSERVE", {"input": ""}),
        ("PNG", {"layout": "NCHW"}),
        ("GTIFF", {"compression": "LZW"}),
    ],
)
def test_options_that_a_format_does_not_take_are_refused_by_name(
    name: str, options: dict[str, object]
) -> None:
    with pytest.raises(RequestError, match=next(iter(options))):
        encoder(name, options=options)


def test_an_option_may_stand_beside_a_compression() -> None:
    with pytest.raises(RequestError, match="level"):
        encoder("GTIFF", "LZW", {"level": 3})
    assert encoder("GTIFF", "LZW", {}) == encoder("GTIFF", "LZW")
