"""docs/troubleshooting.md explains every reason, outcome and error class there is, and none that does not exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from catalunya.assets.record.state import Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text()
FOLDERS = ("io", "contracts", "assets", "dags", "ops", "cdk")


def table(heading: str) -> set[str]:
    """The names in the first column of the table whose heading row starts with `heading`, wherever it is."""
    found = re.findall(rf"^\| {heading} \|.*\n\| ---.*\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    return {name for rows in found for row in rows.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def section(title: str) -> set[str]:
    """The names in the first column of the tables below a heading."""
    text = PAGE.split(f"### {title}")[1].partition("\n#")[0]
    return set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))


def literal(folder: str, member: str) -> set[str]:
    """The values of the one `Literal[...]` in the files of a folder that has this member."""
    found = [
        {value.value for value in ast.walk(node.slice) if isinstance(value, ast.Constant)}
        for path in (ROOT / folder).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
    ]
    (values,) = [each for each in found if member in each]
    return values


@pytest.fixture(scope="module")
def bases() -> dict[str, set[str]]:
    """Every class of the project -> the names of its ancestors, read from the source: no module has to be imported."""
    direct: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    direct[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}

    def above(name: str) -> set[str]:
        return {each for base in direct.get(name, ()) for each in {base, *above(base)}}

    return {name: above(name) for name in direct}


def test_every_reason_is_explained() -> None:
    assert table("reason") == {*map(str, Reason), "REPAIRED", "RESTORED"}


@pytest.mark.parametrize("reason", ["REPAIRED", "RESTORED"])
def test_a_reason_that_only_the_ledger_has_is_one_that_is_written(reason: str) -> None:
    source = "".join(path.read_text() for folder in ("assets", "ops") for path in (ROOT / folder).rglob("*.py"))
    assert f'"{reason}"' in source


def test_every_outcome_of_a_run_is_explained() -> None:
    made, of_many = literal("assets/making", "deferred"), literal("ops", "stopped")
    assert table("outcome") == made | of_many


def test_every_status_of_a_ledger_entry_is_explained() -> None:
    assert table("status") == literal("assets/record", "unchanged")


def test_every_state_that_the_status_command_shows_is_explained() -> None:
    assert table("state") == {*literal("ops", "fresh"), "overdue"}


def test_every_condition_that_make_run_shows_is_explained() -> None:
    assert table("condition") == literal("ops/local_airflow", "up to date")


def test_every_error_class_is_explained_where_it_belongs(bases: dict[str, set[str]]) -> None:
    errors = {name for name, above in bases.items() if "CatalunyaError" in {name, *above}}
    transient = {name for name in errors if "TransientError" in {name, *bases[name]}}
    permanent = {name for name in errors if "PermanentError" in {name, *bases[name]}}

    assert section("Transient") == transient
    assert section("Permanent") == permanent
    assert section("Neither") == errors - transient - permanent
