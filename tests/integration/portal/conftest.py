"""The site built from a lake in which everything was made, once for all tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.lake import Lake
from catalunya.portal.build import build
from catalunya.portal.site import read_site
from small.once import once


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory, made: Path, compiled: Path) -> Path:
    """The folder of a built site. Tests only read it."""

    def make(folder: Path) -> None:
        shutil.copytree(made, folder / "lake")
        project = Project(load_settings(env="local", lake=str(folder / "lake"), cache=compiled))
        build(read_site(project), Lake(str(folder / "site")))

    return once(tmp_path_factory, "portal", make) / "site"
