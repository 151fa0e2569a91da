"""Stacks that differ from the deployed ones: with one more source, without an edit in `cdk/`; and in a new account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.cdk.naming import Names
from small.templates import CONTEXT, Template

# Only the stack that differs, without the checks that test_stacks.py runs on all stacks.
ADDED = """
import json, sys
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import FUNCTIONS, Freshness
from catalunya.cdk.deployment import Deployment
from catalunya.cdk.functions import Functions
from catalunya.cdk.stacks import FLAGS, DataStack, names_in_template
from catalunya.io.environment import load_settings

context, outdir = json.loads(sys.argv[1]), sys.argv[2]
graph = load_graph(load_settings())
landing = replace(graph["landing.gdp"], key="landing.weather", freshness=Freshness(hours=24))
staging = replace(graph["staging.gdp"], key="staging.weather", upstream=(landing.key,))
app = cdk.App(context=FLAGS | {"@aws-cdk/core:validateAgainstDefaultRules": False}, outdir=outdir)
deployment = Deployment.read(context.get, lambda: None)
place = cdk.Environment(account=deployment.account, region=deployment.region)
names = names_in_template("prod")
DataStack(app, names, AssetGraph([*graph, landing, staging]), deployment, env=place)
DataStack(
    app, names_in_template("dev"), graph, Deployment.read((context | {"dashboards": "dev,prod"}).get, lambda: None), env=place
)

new = Deployment.read((context | {"reserved_concurrency": "false"}).get, lambda: None)
unreserved = cdk.Stack(app, "NewAccount", env=place)
role = iam.Role.from_role_arn(unreserved, "Role", names.role_arn("any"))
roles = dict.fromkeys(FUNCTIONS, role)
Functions(
    unreserved, "Functions", names, graph, roles=roles, code=new.package, log_days=30, token_secret=None, hosts_secret=None,
    is_reserved=new.reserves_concurrency,
)
app.synth()
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> dict[str, Template]:
    """prod's stack, of a graph with one more source; dev's with dashboards; and the functions without reserved concurrency."""
    folder = tmp_path_factory.mktemp("added")
    program = folder / "program.py"
    program.write_text(ADDED)
    package = folder / "package.zip"
    package.write_bytes(b"PK\\5\\6" + bytes(18))
    context = json.dumps(CONTEXT | {"package": str(package)})
    command = [sys.executable, str(program), context, str(folder)]
    here = {"CATALUNYA_CACHE": str(compiled), "CDK_VALIDATION": "false"}  # which takes half of the time
    done = subprocess.run(command, env=os.environ | here, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    paths = folder.glob("*.template.json")
    return {
        name: Template(name, json.loads(path.read_text())) for path in paths for name in [path.name.partition(".")[0]]
    }


@pytest.fixture
def added(written: dict[str, Template]) -> Template:
    return written["CatalunyaData-prod"]


def test_a_new_account_can_deploy_without_reserved_concurrency(written: dict[str, Template], added: Template) -> None:
    """Lambda refuses to reserve any of a new account's 10 concurrent executions."""
    for _, name in Names.of("prod").functions():
        unreserved = written["NewAccount"].named("AWS::Lambda::Function", name)
        reserved = added.named("AWS::Lambda::Function", name)
        assert reserved.keys() - unreserved.keys() >= {"ReservedConcurrentExecutions"}
        assert unreserved.keys() <= reserved.keys()


def test_adding_a_source_adds_its_resources_and_changes_nothing_else(
    added: Template, templates: dict[str, Template], graph: AssetGraph
) -> None:
    names = Names.of("prod")
    before, now = templates[names.stack].content["Resources"], added.content["Resources"]
    new = {logical: now[logical] for logical in now.keys() - before.keys()}
    changed = {
        now[logical]["Type"] for logical in before if _without_code(before[logical]) != _without_code(now[logical])
    }

    assert {resource["Type"] for resource in new.values()} == {"Custom::StagingTable"}
    assert changed == {"AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::CloudWatch::Dashboard"}
    rules = added.named("AWS::S3::Bucket", names.data_bucket)["LifecycleConfiguration"]["Rules"]
    assert {"landing/weather/", "staging/weather/"} <= {rule.get("Prefix") for rule in rules}
    assert "staging.weather" in added.named("AWS::CloudWatch::Dashboard", names.dashboard("business"))["DashboardBody"]
    function, _ = (added.named("AWS::Lambda::Function", name) for _, name in names.functions())
    assert function["ReservedConcurrentExecutions"] == 1 + len(graph.select("layer:landing"))


def test_a_switch_of_the_context_gives_dev_the_dashboards_and_metrics_of_prod(
    written: dict[str, Template], templates: dict[str, Template]
) -> None:
    with_dashboards = written["CatalunyaData-dev"]
    prod = templates["CatalunyaData-prod"]

    def metrics(template: Template) -> set[str]:
        filters = template.of("AWS::Logs::MetricFilter").values()
        return {each["MetricTransformations"][0]["MetricName"] for each in filters}

    def dashboards(template: Template) -> set[str]:
        return {each["DashboardName"] for each in template.of("AWS::CloudWatch::Dashboard").values()}

    assert metrics(with_dashboards) == metrics(prod) > metrics(templates["CatalunyaData-dev"])
    assert dashboards(with_dashboards) == {name.replace("prod", "dev") for name in dashboards(prod)} != set()


def _without_code(resource: object) -> str:
    """The resource without its code package, tags and metadata, which are set for all stacks together."""
    plain = json.loads(json.dumps(resource))
    for name in ("Code", "Tags", "ResourceTags"):
        plain.get("Properties", {}).pop(name, None)
    plain.pop("Metadata", None)
    return json.dumps(plain, sort_keys=True)
