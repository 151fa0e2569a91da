"""What the end-to-end tests share with the integration tests: moto, a lake in which all was made, an Airflow on a lake of its own, the
templates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.cdk.conftest import env, graph, names, synthesized
from tests.integration.conftest import made

from small.aws import aws, bucket, shared_aws
from small.field import Field, on_airflow

__all__ = [
    "aws",
    "bucket",
    "env",
    "graph",
    "made",
    "names",
    "shared_aws",
    "synthesized",
]


@pytest.fixture(scope="module")
def shared_field(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[Field]:
    """One Airflow on an empty lake for all tests of a module. Tests take `field`."""
    with on_airflow(tmp_path_factory.mktemp("airflow"), compiled) as field:
        yield field


@pytest.fixture
def field(shared_field: Field) -> Field:
    """The shared Airflow, at rest and without faults, whatever the test before did."""
    shared_field.rest()
    return shared_field
