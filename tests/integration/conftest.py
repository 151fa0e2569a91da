"""Fixtures of the integration tests: one AWS (moto), started once, and a lake in which everything was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.mock import serve
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
