"""The command `changes`: the assets against those of an earlier commit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.io.environment import load_settings
from catalunya.ops.commands.comparing import compare
from small.commands import Run

ROOT = Path(__file__).parents[3]
Listed = dict[str, dict[str, Any]]


@pytest.fixture
def graph(compiled: Path) -> AssetGraph:
    """The current assets."""
    return load_graph(load_settings(cache=compiled))


@pytest.fixture
def listed(graph: AssetGraph) -> Listed:
    """The same as `ls --json` lists them, by key."""
    return {asset.key: {"code_version": asset.code_version, "upstream": list(asset.upstream)} for asset in graph}


def test_a_graph_does_not_differ_from_itself(listed: Listed, graph: AssetGraph) -> None:
    assert compare(listed, graph) == []


def test_changed_code_is_listed_with_everything_downstream_in_order(listed: Listed, graph: AssetGraph) -> None:
    listed["staging.gdp"]["code_version"] = "another"
    found = compare(listed, graph)
    assert [(each.asset, each.change) for each in found] == [
        ("staging.gdp", "changed"),
        ("marts.dim_economic_sectors", "follows"),
        ("marts.fact_gdp_quarterly", "follows"),
        ("marts.agg_economic_indicators_quarterly", "follows"),
    ]
    assert found[0].why == "code or contract"


def test_added_removed_and_rewired_assets_are_listed(listed: Listed, graph: AssetGraph) -> None:
    del listed["landing.gdp"]
    listed["staging.gone"] = {"code_version": "1", "upstream": []}
    listed["staging.employment"]["upstream"] = ["landing.gone"]
    found = {each.asset: each for each in compare(listed, graph)}
    assert found["landing.gdp"].change == "added"
    assert found["staging.gdp"] == ("staging.gdp", "follows", "reads landing.gdp")
    assert found["staging.gone"].change == "removed"
    assert found["staging.employment"].why == "now reads landing.employment, no longer reads landing.gone"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with this project's code, in which the command runs."""
    for name in ("assets", "contracts", "dbt", "io", "ops"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    shutil.copytree(ROOT / "src", tmp_path / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commit() -> None:
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "before"]):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *command], check=True)


def test_the_assets_of_a_commit_are_listed_by_its_own_code(run: Run, repository: Path) -> None:
    """dbt is not asked for the marts, whose SQL is the same. It also shows that stdout has only the JSON of `ls --json` when the graph is compiled first,
    because `changes` reads that."""
    declared = repository / "assets" / "gdp.py"
    declared.write_text(declared.read_text() + "\n\ndef gone() -> None: ...\n")
    commit()
    ran = run("changes", "--base", "HEAD", "--format", "markdown")
    assert ran.code == 0, ran.err
    assert "| `staging.gdp` | changed | code or contract |" in ran.out
    assert "| `marts.fact_gdp_quarterly` | follows | reads marts.dim_economic_sectors, staging.gdp |" in ran.out
    assert "population" not in ran.out


def test_a_commit_that_cannot_list_its_assets_is_one_line(run: Run, repository: Path) -> None:
    (repository / "ops" / "cli.py").write_text("raise RuntimeError('of an old commit')")
    commit()
    ran = run("changes", "--base", "HEAD")
    assert ran.code == 2
    assert "RuntimeError: of an old commit; choose a later base" in ran.err


def test_an_unknown_commit_is_one_line(run: Run, repository: Path) -> None:
    commit()
    ran = run("changes", "--base", "no-such")
    assert ran.code == 2
    assert "git knows no commit 'no-such'" in ran.err
