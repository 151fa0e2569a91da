"""The folder of real data, which CI names; a test that needs it is skipped elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def real_data(path: str = "") -> Path:
    """A file or folder of the real data. Skips the test where CATALUNYA_REAL_DATA is not set."""
    folder = os.environ.get("CATALUNYA_REAL_DATA")
    if not folder:
        pytest.skip("CATALUNYA_REAL_DATA does not name the folder of real samples")
    return Path(folder, path)
