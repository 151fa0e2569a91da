"""The region is lost: docs/recovery.md, run line by line, has the pipeline running in the recovery region within the objective.

The account is moto with an Athena that executes; the region is all of its buckets and tables there, and Airflow's database. What the
page does outside this machine is done by what stands in: `deploy` makes the resources that the template of the recovery site names,
and Dokku's commands stop, configure and start a real Airflow. S3's own replication is a copy of what the template replicates.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.e2e.test_airflow_dev import functions, notify_of_manifests, settings_of_functions

from athena.server import athena_server
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.cdk.naming import Names
from catalunya.cdk.policy import CRITICAL
from catalunya.io.environment import Settings, load_settings
from catalunya.ops.local_airflow.server import airflow
from catalunya.ops.mock import serve
from catalunya.ops.mock.server import MockServer
from catalunya.ops.processes import free_ports
from small.aws import REGION, Aws
from small.drill import Clock, command
from small.field import Field
from small.lakes import contents
from small.runbook import blocks, run, sets
from small.templates import CONTEXT, Template

HOME, RECOVERY = "eu-central-1", REGION
PAGE, LOST, BACK = "recovery.md", "### The region is lost", "#### Going home"
CHAIN = ("landing.social_services", "staging.social_services", "marts.fact_service_usage_daily")
NO_AIRFLOW = {"dokku ps:start": lambda _: None}
# Where the name of each is.
NOT_OF_A_REGION = {
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::IAM::Role": ("RoleName",),
    "AWS::IAM::ManagedPolicy": ("ManagedPolicyName",),
    "AWS::CloudWatch::Dashboard": ("DashboardName",),
    "AWS::Budgets::Budget": ("Budget", "BudgetName"),
    "AWS::IAM::OIDCProvider": ("Url",),
    "AWS::CloudFront::OriginAccessControl": ("OriginAccessControlConfig", "Name"),
}


@pytest.fixture(scope="module")
def recovery_templates(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    """The stacks of both environments as they are deployed in the recovery region."""
    folder = tmp_path_factory.mktemp("recovery")
    with zipfile.ZipFile(folder / "package.zip", "w") as zipped:  # its content does not affect a template
        zipped.writestr("catalunya/__init__.py", "")
    values = CONTEXT | {"region": RECOVERY, "package": str(folder / "package.zip")}
    here = {"CATALUNYA_SITE": "recovery", "CATALUNYA_CACHE": str(compiled), "CDK_OUTDIR": str(folder / "cdk.out")}
    program = [sys.executable, "-m", "catalunya.cdk", *(f"--context={name}={value}" for name, value in values.items())]
    subprocess.run(program, env=os.environ | here, check=True)
    found = {path.name.partition(".")[0]: path for path in (folder / "cdk.out").glob("*.template.json")}
    return {name: Template(name, json.loads(path.read_text())) for name, path in found.items()}


def test_the_recovery_site_has_no_name_that_the_remains_of_a_lost_region_own(
    recovery_templates: dict[str, Template],
) -> None:
    data, pages = (
        {"AWS::S3::Bucket", "AWS::IAM::Role", "AWS::Budgets::Budget"},
        {"AWS::CloudFront::OriginAccessControl"},
    )
    stacks = {f"CatalunyaData-{env}": data for env in ("dev", "prod")} | {
        f"CatalunyaPages-{env}": pages for env in ("dev", "prod")
    }
    stacks["CatalunyaData-prod"] = data | {"AWS::CloudWatch::Dashboard"}
    assert recovery_templates.keys() == stacks.keys(), "IAM outlives a region"
    for stack, template in recovery_templates.items():
        found = {kind: template.of(kind).values() for kind in NOT_OF_A_REGION}
        assert {kind for kind, resources in found.items() if resources} == stacks[stack]
        names = [
            reduce(getitem, NOT_OF_A_REGION[kind], each) for kind, resources in found.items() for each in resources
        ]
        assert [name for name in names if not name.endswith("-recovery")] == []


@dataclass
class Region:
    """An account with a home and a recovery region, and the Airflow on its host, by its stand-ins."""

    aws: Aws
    mock: MockServer
    template: Template
    folder: Path
    patch: pytest.MonkeyPatch
    stack: ExitStack
    configured: dict[str, str] = field(default_factory=dict)
    field: Field | None = None

    @property
    def settings(self) -> Settings:
        """As the environment says, like any command."""
        return load_settings()

    def client(self, service: str, region: str) -> Any:
        make: Any = boto3.client
        return make(service, endpoint_url=self.aws.url, region_name=region)

    def buckets(self, region: str) -> list[str]:
        s3 = self.client("s3", region)
        names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
        return [name for name in names if s3.get_bucket_location(Bucket=name)["LocationConstraint"] == region]

    def make_bucket(self, name: str, region: str) -> None:
        placed = {"LocationConstraint": region}
        self.client("s3", region).create_bucket(Bucket=name, CreateBucketConfiguration=placed)

    def lose(self, region: str) -> None:
        """Delete all buckets of a region with everything in them, its catalog and its work groups."""
        s3 = self.client("s3", region)
        for name in self.buckets(region):
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                left = [{"Key": each["Key"]} for each in page.get("Contents", [])]
                if left:
                    s3.delete_objects(Bucket=name, Delete={"Objects": left})
            s3.delete_bucket(Bucket=name)
        glue = self.client("glue", region)
        for database in glue.get_databases()["DatabaseList"]:
            glue.delete_database(Name=database["Name"])
        athena = self.client("athena", region)
        for group in athena.list_work_groups()["WorkGroups"]:
            if group["Name"] != "primary":  # AWS's own, which cannot be deleted
                athena.delete_work_group(WorkGroup=group["Name"], RecursiveDeleteOption=True)

    # What stands in for the commands of the page.

    def stop(self, _: list[str]) -> None:
        """`dokku ps:stop`."""
        self.stack.close()

    def deploy(self, arguments: list[str]) -> None:
        """`cdk deploy`: the buckets, databases and work groups of the template, where AWS_REGION says."""
        assert arguments == [self.template.stack]
        region = os.environ["AWS_REGION"]
        for bucket in self.template.of("AWS::S3::Bucket").values():
            self.make_bucket(bucket["BucketName"], region)
        self.make_catalog(region)

    def make_catalog(self, region: str) -> None:
        """The databases and work groups of the template, which have the same names at both sites."""
        glue, athena = self.client("glue", region), self.client("athena", region)
        for database in self.template.of("AWS::Glue::Database").values():
            glue.create_database(DatabaseInput={"Name": database["DatabaseInput"]["Name"]})
        for group in self.template.of("AWS::Athena::WorkGroup").values():
            given = group["WorkGroupConfiguration"]
            where = given.get("ResultConfiguration", {}).get("OutputLocation") or self.settings.athena_results
            enforces = bool(given.get("EnforceWorkGroupConfiguration"))
            athena.create_work_group(
                Name=group["Name"],
                Configuration={
                    "ResultConfiguration": {"OutputLocation": where},
                    "EnforceWorkGroupConfiguration": enforces,
                },
            )

    def configure(self, arguments: list[str]) -> None:
        """`dokku config:set`."""
        self.configured |= sets(arguments)

    def start(self, _: list[str]) -> None:
        """`dokku ps:start`: Airflow with an empty database, its functions, and the settings it was given."""
        mine = {name: value for name, value in self.configured.items() if name.startswith(("CATALUNYA_", "AWS_"))}
        for name, value in mine.items():
            self.patch.setenv(name, value)
        settings = self.settings
        queue = notify_of_manifests(self.aws, settings.lake.removeprefix("s3://"))
        assert settings.manifests_queue.endswith(queue.rpartition("/")[2].replace("-dev", "-prod"))
        settings = settings.model_copy(update={"manifests_queue": queue})
        (port,) = free_ports(1)
        self.patch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{port}")
        variables = settings_of_functions(settings.lake, settings.cache, self.mock.url) | {"CATALUNYA_ENV": "prod"}
        self.stack.enter_context(functions(port, self.folder / "functions.log", os.environ | variables))
        server = self.stack.enter_context(airflow(settings, home=self.folder / "home", retry_delay_s=1))
        self.field = Field(server.client, Project(settings), self.mock)

    @property
    def stand_ins(self) -> dict[str, Any]:
        return {
            "dokku ps:stop": self.stop,
            ".venv/bin/python -m catalunya.cdk deploy": self.deploy,
            "dokku config:set": self.configure,
            "dokku ps:start": self.start,
        }


@pytest.fixture
def region(compiled: Path, made: Path, recovery_templates: dict[str, Template], tmp_path: Path) -> Iterator[Region]:
    """prod at home: a lake in which everything was made, backups and copies in the recovery region."""
    with (
        athena_server() as (aws, _),
        serve(rows=300) as mock,
        pytest.MonkeyPatch.context() as patch,
        ExitStack() as stack,
    ):
        patch.delenv("AWS_PROFILE", raising=False)
        here = {"ENV": "prod", "CACHE": str(compiled), "MOCK_URL": mock.url}
        more = {"HTTP_ATTEMPTS": "1", "HTTP_REQUESTS_PER_SECOND": "1000", "BACKUP_REGION": RECOVERY}
        variables = aws.environment | {f"CATALUNYA_{name}": value for name, value in (here | more).items()}
        for name, value in (
            variables | {"AWS_REGION": HOME, "AWS_DEFAULT_REGION": HOME, "ACCOUNT": "123456789012"}
        ).items():
            patch.setenv(name, value)
        patch.setenv("APP", "catalunya-prod")
        found = Region(aws, mock, recovery_templates["CatalunyaData-prod"], tmp_path, patch, stack)
        names = Names.of("prod")
        found.make_bucket(names.data_bucket, HOME)
        found.make_bucket(names.backup_bucket, RECOVERY)
        found.make_bucket(names.replica_bucket, RECOVERY)
        kept = {path: body for path, body in contents(made).items() if not path.startswith("_leases/")}
        aws.fill(f"s3://{names.data_bucket}", kept)
        yield found
        stack.close()
        for where in (HOME, RECOVERY):
            found.lose(where)


def replicate(region: Region) -> None:
    """S3's replication: what the template copies, as it is now."""
    names = Names.of("prod")
    lake = contents(f"s3://{names.data_bucket}")
    region.aws.fill(
        f"s3://{names.replica_bucket}", {path: body for path, body in lake.items() if path.startswith(CRITICAL)}
    )


