"""Fixtures of the integration tests: one AWS (moto), started once, a lake in which everything was made, and the site built from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.lake import Lake
from catalunya.ops.mock import serve
from catalunya.portal.build import build
from catalunya.portal.site import read_site
from small.aws import aws, bucket, shared_aws
from small.once import once
from small.warehouse import import_dbt

__all__ = ["aws", "bucket", "shared_aws"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Path:
    """A lake in which everything was made, from a mock with 300 rows. Tests copy it."""

    def make(lake: Path) -> None:
        import_dbt()
        with serve(rows=300) as mock:
            apis = {"mock_url": mock.url}
            project = Project(load_settings(env="local", lake=str(lake), cache=compiled, **apis))
            for asset in project.graph:
                materialize(project, asset.key)

    return once(tmp_path_factory, "made", make)


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory, made: Path, compiled: Path) -> Path:
    """The folder of a built site. Tests only read it."""

    def make(folder: Path) -> None:
        shutil.copytree(made, folder / "lake")
        project = Project(load_settings(env="local", lake=str(folder / "lake"), cache=compiled))
        build(read_site(project), Lake(str(folder / "site")))

    return once(tmp_path_factory, "portal", make) / "site"
