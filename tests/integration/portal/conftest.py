"""The built site, served, and the browser that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small.browser import chromium
from small.patience import patience
from small.reading import served


@pytest.fixture(scope="session")
def site_url(portal: Path) -> Iterator[str]:
    """The address of that site, served on this machine."""
    with served(portal) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests of a module."""
    from playwright.sync_api import expect

    expect.set_options(timeout=patience(30) * 1000)
    with chromium() as found:
        yield found
