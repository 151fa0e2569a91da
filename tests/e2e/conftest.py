"""What the end-to-end tests share with the integration tests: moto, a lake in which all was made, an Airflow on a lake of its own, the
templates."""

from __future__ import annotations

from tests.integration.cdk.conftest import env, graph, names, synthesized
from tests.integration.conftest import field, made, shared_field

from small.aws import aws, bucket, shared_aws

__all__ = [
    "aws",
    "bucket",
    "env",
    "field",
    "graph",
    "made",
    "names",
    "shared_aws",
    "shared_field",
    "synthesized",
]