def at_recovery(heading: str) -> str:
    """The commands below a heading of the page, with the regions of this test in place of the page's."""
    block = blocks(PAGE, heading)[0]
    regions = {"eu-central-1": RECOVERY, "eu-west-1": HOME}
    return re.sub("|".join(regions), lambda found: regions[found[0]], block)


def tables(lake: str) -> dict[str, bytes]:
    wanted = ("staging/", "marts/", "_superseded/", "quarantine/")
    return {path: body for path, body in contents(lake).items() if path.startswith(wanted)}


def test_the_pipeline_runs_in_the_recovery_region_within_the_objective(
    region: Region, capfd: pytest.CaptureFixture[str]
) -> None:
    home = Project(region.settings)
    assert command("backup") == 0
    region.mock.advance("yavr-pn8q")
    for key in ("landing.service_usage", "staging.service_usage"):
        materialize(home, key)  # after the last backup: only the copies have it
    last = home.ledger.latest("staging.service_usage")
    days = scan_table(home.lake, home.graph[CHAIN[2]], home.ledger.latest(CHAIN[2])).collect()
    replicate(region)
    lost = tables(region.settings.lake)

    region.lose(HOME)
    clock = Clock()
    run(at_recovery(LOST), region.patch, region.stand_ins)
    clock.took("everything on the page, Airflow started")
    assert region.settings.lake == "s3://catalunya-data-prod-recovery"
    assert tables(region.settings.lake) == lost
    field = region.field
    assert field
    assert field.project.ledger.latest("staging.service_usage") == last

    field.begin()
    region.mock.advance("ivft-vegh")
    field.trigger(CHAIN[0])
    field.settle()
    clock.took("a change of a source is in its mart")
    made = {event["name"] for event in field.events()}
    assert set(CHAIN) <= made
    found = region.client("glue", RECOVERY).get_tables(DatabaseName="catalunya_marts_prod")["TableList"]
    latest = field.project.ledger.latest(CHAIN[2])
    assert latest
    assert latest.data_version in {table["Parameters"].get("catalunya.data_version") for table in found}
    now = scan_table(field.project.lake, field.project.graph[CHAIN[2]], latest).collect()
    keys = field.project.graph[CHAIN[2]].key_columns
    assert days.join(now, on=keys, how="anti").is_empty(), "no day was lost that no source provides again"
    assert clock.seconds < region.settings.rto_minutes * 60
    with capfd.disabled():
        clock.print()


