"""`catalunya contracts diff`: the declarations against the graph of an earlier commit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.document import GRAPH_FILE, text
from catalunya.io.environment import load_settings
from catalunya.ops.generate import graph_now
from small.commands import Run

Commit = Callable[[dict[str, Any]], None]


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments], check=True)


@pytest.fixture
def now(place: Path) -> dict[str, Any]:
    """The graph as it is declared."""
    return graph_now(load_settings())


@pytest.fixture
def commit(place: Path) -> Commit:
    """Commit a graph in a repository of its own, where the command is run."""
    git("init", "--quiet")
    (place / GRAPH_FILE).parent.mkdir()

    def write(graph: dict[str, Any]) -> None:
        (place / GRAPH_FILE).write_text(text(graph))
        git("add", GRAPH_FILE)
        git("commit", "--quiet", "--allow-empty", "--message", "graph")

    return write


def test_an_unchanged_graph_has_no_differences(run: Run, commit: Commit, now: dict[str, Any]) -> None:
    commit(now)
    ran = run("contracts", "diff", "--base", "HEAD")
    assert (ran.code, ran.out, ran.err) == (0, "no contract differs from HEAD\n", "")


def test_an_undeclared_breaking_change_shows_what_to_do_and_exits_1(
    run: Run, commit: Commit, now: dict[str, Any]
) -> None:
    now["assets"]["staging.gdp"]["columns"]["gone_column"] = {"type": "string"}
    now["assets"]["marts.dim_gone"] = {"layer": "marts", "columns": {}}
    del now["assets"]["staging.municipalities"]["columns"]["utm_x_m"]
    commit(now)
    ran = run("contracts", "diff", "--base", "HEAD")
    assert ran.code == 1
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["breaking", "staging.gdp", "gone_column", "column", "removed"] in [line[:5] for line in rows]
    assert ["compatible", "staging.municipalities", "utm_x_m", "new", "column"] in [line[:5] for line in rows]
    assert "2 breaking changes are not declared" in ran.out
    assert "staging.gdp: raise its contract's version: `class Gdp(…, version=2)`" in ran.out
    assert "marts.dim_gone: add it to contracts/retired.py" in ran.out


def test_declared_and_compatible_changes_exit_0(run: Run, commit: Commit, now: dict[str, Any]) -> None:
    now["assets"]["staging.gdp"]["columns"]["gone_column"] = {"type": "string"}
    now["assets"]["staging.gdp"]["version"] = 0  # today's is one higher
    now["assets"]["landing.gdp"]["schedule"] = "@hourly"
    commit(now)
    ran = run("contracts", "diff", "--base", "HEAD", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    assert document["undeclared"] == 0
    assert {(c["asset"], c["what"], c["verdict"]) for c in document["changes"]} == {
        ("landing.gdp", "schedule", "compatible"),
        ("staging.gdp", "version", "compatible"),
        ("staging.gdp", "column removed", "declared"),
    }


def test_the_default_base_is_the_commit_before_the_last(run: Run, commit: Commit, now: dict[str, Any]) -> None:
    before = json.loads(json.dumps(now))
    before["assets"]["landing.gdp"]["schedule"] = "@hourly"
    commit(before)
    commit(now)
    ran = run("contracts", "diff", "--json")
    assert [c["what"] for c in json.loads(ran.out)["changes"]] == ["schedule"]


def test_without_an_earlier_commit_nothing_is_compared_and_it_exits_0(
    run: Run, commit: Commit, now: dict[str, Any], place: Path
) -> None:
    commit(now)
    ran = run("contracts", "diff")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("contracts not compared: git knows no commit 'HEAD~1'")
    assert json.loads(run("contracts", "diff", "--json").out)["why"].startswith("git knows no commit")


def test_outside_a_checkout_nothing_is_compared_and_an_explicit_base_is_an_error(run: Run) -> None:
    ran = run("contracts", "diff")
    assert ran.code == 0
    assert ran.out.startswith("contracts not compared: not in a git checkout")
    ran = run("contracts", "diff", "--base", "HEAD")
    assert ran.code == 2
    assert ran.err.startswith("error: not in a git checkout")


def test_without_git_a_base_is_an_error(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    ran = run("contracts", "diff", "--base", "HEAD")
    assert ran.code == 2
    assert "cannot run git" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere", "git knows no commit 'nowhere'"),
        ("HEAD:docs", "git knows no commit 'HEAD:docs'"),
        ("", "git knows no commit ''"),
        ("--output=evil", "'--output=evil' is not a revision"),
        ("early", "docs/graph.json does not exist at 'early'; choose a later base"),
        ("HEAD", "docs/graph.json at 'HEAD' does not describe a graph"),
    ],
)
def test_an_unusable_base_is_one_line_and_exit_code_2(
    run: Run, commit: Commit, place: Path, base: str, message: str
) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "before the file existed")
    git("tag", "early")
    (place / GRAPH_FILE).write_text("[]")
    git("add", GRAPH_FILE)
    git("commit", "--quiet", "--message", "not a graph")
    ran = run("contracts", "diff", f"--base={base}")
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert not (place / "evil").exists()


def test_it_works_in_a_subfolder_of_the_checkout(
    run: Run, commit: Commit, now: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(now)
    monkeypatch.chdir(place / "docs")
    assert run("contracts", "diff", "--base", "HEAD").out == "no contract differs from HEAD\n"


def test_an_unknown_subcommand_suggests_the_nearest(run: Run) -> None:
    ran = run("contracts", "dif")
    assert (ran.code, ran.err) == (2, "error: unknown command 'dif'; did you mean diff?\n")
    assert "see `catalunya contracts --help`" in run("contracts", "xyzzy").err
