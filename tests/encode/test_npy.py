import io

import numpy as np
import pytest

from daskmr.core.grid import Window
from daskmr.encode.npy import NpyEncoder
from daskmr.errors import EncodeError
from daskmr.testing.contracts_encode import DTYPES, EncoderContract, image, noise

WINDOW = Window(row=120, col=300, height=4, width=5)


class TestNpy(EncoderContract):
    content_type = "application/x-npy"

    def make(self) -> NpyEncoder:
        return NpyEncoder()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_is_carried(dtype: str) -> None:
    NpyEncoder().check(image(dtype, 200))
    pixels = noise(dtype, (2, 4, 5))
    found = np.load(io.BytesIO(NpyEncoder().encode(pixels, image(dtype, 2), WINDOW)))
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, pixels)


def test_rows_come_in_c_order() -> None:
    pixels = np.asfortranarray(noise("uint8", (3, 4, 5)))
    payload = NpyEncoder().encode(pixels, image(), WINDOW)
    assert b"'fortran_order': False" in payload
    assert payload.endswith(pixels.tobytes(order="C"))


def test_objects_are_never_pickled() -> None:
    pixels = np.full((1, 4, 5), None, dtype=object)
    with pytest.raises(EncodeError, match=r"row 120, column 300 cannot be written as NPY"):
        NpyEncoder().encode(pixels, image(bands=1), WINDOW)