def test_a_lost_bucket_is_deployed_and_restored(region: Region) -> None:
    assert command("backup") == 0
    lost = tables(region.settings.lake)
    region.lose(HOME)

    def deploy(_: list[str]) -> None:
        region.make_bucket("catalunya-data-prod", HOME)
        region.make_catalog(HOME)

    block = blocks(PAGE, "### The bucket or the folder is lost")[0]
    deployed = {".venv/bin/python -m catalunya.cdk deploy": deploy}
    run(block, region.patch, region.stand_ins | NO_AIRFLOW | deployed)
    assert tables(region.settings.lake) == lost


def test_dev_has_no_copies_and_is_restored_from_its_backup(
    region: Region, recovery_templates: dict[str, Template]
) -> None:
    made_at_home = contents(region.settings.lake)
    region.patch.setenv("CATALUNYA_ENV", "dev")
    names = Names.of("dev")
    region.make_bucket(names.data_bucket, HOME)
    region.make_bucket(names.backup_bucket, RECOVERY)
    region.aws.fill(region.settings.lake, made_at_home)
    assert command("backup") == 0
    lost = tables(region.settings.lake)
    region.lose(HOME)
    region.template = recovery_templates["CatalunyaData-dev"]
    block = at_recovery(LOST).replace("prod", "dev")
    of_dev = "".join(line for line in block.splitlines(keepends=True) if "-replica" not in line)
    run(of_dev, region.patch, region.stand_ins | NO_AIRFLOW)
    assert region.settings.lake == "s3://catalunya-data-dev-recovery"
    assert tables(region.settings.lake) == lost


