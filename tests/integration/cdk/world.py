"""An account as deployed, with its roles, used through the gate: each piece of work in a session of its role.

Here: the account. Not here: the work (`life.py`), the gate (`gate.py`).
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
from integration.cdk.account import BOUNDARIES, DEV, POLICIES, buckets
from integration.cdk.gate import Deployed, Gate, gate, in_another_account
from small.aws import Aws
from small.shops import FolderSource, declare

WORKING = ("extractor", "transformer", "mart", "orchestrator", "monitoring", "reader", "tables", "engineer")
NAMES = {role: DEV.role(role) for role in WORKING}
BUCKETS = tuple(bucket for bucket in DEV.buckets if bucket != DEV.log_bucket)
REAL = "service_usage"
MART = "marts.dim_municipalities"
REPAIRING = {"aws:userid": "AROAEXAMPLE:repair-maria"}
BAD = {"codi": "B1", "ciutat": "nowhere"}


@dataclass
class World:
    """An account as deployed, and access to it by role."""

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
        """Use a session of a role in this process, through the gate; `context` are the session's condition keys."""
        with self.patch.context() as patch:
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it caches its first credentials
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
    """Keep everything of this Athena, and of moto behind it, in a separate account."""
    api._inner = in_another_account(api._inner)
    yield


@contextmanager
def deployed(cache: Path, folder: Path) -> Iterator[World]:
    """The account while the block runs; `cache` is the setting."""
    trusted = Trusted.read({"github_subject": "repo:catalunya/pipeline"})
    roles = {
        name: Deployed(DEV.role_arn(role), (POLICIES[role],), trust(role, DEV, trusted), BOUNDARIES[role])
        for role, name in NAMES.items()
    }
    limits = {bucket: {"Statement": bucket_policy(DEV, bucket)} for bucket in BUCKETS}
    with (
        pytest.MonkeyPatch.context() as patch,
        athena_server() as (admin, api),
        apart(api),
        buckets(admin, BUCKETS),
        gate(api, roles, limits) as (addresses, front),
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
