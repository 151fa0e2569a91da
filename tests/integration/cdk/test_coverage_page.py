"""docs/architecture-coverage.md names only what exists, and names every type of resource that is deployed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import catalunya
from small.templates import Template

ROOT = Path(catalunya.__file__).parents[2]
PAGE = ROOT / "docs" / "architecture-coverage.md"
TESTS = ROOT / "tests"
# What the CDK adds by itself to do what a resource that has a row asks for.
BY_THE_CDK = {"AWS::Lambda::Permission", "AWS::IAM::Policy"}


@dataclass(frozen=True)
class Row:
    """One row: what is asked, and the names in the columns `where`, `in AWS` and `test`."""

    asked: str
    files: tuple[str, ...]
    resources: tuple[str, ...]
    tests: tuple[str, ...]


def rows() -> Iterator[Row]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 4 and cells[0] not in ("asked", "---"):
            yield Row(cells[0], *(tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells[1:]))


ROWS = list(rows())


def test_the_page_has_a_row_for_each_section_of_the_architecture() -> None:
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")[1:-1]
    assert len(sections) >= 10
    assert all(section.count("\n| ") > 3 for section in sections)
    assert len(ROWS) > 80


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.asked[:60])
def test_a_row_names_files_and_tests_that_exist(row: Row) -> None:
    assert row.files
    assert not [name for name in row.files if not (ROOT / name).exists()]
    assert row.tests
    for name in row.tests:
        file, _, function = name.partition("::")
        found = list(TESTS.rglob(file))
        assert len(found) == 1, f"{file}: {len(found)} files"
        assert re.search(rf"^\s*(async )?def {re.escape(function)}\(", found[0].read_text(), re.MULTILINE), name


def test_every_type_of_resource_that_is_deployed_has_a_row_and_no_other_is_named(
    templates: dict[str, Template],
) -> None:
    deployed = {
        resource["Type"] for template in templates.values() for resource in template.content["Resources"].values()
    }
    named = {name for row in ROWS for name in row.resources}

    assert named - deployed == set()
    assert deployed - named - BY_THE_CDK == set()


def test_nothing_is_partly_done() -> None:
    assert not [row.asked for row in ROWS if re.search(r"\bpart(ly|ial)\b", " ".join((row.asked, *row.files)))]
