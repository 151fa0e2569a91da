"""Fixtures of the integration tests: one Airflow with its own lake and mock APIs, and one AWS (moto), each started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.local_airflow.server import airflow
from catalunya.ops.mock import serve
from small.aws import aws, bucket, shared_aws
from small.field import Field
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


@pytest.fixture(scope="module")
def shared_field(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[Field]:
    """One Airflow for all tests of a module. Tests take `field`."""
    folder = tmp_path_factory.mktemp("airflow")
    with serve(rows=300) as mock:
        settings = load_settings(
            env="local",
            lake=str(folder / "lake"),
            backup=str(folder / "backup"),
            cache=compiled,
            mock_url=mock.url,
            http_attempts=1,
            http_backoff_s=0.01,
            http_requests_per_second=1000,
        )
        with airflow(settings, home=folder / "home", retry_delay_s=1) as server:
            yield Field(server.client, Project(settings), mock)


@pytest.fixture
def field(shared_field: Field) -> Field:
    """The shared Airflow, at rest and without faults, whatever the test before did."""
    shared_field.mock.faults()
    shared_field.settle()
    shared_field.begin()
    return shared_field
