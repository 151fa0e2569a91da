"""The pages of tables: what they say of a table, of one that was never made, and when they are made again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.lake import Lake
from catalunya.ops.watching.findings import read_board
from catalunya.portal.build import build, moved, read_state
from catalunya.portal.declaration import Declaration
from catalunya.portal.prose import first_sentence, inline_prose, prose
from catalunya.portal.site import Site
from small.shops import FolderSource, declare, some


@pytest.fixture
def shops(settings: Settings, tmp_path: Path) -> tuple[FolderSource, Project]:
    """The small source, with three rows of which nothing is made yet, and its tables."""
    source, declared = declare(tmp_path / "shops")
    source.write(some(3))
    return source, Project(settings, declared)


@pytest.fixture
def to(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "site"))


def make_all(project: Project) -> None:
    for asset in project.graph:
        materialize(project, asset.key)


def read(project: Project) -> Site:
    """The site of a project that declares nothing for its pages, as a new process reads it."""
    project = Project(project.settings, project.declared)
    now = datetime(2026, 8, 3, tzinfo=UTC)
    return Site(project, Declaration(), project.state(now), read_board(project.lake), "http://localhost:8081")


def page(to: Lake, key: str, language: str = "en") -> str:
    return Path(to.root, language, "table", f"{key}.html").read_text(encoding="utf-8")


def test_a_page_shows_the_rows_and_never_a_personal_column(shops: tuple[FolderSource, Project], to: Lake) -> None:
    _, project = shops
    make_all(project)
    build(read(project), to)
    shown = page(to, "staging.shops")
    assert "Reus" in shown
    assert "All 3 rows of the table" in shown
    assert "telefon" not in shown
    assert "900" not in shown


def test_a_table_that_was_never_made_has_a_page_that_says_so(shops: tuple[FolderSource, Project], to: Lake) -> None:
    build(read(shops[1]), to)
    assert "has not been published yet" in page(to, "staging.shops")


def test_a_table_with_an_unreadable_ledger_has_a_page_that_says_so(
    shops: tuple[FolderSource, Project], to: Lake
) -> None:
    _, project = shops
    make_all(project)
    project.lake.put(Ledger.path("staging.shops", 1), b"{")
    build(read(project), to)
    assert "cannot read the record" in page(to, "staging.shops")


def test_pages_are_made_again_when_their_table_was(shops: tuple[FolderSource, Project], to: Lake) -> None:
    source, project = shops
    make_all(project)
    build(read(project), to)
    assert moved(read(project), read_state(to)) == []
    source.write(some(4))
    make_all(project)
    assert {"table:staging.shops", "tables"} <= set(moved(read(project), read_state(to)))


def test_descriptions_are_escaped_and_names_in_backticks_are_code() -> None:
    assert inline_prose("`a` is <b> & `c`") == "<code>a</code> is &lt;b&gt; &amp; <code>c</code>"
    assert inline_prose("a ` alone") == "a ` alone"
    assert prose("One\nline.\n\nAnother.") == "<p>One line.</p>\n<p>Another.</p>"
    assert first_sentence("GDP by quarter: 1.5 of it. More.") == "GDP by quarter: 1.5 of it."
