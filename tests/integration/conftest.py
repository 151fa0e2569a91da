"""Fixtures of the integration tests: one AWS (moto), started once, a lake in which everything was made, and the site built from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io import openlineage
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
    """A lake in which everything was made, from a mock with 300 rows. Tests copy it. Beside it, `events.json`: what was reported of it."""

    def make(folder: Path) -> None:
        from small.lineage import receiving

        import_dbt()
        with serve(rows=300) as mock, receiving() as receiver, pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENLINEAGE_URL", receiver.url)
            patch.setattr(openlineage, "_rests_until", 0.0)
            apis = {"mock_url": mock.url}
            project = Project(load_settings(env="local", lake=str(folder / "lake"), cache=compiled, **apis))
            for asset in project.graph:
                materialize(project, asset.key)
            (folder / "events.json").write_text(json.dumps(receiver.events), encoding="utf-8")

    return once(tmp_path_factory, "made", make) / "lake"


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory, made: Path, compiled: Path) -> Path:
    """The folder of a built site. Tests only read it."""

    def make(folder: Path) -> None:
        shutil.copytree(made, folder / "lake")
        project = Project(load_settings(env="local", lake=str(folder / "lake"), cache=compiled))
        build(read_site(project), Lake(str(folder / "site")))

    return once(tmp_path_factory, "portal", make) / "site"