def test_what_the_recovery_site_made_goes_home_over_what_was_lost(region: Region) -> None:
    replicate(region)
    lost = contents(region.settings.lake)
    region.lose(HOME)
    run(at_recovery(LOST), region.patch, region.stand_ins | NO_AIRFLOW)
    region.mock.advance("yavr-pn8q")
    away = Project(region.settings)
    for key in ("landing.service_usage", "staging.service_usage"):
        materialize(away, key)
    made_away = tables(region.settings.lake)
    assert made_away != {path: body for path, body in lost.items() if path in made_away}

    region.make_bucket(Names.of("prod").data_bucket.removesuffix("-recovery"), HOME)
    region.aws.fill("s3://catalunya-data-prod", lost)
    region.make_catalog(HOME)
    run(at_recovery(BACK), region.patch, region.stand_ins | NO_AIRFLOW)
    assert (region.settings.site, region.settings.lake) == ("home", "s3://catalunya-data-prod")
    home = Project(region.settings)
    for key in (asset.key for asset in home.graph if not asset.key.startswith("landing.")):
        (here, there) = (project.ledger.latest(key) for project in (home, away))
        assert here is not None, key
        assert there is not None, key
        assert here.data_version == there.data_version, key
    assert region.configured["CATALUNYA_MART_ROLE"].endswith("/catalunya-mart-role-prod")
