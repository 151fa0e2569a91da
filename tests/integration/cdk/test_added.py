"""Adding a source adds its infrastructure, without editing a file of `cdk/`."""

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

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Freshness
from catalunya.cdk.stacks import FLAGS, DataStack, names_in_template

from catalunya.cdk.deployment import Deployment
from catalunya.io.environment import load_settings

context, outdir = json.loads(sys.argv[1]), sys.argv[2]
graph = load_graph(load_settings())
landing = replace(graph["landing.gdp"], key="landing.weather", freshness=Freshness(hours=24))
staging = replace(graph["staging.gdp"], key="staging.weather", upstream=(landing.key,))
app = cdk.App(context=FLAGS | {"@aws-cdk/core:validateAgainstDefaultRules": False}, outdir=outdir)
deployment = Deployment.read(context.get, lambda: None)
place = cdk.Environment(account=deployment.account, region=deployment.region)
names = names_in_template("dev")
DataStack(app, names, AssetGraph([*graph, landing, staging]), deployment, env=place)
app.synth()
"""


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Template:
    """dev's stack, of a graph with one more source."""
    folder = tmp_path_factory.mktemp("added")
    program = folder / "program.py"
    program.write_text(ADDED)
    package = folder / "package.zip"
    package.write_bytes(b"PK\\5\\6" + bytes(18))
    context = json.dumps(CONTEXT | {"package": str(package)})
    command = [sys.executable, str(program), context, str(folder)]
    done = subprocess.run(
        command, env=os.environ | {"CATALUNYA_CACHE": str(compiled)}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    path = folder / "CatalunyaData-dev.template.json"
    return Template("CatalunyaData-dev", json.loads(path.read_text()))


def test_adding_a_source_adds_its_resources_and_changes_nothing_else(
    added: Template, templates: dict[str, Template], graph: AssetGraph
) -> None:
    names = Names.of("dev")
    before, now = templates[names.stack].content["Resources"], added.content["Resources"]
    new = {logical: now[logical] for logical in now.keys() - before.keys()}
    changed = {
        now[logical]["Type"] for logical in before if _without_code(before[logical]) != _without_code(now[logical])
    }

    assert {resource["Type"] for resource in new.values()} == {"Custom::StagingTable", "AWS::CloudWatch::Alarm"}
    assert changed == {"AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::CloudWatch::Dashboard"}
    rules = added.named("AWS::S3::Bucket", names.data_bucket)["LifecycleConfiguration"]["Rules"]
    assert {"landing/weather/", "staging/weather/"} <= {rule.get("Prefix") for rule in rules}
    assert added.named("AWS::CloudWatch::Alarm", names.alarm("landing.weather-not-asked"))["EvaluationPeriods"] == 24
    assert "staging.weather" in added.named("AWS::CloudWatch::Dashboard", names.dashboard("business"))["DashboardBody"]
    function, _ = (added.named("AWS::Lambda::Function", name) for _, name in names.functions())
    assert function["ReservedConcurrentExecutions"] == 1 + sum(
        max(asset.readers, 1) for asset in graph.select("layer:landing")
    )


def _without_code(resource: object) -> str:
    """The resource without its code package, tags and metadata, which are set for all stacks together."""
    plain = json.loads(json.dumps(resource))
    for name in ("Code", "Tags", "ResourceTags"):
        plain.get("Properties", {}).pop(name, None)
    plain.pop("Metadata", None)
    return json.dumps(plain, sort_keys=True)
