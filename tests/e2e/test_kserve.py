"""A KServe V2 server: tensors there, tensors back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

import daskmr
from daskmr.testing.images import write_image
from daskmr.testing.servers import serving


async def detector(request: web.Request, _number: int) -> web.StreamResponse:
    """Answers the box of pixels above 200 in the first band, as binary tensors."""
    body = await request.read()
    length = int(request.headers["Inference-Header-Content-Length"])
    (tensor,) = json.loads(body[:length])["inputs"]
    assert tensor["name"] == "images"
    assert tensor["parameters"]["binary_data_size"] == len(body) - length
    kind = {"UINT8": "u1", "FP32": "<f4"}[tensor["datatype"]]
    pixels = np.frombuffer(body[length:], kind).reshape(tensor["shape"])
    rows, cols = (pixels[0, 0] > (200 if kind == "u1" else 200 / 255)).nonzero()
    boxes = np.empty((0, 4), "<f4")
    if len(rows):
        boxes = np.array([[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]], "<f4")
    scores = np.full(len(boxes), 0.75, "<f4")
    tensors = {"detection_boxes": boxes[None], "detection_scores": scores[None]}
    outputs = [
        {
            "name": name, "datatype": "FP32", "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in tensors.items()
    ]  # fmt: skip
    head = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    return web.Response(
        body=head + b"".join(array.tobytes() for array in tensors.values()),
        headers={
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
        },
    )


@pytest.mark.parametrize("options", [{}, {"dtype": "FP32", "scale": 1 / 255}])
def test_a_detector_behind_v2_finds_what_is_there(
    tmp_path: Path, client: Any, options: dict[str, Any]
) -> None:
    pixels = np.zeros((3, 128, 128), np.uint8)
    pixels[0, 70:80, 100:110] = 250
    image = write_image(tmp_path / "a.tif", pixels)
    with serving(detector) as server:
        result = daskmr.run(
            image, server.url, tile_size=64, overlap=0, tile_format="KSERVE",
            tile_options=options, client=client,
        )  # fmt: skip
    assert result.report.outcomes == {"SUCCEEDED": 4}
    (row,) = result.features.itertuples()
    assert row.image_bbox == (100, 70, 110, 80)
    assert row.score == 0.75
