"""`catalunya contracts diff`: today's declarations against the graph that an earlier commit holds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.document import SNAPSHOT, text
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
    (place / SNAPSHOT).parent.mkdir()

    def write(graph: dict[str, Any]) -> None:
        (place / SNAPSHOT).write_text(text(graph))
        git("add", SNAPSHOT)
        git("commit", "--quiet", "--allow-empty", "--message", "graph")

    return write


def test_a_graph_that_did_not_change_is_said_to_be_the_same(run: Run, commit: Commit, now: dict[str, Any]) -> None:
    commit(now)
    ran = run("contracts", "diff", "--base", "HEAD")
    assert (ran.code, ran.out, ran.err) == (0, "the graph is that of HEAD\n", "")


def test_an_undeclared_breaking_change_is_told_with_what_to_do_and_exits_1(
    run: Run, commit: Commit, now: dict[str, Any]
) -> None:
    now["assets"]["staging.gdp"]["columns"]["gone_column"] = {"type": "string"}
    now["assets"]["marts.dim_gone"] = {"layer": "marts", "columns": {}}
    del now["assets"]["staging.municipalities"]["columns"]["utm_x_m"]
    commit(now)
    ran = run("contracts", "diff", "--base", "HEAD")
    assert ran.code == 1
    told = [line.split() for line in ran.out.splitlines()]
    assert ["breaking", "staging.gdp", "gone_column", "column", "removed"] in [line[:5] for line in told]
    assert ["compatible", "staging.municipalities", "utm_x_m", "new", "column"] in [line[:5] for line in told]
    assert "2 breaking changes are not declared" in ran.out
    assert "staging.gdp: raise its contract's version: `class Gdp(…, version=2)`" in ran.out
    assert "marts.dim_gone: name it in contracts/retired.py" in ran.out


def test_breaking_changes_that_are_declared_and_compatible_ones_exit_0(
    run: Run, commit: Commit, now: dict[str, Any]
) -> None:
    now["assets"]["staging.gdp"]["columns"]["gone_column"] = {"type": "string"}
    now["assets"]["staging.gdp"]["version"] = 0  # today's is one higher
    now["assets"]["landing.gdp"]["schedule"] = "@hourly"
    commit(now)
    ran = run("contracts", "diff", "--base", "HEAD", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["undeclared"] == 0
    assert {(c["asset"], c["what"], c["verdict"]) for c in told["changes"]} == {
        ("landing.gdp", "schedule", "compatible"),
        ("staging.gdp", "version", "compatible"),
        ("staging.gdp", "column removed", "declared"),
    }


def test_without_a_base_the_commit_before_the_last_is_compared_with(
    run: Run, commit: Commit, now: dict[str, Any]
) -> None:
    before = json.loads(json.dumps(now))
    before["assets"]["landing.gdp"]["schedule"] = "@hourly"
    commit(before)
    commit(now)
    ran = run("contracts", "diff", "--json")
    assert [c["what"] for c in json.loads(ran.out)["changes"]] == ["schedule"]


def test_without_a_base_and_without_anything_to_compare_with_it_says_so_and_is_content(
    run: Run, commit: Commit, now: dict[str, Any], place: Path
) -> None:
    commit(now)
    ran = run("contracts", "diff")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("contracts not compared: git knows no commit 'HEAD~1' here")
    assert json.loads(run("contracts", "diff", "--json").out)["why"].startswith("git knows no commit")


def test_outside_of_a_checkout_it_says_so(run: Run) -> None:
    ran = run("contracts", "diff")
    assert ran.code == 0
    assert ran.out.startswith("contracts not compared: there is no git checkout to compare with here")
    ran = run("contracts", "diff", "--base", "HEAD")
    assert ran.code == 2
    assert ran.err.startswith("error: there is no git checkout to compare with here")


def test_without_git_it_says_so(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    ran = run("contracts", "diff", "--base", "HEAD")
    assert ran.code == 2
    assert "git cannot be run" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("nowhere", "git knows no commit 'nowhere' here"),
        ("HEAD:docs", "git knows no commit 'HEAD:docs' here"),
        ("", "git knows no commit '' here"),
        ("--output=evil", "'--output=evil' is no revision"),
        ("early", "docs/graph.json is not in 'early': was that before the file existed? Choose a later base"),
        ("HEAD", "docs/graph.json in 'HEAD' is no snapshot of the graph"),
    ],
)
def test_a_base_that_cannot_be_compared_with_is_one_line_and_exit_code_2(
    run: Run, commit: Commit, place: Path, base: str, told: str
) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "before the file existed")
    git("tag", "early")
    (place / SNAPSHOT).write_text("[]")
    git("add", SNAPSHOT)
    git("commit", "--quiet", "--message", "not a graph")
    ran = run("contracts", "diff", f"--base={base}")
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1
    assert not (place / "evil").exists()


def test_it_is_found_from_below_the_checkouts_top(
    run: Run, commit: Commit, now: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(now)
    monkeypatch.chdir(place / "docs")
    assert run("contracts", "diff", "--base", "HEAD").out == "the graph is that of HEAD\n"


def test_a_command_that_the_group_does_not_have_is_told_the_nearest(run: Run) -> None:
    ran = run("contracts", "dif")
    assert (ran.code, ran.err) == (2, "error: there is no command 'dif'; did you mean diff?\n")
    assert "`catalunya contracts --help` lists them" in run("contracts", "xyzzy").err
