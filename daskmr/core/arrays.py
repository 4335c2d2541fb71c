"""Types of arrays that several packages use."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Real numbers."""
Index = NDArray[np.int64]
"""Numbers of rows of a table."""
Indices = NDArray[np.intp]
"""Positions in an array, as `numpy.flatnonzero` returns them."""
Mask = NDArray[np.bool_]
"""True for the elements that count."""
