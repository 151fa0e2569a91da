"""Errors of the command: one line on stderr (what, where, what to do), and the exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalunya.ops.cli import app
from small.commands import Run


def test_no_arguments_show_the_help(run: Run) -> None:
    ran = run()
    assert ran.code == 0
    assert "materialize" in ran.out
    assert "--help" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("materialise",), "unknown command 'materialise'; did you mean materialize?"),
        (("xyzzy",), "unknown command 'xyzzy'; see `catalunya --help`"),
        (("ls", "--jsn"), "Did you mean --json"),
        (("show",), "requires an argument"),
        (("history", "staging.municipalities", "--limit", "0"), "Must be >= 1"),
        (("show", "staging.municipality"), "did you mean staging.municipalities"),
        (("materialize", ""), "found an empty argument (an unset variable?)"),
        (("ls", "colour:blue"), "expected layer:NAME or source:NAME"),
        (("--env", "test", "ls"), "CATALUNYA_ENV='test': input should be 'local', 'dev' or 'prod'"),
        (("query", "select 1", "-o", "out.xlsx"), "expected a file name that ends in .parquet, .csv, .json"),
        (("mock", "--faults", "on-fire"), "'on-fire'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert not ran.out


def test_a_lake_that_cannot_be_opened_is_one_line(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    monkeypatch.setenv("CATALUNYA_LAKE", str(place / "file" / "lake"))
    ran = run("status")
    assert ran.code == 1
    assert ran.err.startswith(f"error: cannot open {place}/file/lake: there is a file where a folder is needed")
    assert ran.err.count("\n") == 1


def test_an_api_that_is_down_is_one_line_and_the_failure_is_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATALUNYA_MOCK_URL", "http://127.0.0.1:1")
    ran = run("materialize", "landing.municipalities")
    assert ran.code == 1
    assert "cannot connect to http://127.0.0.1:1" in ran.out
    assert "`catalunya mock`" in ran.out
    assert "failed" in run("history", "landing.municipalities").out
    assert "failed" in run("status", "landing.municipalities").out


def test_debug_shows_the_traceback_of_an_error(run: Run) -> None:
    ran = run("show", "staging.nothing", "--debug")
    assert ran.code == 2
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.splitlines()[-1].startswith("error: there is no asset staging.nothing")


@pytest.fixture
def buggy() -> Iterator[str]:
    """A command with a bug."""

    def buggy() -> None:
        raise ValueError("invalid literal")

    app.command(buggy)
    yield "buggy"
    del app["buggy"]


def test_a_bug_is_one_line_and_its_traceback_is_in_a_file(run: Run, place: Path, buggy: str) -> None:
    ran = run(buggy)
    assert ran.code == 70
    assert ran.err.startswith("error: this is a bug: ValueError")
    assert ran.err.count("\n") == 1
    kept = list((place / "cache" / "logs").glob("error-*.txt"))
    assert len(kept) == 1
    assert str(kept[0]) in ran.err
    assert "Traceback" in kept[0].read_text()


def test_the_status_of_an_empty_lake_shows_the_first_steps(run: Run, place: Path) -> None:
    out = run("status").out
    assert "Nothing has been made yet" in out
    for command in ("catalunya mock", "catalunya materialize", "catalunya run"):
        assert command in out


def test_common_options_work_before_and_after_the_command(run: Run) -> None:
    assert run("--env", "local", "ls").code == run("ls", "--env", "local").code == 0
    assert os.environ["CATALUNYA_ENV"] == "local"


def test_the_faults_of_the_mock_are_listed(run: Run) -> None:
    assert "429 with Retry-After" in run("mock", "--list-faults").out
