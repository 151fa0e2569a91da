"""The built site, served, and the browser that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small.browser import chromium
from small.patience import patience
from small.reading import DESKTOP, Reader, reader, served


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


@pytest.fixture(scope="module")
def window(browser: Any, site_url: str) -> Iterator[Reader]:
    """One window for all tests of a module, which keeps what it has loaded. Tests take `found`."""
    with reader(browser, site_url) as opened:
        yield opened


@pytest.fixture
def found(window: Reader) -> Iterator[Reader]:
    """That window, as wide as a desktop's. There must be no problem in it."""
    window.resize(DESKTOP)
    window.page.emulate_media(media="null", color_scheme="light")
    yield window
    problems, window.problems = window.problems, []
    assert problems == []
