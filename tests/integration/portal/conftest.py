"""The site built from a lake in which everything was made, once for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.lake import Lake
from catalunya.portal.build import build
from catalunya.portal.site import read_site
from small.browser import chromium
from small.once import once
from small.patience import patience
from small.reading import served


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory, made: Path, compiled: Path) -> Path:
    """The folder of a built site. Tests only read it."""

    def make(folder: Path) -> None:
        shutil.copytree(made, folder / "lake")
        project = Project(load_settings(env="local", lake=str(folder / "lake"), cache=compiled))
        build(read_site(project), Lake(str(folder / "site")))

    return once(tmp_path_factory, "portal", make) / "site"


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
