"""What the tests of the infrastructure share: all stacks of dev, prod and the account, written once for all workers."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from catalunya.assets.catalog import load_graph
from catalunya.assets.graph import AssetGraph
from catalunya.io.environment import load_settings
from small.once import once
from small.templates import CONTEXT, Template


@pytest.fixture(scope="session")
def graph(compiled: Path) -> AssetGraph:
    """The asset graph of the repository."""
    return load_graph(load_settings(cache=compiled))


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory, graph: AssetGraph) -> Path:
    """The folder that a synthesis writes, with all stacks and a report of what cdk-nag and CloudFormation's rules found."""

    def make(folder: Path) -> None:
        from catalunya.cdk.app import build

        package = folder / "package.zip"  # what is in it makes no difference to a template
        with zipfile.ZipFile(package, "w") as zipped:
            zipped.writestr("catalunya/__init__.py", "")
        app = build(graph, lambda: package, CONTEXT, outdir=folder / "cdk.out")
        with suppress(RuntimeError):  # it found something: a test says what, with the templates there for the others
            app.synth()

    return once(tmp_path_factory, "infrastructure", make) / "cdk.out"


@pytest.fixture(scope="session")
def templates(assembly: Path) -> dict[str, Template]:
    """The templates by the name of their stack."""
    found = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in assembly.glob("*.template.json")}
    return {name: Template(name, content) for name, content in sorted(found.items())}


@pytest.fixture(params=["dev", "prod"])
def env(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def template(templates: dict[str, Template], env: str) -> Template:
    """The stack of an environment; a test that takes it is run for each."""
    return templates[f"CatalunyaData-{env}"]
