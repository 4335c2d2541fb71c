"""Temporary files of the driver: a folder that ends with its block; what a full disk raises."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daskmr.errors import StoreError


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a new folder among the temporary files of this machine; it is gone afterwards.

    Raises
    ------
    StoreError
        When it cannot be made.
    """
    with writing_scratch(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix="daskmr-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing_scratch(folder: Path) -> Iterator[None]:
    """Raise what the disk refuses in a block that writes temporary files as a StoreError."""
    try:
        yield
    except OSError as error:
        msg = f"{folder}: cannot write temporary files (TMPDIR names another place): {error}"
        raise StoreError(msg) from error
