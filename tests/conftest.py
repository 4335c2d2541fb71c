"""Settings for every test."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "daskmr", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("daskmr")


@pytest.fixture(scope="session")
def imagery() -> Path:
    """Folder of real imagery named by DASKMR_IMAGERY; skips, visibly, without it."""
    folder = os.environ.get("DASKMR_IMAGERY")
    if not folder:
        pytest.skip("DASKMR_IMAGERY names no folder of real imagery")
    return Path(folder)
