"""Shared by the infrastructure tests: all stacks of dev, prod and the account, synthesized once for all workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.cdk.naming import Names
from catalunya.io.environment import load_settings
from small.once import once
from small.templates import ACCOUNT, CONTEXT, REGION, Template


@pytest.fixture(scope="session")
def graph(compiled: Path) -> AssetGraph:
    """The asset graph of the repository."""
    return load_graph(load_settings(cache=compiled))


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory, graph: AssetGraph, compiled: Path) -> Path:
    """A folder with the templates that the command wrote (`cdk.out`) and its output (`output.txt`)."""

    def make(folder: Path) -> None:
        package = folder / "package.zip"  # its content does not affect a template
        with zipfile.ZipFile(package, "w") as zipped:
            zipped.writestr("catalunya/__init__.py", "")
        context = [f"--context={name}={value}" for name, value in (CONTEXT | {"package": str(package)}).items()]
        here = {"CATALUNYA_CACHE": str(compiled), "CDK_OUTDIR": str(folder / "cdk.out")}
        command = [sys.executable, "-m", "catalunya.cdk", *context]
        done = subprocess.run(command, env=os.environ | here, capture_output=True, text=True, check=False)
        (folder / "output.txt").write_text(done.stdout + done.stderr)

    return once(tmp_path_factory, "infrastructure", make)


@pytest.fixture(scope="session")
def assembly(synthesized: Path) -> Path:
    """The folder with the templates and the report of cdk-nag and CloudFormation's own rules."""
    return synthesized / "cdk.out"


@pytest.fixture(scope="session")
def templates(synthesized: Path, assembly: Path) -> dict[str, Template]:
    """The templates by stack name."""
    found = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in assembly.glob("*.template.json")}
    assert found, (synthesized / "output.txt").read_text()
    return {name: Template(name, content) for name, content in sorted(found.items())}


@pytest.fixture(params=["dev", "prod"])
def env(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def names(env: str) -> Names:
    """The names of the environment, in the account and region of the templates."""
    return Names.of(env, partition="aws", account=ACCOUNT, region=REGION)


@pytest.fixture
def template(templates: dict[str, Template], env: str) -> Template:
    """The stack of an environment; a test that uses it runs once for each."""
    return templates[f"CatalunyaData-{env}"]
