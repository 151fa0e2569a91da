"""`catalunya prune`, as a person sees it, and what docs/retention.md says about getting something back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.ops.mock.server import MockServer
from small.commands import Run

DOCS = (Path(__file__).parents[3] / "docs" / "retention.md").read_text()
LEFT = "landing/municipalities/ingested_process_at=20260101T000000000/page-00000.json"
KEPT = "_superseded/staging/municipalities/0123456789abcdef.parquet"


@pytest.fixture
def left(filled: Path) -> Path:
    """A lake in which a killed run left a page, and in which lies an object that no entry speaks of."""
    for name in (LEFT, KEPT):
        (filled / "lake" / name).parent.mkdir(parents=True)
        (filled / "lake" / name).write_text("[]" * 600)
    return filled


def test_prune_says_when_nothing_has_had_its_time(filled: Path, run: Run) -> None:
    for arguments in ((), ("--dry-run",)):
        said = run("prune", *arguments)
        assert (said.code, said.out.strip()) == (0, "nothing has had its time")


def test_a_dry_run_shows_what_would_go_and_touches_nothing(left: Path, run: Run) -> None:
    said = run("prune", "--dry-run")
    assert said.code == 0
    heading, *rows, total = said.out.splitlines()
    assert heading.split() == ["asset", "what", "objects", "size", "why"]
    assert [re.split(r"\s{2,}", row) for row in rows] == [
        ["landing.municipalities", "landing", "1", "1.2 kB", "its run was interrupted before it was complete"],
        ["staging.municipalities", "superseded", "1", "1.2 kB", "no ledger entry refers to it"],
    ]
    assert total == "2 objects, 2.4 kB, would go; without --dry-run they do"
    assert all((left / "lake" / name).exists() for name in (LEFT, KEPT))


def test_prune_removes_it_and_the_selection_is_all_that_is_looked_at(left: Path, run: Run) -> None:
    assert run("prune", "layer:staging").out.splitlines()[-1] == "1 object, 1.2 kB, went"
    assert [(left / "lake" / name).exists() for name in (LEFT, KEPT)] == [True, False]
    assert run("prune").code == 0
    assert not (left / "lake" / LEFT).exists()
    assert run("verify", "layer:landing", "layer:staging").code == 0


def test_prune_as_json_is_one_document(left: Path, run: Run) -> None:
    said = json.loads(run("prune", "--json", "--dry-run").out)
    assert (said["objects"], said["bytes"], said["dry_run"], said["busy"], said["failed"]) == (2, 2400, True, [], {})
    assert [(r["asset"], r["kind"], r["path"]) for r in said["removals"]] == [
        ("landing.municipalities", "landing", LEFT),
        ("staging.municipalities", "superseded", KEPT),
    ]


def test_an_unreadable_ledger_is_a_line_for_each_asset_it_keeps_from_pruning_and_exit_1(left: Path, run: Run) -> None:
    (left / "lake" / Ledger.path("staging.social_services", 1)).write_bytes(b"{")
    said = run("prune")
    assert said.code == 1
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [error.split()[1] for error in errors] == ["landing.social_services", "staging.social_services"]
    assert all("was left alone: the ledger entry" in error and "verify --repair" in error for error in errors)
    assert [(left / "lake" / name).exists() for name in (LEFT, KEPT)] == [False, False], "the others are pruned"


def test_an_older_table_is_read_as_the_docs_say(filled: Path, project: Project, apis: MockServer) -> None:
    before = _read_as_the_docs_say()
    apis.advance("ivft-vegh", 3)
    for key in ("landing.social_services", "staging.social_services"):
        assert materialize(project, key, Request()).status == "materialized"
    first, second = project.ledger.history("staging.social_services")
    assert first.data_version != second.data_version
    assert _read_as_the_docs_say().equals(before)


def _read_as_the_docs_say() -> Any:
    (snippet,) = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names["table"]
