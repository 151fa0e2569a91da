"""The command `prune`, and reading a superseded table as docs/retention.md describes."""

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
    """A lake with a page left by a killed run, and an object that no entry refers to."""
    for name in (LEFT, KEPT):
        (filled / "lake" / name).parent.mkdir(parents=True)
        (filled / "lake" / name).write_text("[]" * 600)
    return filled


def test_prune_says_when_nothing_has_expired(filled: Path, run: Run) -> None:
    for arguments in ((), ("--dry-run",)):
        ran = run("prune", *arguments)
        assert (ran.code, ran.out.strip()) == (0, "nothing to prune")


def test_a_dry_run_shows_what_would_be_deleted_and_deletes_nothing(left: Path, run: Run) -> None:
    ran = run("prune", "--dry-run")
    assert ran.code == 0
    heading, *rows, total = ran.out.splitlines()
    assert heading.split() == ["asset", "kind", "objects", "size", "why"]
    assert [re.split(r"\s{2,}", row) for row in rows] == [
        ["landing.municipalities", "landing", "1", "1.2 kB", "its run was interrupted before it was complete"],
        ["staging.municipalities", "superseded", "1", "1.2 kB", "no ledger entry refers to it"],
    ]
    assert total == "2 objects, 2.4 kB, would be deleted; run without --dry-run to delete"
    assert all((left / "lake" / name).exists() for name in (LEFT, KEPT))


def test_prune_deletes_what_has_expired_of_the_selection_only(left: Path, run: Run) -> None:
    assert run("prune", "layer:staging").out.splitlines()[-1] == "1 object, 1.2 kB, deleted"
    assert [(left / "lake" / name).exists() for name in (LEFT, KEPT)] == [True, False]
    assert run("prune").code == 0
    assert not (left / "lake" / LEFT).exists()
    assert run("verify", "layer:landing", "layer:staging").code == 0


def test_prune_as_json_is_one_document(left: Path, run: Run) -> None:
    ran = json.loads(run("prune", "--json", "--dry-run").out)
    assert (ran["objects"], ran["bytes"], ran["dry_run"], ran["busy"], ran["failed"]) == (2, 2400, True, [], {})
    assert [(r["asset"], r["kind"], r["path"]) for r in ran["removals"]] == [
        ("landing.municipalities", "landing", LEFT),
        ("staging.municipalities", "superseded", KEPT),
    ]


def test_an_unreadable_ledger_is_one_line_per_asset_that_was_skipped_and_exit_1(left: Path, run: Run) -> None:
    (left / "lake" / Ledger.path("staging.social_services", 1)).write_bytes(b"{")
    ran = run("prune")
    assert ran.code == 1
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert [error.split()[1] for error in errors] == ["staging.social_services"]
    assert all("was skipped: the ledger entry" in error and "verify --repair" in error for error in errors)
    assert [(left / "lake" / name).exists() for name in (LEFT, KEPT)] == [False, False], "the others are pruned"


def test_a_superseded_table_is_read_as_the_docs_say(filled: Path, project: Project, apis: MockServer) -> None:
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
