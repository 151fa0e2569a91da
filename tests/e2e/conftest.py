"""What the end-to-end tests share with the integration tests: moto, the compiled graph, a lake in which all was made, the templates."""

from __future__ import annotations

from tests.integration.cdk.conftest import env, graph, names, synthesized
from tests.integration.conftest import compiled, made

from small.aws import aws, bucket, shared_aws

__all__ = ["aws", "bucket", "compiled", "env", "graph", "made", "names", "shared_aws", "synthesized"]
