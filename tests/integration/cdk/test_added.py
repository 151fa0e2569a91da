"""A source that is added brings its infrastructure with it: no file of `cdk/` is touched."""

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

# The one stack that differs, without the checks that all stacks go through in test_stacks.py.
ADDED = """
import json, sys
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Freshness
from catalunya.cdk.app import FLAGS, names_in_template
from catalunya.cdk.data_stack import DataStack
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
    """dev's stack of a graph with one source more."""
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


def test_a_source_that_is_added_brings_what_it_needs_and_nothing_else_changes(
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
    """The resource, whatever package it runs, and without what is put on all stacks together."""
    said = json.loads(json.dumps(resource))
    for name in ("Code", "Tags", "ResourceTags"):
        said.get("Properties", {}).pop(name, None)
    said.pop("Metadata", None)
    return json.dumps(said, sort_keys=True)
