"""An account as it is deployed, its roles with it, and those who work in it: behind the gate, each in a session of its role.

Here: the account. Not here: what is done in it (`life.py`), the gate (`gate.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from athena.server import AthenaApi, athena_server
from catalunya.assets.graph.spec import Declaration
from catalunya.assets.record.project import Project
from catalunya.cdk.limits import bucket_policy
from catalunya.cdk.trust import Trusted, trust
from catalunya.io.environment import Settings, load_settings
from integration.cdk.account import BOUNDARY, DEV, POLICIES, buckets
from integration.cdk.gate import Deployed, Gate, gate, in_another_account
from small.aws import Aws
from small.shops import FolderSource, declare

NAMES = {
    "extractor": DEV.extractor_role,
    "transformer": DEV.transformer_role,
    "mart": DEV.mart_role,
    "orchestrator": DEV.orchestrator_role,
    "monitoring": DEV.monitoring_role,
    "reader": DEV.reader_role,
    "tables": DEV.tables_role,
    "engineer": DEV.engineer_role,
}
BUCKETS = (DEV.data_bucket, DEV.results_bucket, DEV.backup_bucket)
REAL = "service_usage"
MART = "marts.dim_municipalities"
MENDING = {"aws:userid": "AROAEXAMPLE:mend-maria"}
BAD = {"codi": "B1", "ciutat": "nowhere"}


@dataclass
class World:
    """An account as it is deployed, and those who work in it."""

    admin: Aws
    addresses: dict[str, Aws]
    gate: Gate
    settings: Settings
    source: FolderSource
    declared: Sequence[Declaration]
    patch: pytest.MonkeyPatch

    @property
    def shops(self) -> Project:
        """The small source and its tables."""
        return Project(self.settings, self.declared)

    @property
    def project(self) -> Project:
        """The real graph."""
        return Project(self.settings)

    @contextmanager
    def as_role(self, role: str, **context: str) -> Iterator[None]:
        """This process works in a session of a role, through the gate; `context` is what IAM knows of the session."""
        with self.patch.context() as patch:
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials that it first saw
            for name, value in {
                **self.addresses[NAMES[role]].environment,
                **self.gate.as_role(NAMES[role], context),
            }.items():
                patch.setenv(name, value)
            yield

    def put(self, key: str, body: bytes) -> None:
        self.admin.client("s3").put_object(Bucket=DEV.data_bucket, Key=key, Body=body)


@contextmanager
def apart(api: AthenaApi) -> Iterator[None]:
    """All that this Athena and what is behind it keep is in an account of its own."""
    api._inner = in_another_account(api._inner)
    yield


@contextmanager
def deployed(cache: Path, folder: Path) -> Iterator[World]:
    """The account, for as long as the block runs; `cache` is of the settings."""
    trusted = Trusted.read({"github_subject": "repo:catalunya/pipeline"})
    roles = {name: Deployed((POLICIES[role],), trust(role, DEV, trusted)) for role, name in NAMES.items()}
    limits = {bucket: {"Statement": bucket_policy(DEV, bucket)} for bucket in BUCKETS}
    with (
        pytest.MonkeyPatch.context() as patch,
        athena_server() as (admin, api),
        apart(api),
        buckets(admin, BUCKETS),
        gate(api, roles, BOUNDARY, limits) as (addresses, front),
    ):
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in admin.environment.items():
            patch.setenv(name, value)
        for name in DEV.databases.values():
            admin.client("glue").create_database(DatabaseInput={"Name": name})
        settings = load_settings(env="dev", cache=cache, scratch=folder, http_backoff_s=0.01, lake_attempts=1)
        for group, where in (
            (settings.athena_work_group, settings.athena_results),
            (settings.athena_readers, f"s3://{DEV.results_bucket}/"),
        ):
            admin.client("athena").create_work_group(
                Name=group,
                Configuration={
                    "EnforceWorkGroupConfiguration": group == settings.athena_readers,
                    "ResultConfiguration": {"OutputLocation": where},
                },
            )
        admin.client("athena").create_named_query(
            Name="one", Database=DEV.database("marts"), QueryString="select 1", WorkGroup=settings.athena_readers
        )
        admin.client("logs").create_log_group(logGroupName=DEV.airflow_log_group)
        yield World(admin, addresses, front, settings, *declare(folder / "source"), patch)
