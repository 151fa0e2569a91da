"""What readers of the tables are told: in plain words, in three languages, only what concerns them, and nothing that a page could run."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest

from catalunya.assets.graph.discovery import mart_contracts
from catalunya.assets.graph.titles import titles
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.io.errors import UsageError
from catalunya.ops.watching.consumers import Published, Situation, situation, texts
from catalunya.ops.watching.findings import Board, Finding, Kind, Seen, Severity, keep_board, updated
from catalunya.ops.watching.notice_page import INDEX, render, write
from small.lakes import record

NOW = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
LANGUAGES = ("ca", "es", "en")
SILENT = timedelta(minutes=45)


@pytest.fixture
def project(settings: Settings, compiled: Path) -> Project:
    return Project(settings.model_copy(update={"cache": compiled}))


def board(*seen: Seen) -> Board:
    return updated(Board(), seen, NOW)[0]


def seen(
    kind: Kind = Kind.SOURCE_DOWN,
    subject: str = "landing.population",
    *,
    severity: Severity = Severity.ERROR,
    hours: float = 0,
    affected: tuple[str, ...] = ("staging.population", "marts.fact_population_monthly"),
) -> Seen:
    since = NOW - timedelta(hours=hours)
    return Seen(
        kind=kind, subject=subject, severity=severity, what="HTTP 503", remedy="x", since=since, affected=affected
    )


def told(project: Project, *found: Seen) -> list[str]:
    return [notice.text for notice in situation(project, board(*found), NOW, silent=SILENT).notices]


def test_every_kind_of_finding_is_told_or_said_not_to_be(project: Project) -> None:
    known = texts()
    assert known.kinds.keys() | known.unpublished.kinds == set(Kind)
    assert not known.kinds.keys() & known.unpublished.kinds
    assert {each.text for each in known.kinds.values()} == known.texts.keys(), "no text is missing, and none is unused"


def test_every_text_is_there_in_three_languages_and_no_two_are_the_same() -> None:
    known = texts()
    assert tuple(known.page) == LANGUAGES
    for name, by_language in known.texts.items():
        assert tuple(by_language) == LANGUAGES, name
        for part in ("title", "what", "meanwhile"):
            said = [getattr(words, part) for words in by_language.values()]
            assert len(set(said)) == len(LANGUAGES), f"{name}.{part} is not translated"
            assert all(line.strip() == line for line in said)
    for words in known.page.values():
        assert len(set(words.months)) == 12


def test_every_mart_has_a_title_in_each_language() -> None:
    named = titles()
    assert {name for name in named if name.startswith("marts.")} == {f"marts.{name}" for name in mart_contracts()}
    assert all(tuple(found) == LANGUAGES for found in named.values())


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("ca", "1 d'abril de 2026 a les 07:05 UTC"),
        ("es", "1 de abril de 2026 a las 07:05 UTC"),
        ("en", "1 April 2026, 07:05 UTC"),
    ],
)
def test_a_moment_is_written_as_in_the_language(language: str, expected: str) -> None:
    assert texts().page[language].moment(datetime(2026, 4, 1, 7, 5, tzinfo=UTC)) == expected


def test_a_warning_is_told_once_it_has_lasted_and_an_error_at_once(project: Project) -> None:
    assert told(project, seen(severity=Severity.WARNING, hours=23)) == []
    assert told(project, seen(severity=Severity.WARNING, hours=24)) == ["source_down"]
    assert told(project, seen()) == ["source_down"]
    assert told(project, seen(Kind.ROWS_UNUSUAL, severity=Severity.WARNING)) == ["unusual"]


def test_what_changes_nothing_for_readers_is_not_told(project: Project) -> None:
    assert told(project, seen(Kind.BACKUP_OLD, "pipeline"), seen(Kind.TASK_FAILED, "ops.backup")) == []
    assert told(project, seen(affected=("staging.population",))) == [], "readers know the marts only"


def test_a_finding_says_which_marts_and_which_source_it_is_about(project: Project) -> None:
    (notice,) = situation(project, board(seen(hours=30)), NOW, silent=SILENT).notices
    assert (notice.tables, notice.source) == (("marts.fact_population_monthly",), "IDESCAT ep/9122/10002/mun")
    assert notice.since == NOW - timedelta(hours=30)


def test_what_stops_all_updates_concerns_all_tables(project: Project) -> None:
    found = situation(project, board(seen(Kind.PROCESS_SILENT, "scheduler", affected=())), NOW, silent=SILENT)
    assert [(notice.text, notice.tables) for notice in found.notices] == [("all_late", ())]
    assert all(table.has_problem for table in found.tables)


def test_each_table_says_when_it_was_last_updated(project: Project) -> None:
    record(project, "marts.dim_time", [])
    found = {table.key: table for table in situation(project, board(seen()), NOW, silent=SILENT).tables}
    assert len(found) == 8
    assert found["marts.dim_time"].updated_at
    assert not found["marts.dim_time"].has_problem
    assert found["marts.fact_population_monthly"] == Published(
        key="marts.fact_population_monthly", updated_at=None, has_problem=True
    )


def test_a_closed_finding_is_not_told_any_more(project: Project) -> None:
    after, _ = updated(board(seen()), [], NOW + timedelta(minutes=10))
    assert situation(project, after, NOW + timedelta(minutes=10), silent=SILENT).notices == ()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_does_not_say_that_all_is_well_when_no_one_has_looked(project: Project, language: str) -> None:
    words = texts().page[language]
    never = unescape(render(situation(project, Board(), NOW, silent=SILENT), language))
    old = unescape(render(situation(project, board(), NOW + timedelta(hours=1), silent=SILENT), language))
    fine = unescape(render(situation(project, board(), NOW, silent=SILENT), language))
    assert words.fine not in never + old
    assert words.never_checked in never
    assert words.unchecked in old
    assert words.fine in fine
    assert words.unchecked not in fine


class Page(HTMLParser):
    """The parts of a page: its elements, and whether all of them are closed in order."""

    VOID: ClassVar = {"meta", "link", "br", "img"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_whole_in_its_language_and_asks_for_nothing(project: Project, language: str) -> None:
    kinds = {told.text: kind for kind, told in texts().kinds.items()}
    all_of_them = situation(project, board(*(seen(kind) for kind in kinds.values())), NOW, silent=SILENT)
    html = render(all_of_them, language)
    page = Page(html)
    assert page.of("html") == [{"lang": language}]
    assert {link["hreflang"] for link in page.of("link") if link["rel"] == "alternate"} == {*LANGUAGES, "x-default"}
    assert [each["lang"] for each in page.of("a") if each.get("aria-current")] == [language]
    assert not page.of("script")
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", html), (
        "nothing is requested from elsewhere"
    )
    assert len(page.of("h1")) == 1
    assert len(page.of("article")) == len(all_of_them.notices) == len(kinds)
    for words in texts().texts.values():
        assert words[language].title in unescape(html)


def test_a_text_from_outside_is_only_text(project: Project) -> None:
    evil = "<script>alert(1)</script>\"'&\u202e"
    found = situation(project, board(seen()), NOW, silent=SILENT)
    hostile = replace(found, notices=(replace(found.notices[0], source=evil, tables=(evil,)),))
    html = render(hostile, "en")
    assert not Page(html).of("script")
    assert "&lt;script&gt;" in html
    assert "\u202e" not in html


def test_the_pages_are_written_at_once_and_nothing_else_is_left(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "public" / "state"
    found = situation(project, board(seen()), NOW, silent=SILENT)
    made = write(folder, found)
    assert sorted(path.name for path in folder.iterdir()) == ["ca.html", "en.html", "es.html", INDEX]
    assert (folder / INDEX).read_bytes() == (folder / "ca.html").read_bytes()
    first = [path.stat().st_ino for path in made]
    write(folder, found)
    assert [path.stat().st_ino for path in made] != first, "each is replaced as a whole"
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written to: .*; name another folder"):
        write(tmp_path / "file", found)


def test_nothing_of_the_situation_is_lost_in_a_language(project: Project) -> None:
    found = situation(project, board(seen(), seen(Kind.DISK_FULL, "lake", affected=())), NOW, silent=SILENT)
    shapes = {tuple(tag for tag, _ in Page(render(found, language)).found) for language in LANGUAGES}
    assert len(shapes) == 1


def test_the_board_that_ops_watch_keeps_is_what_is_told(project: Project) -> None:
    from catalunya.ops.watching.findings import read_board

    keep_board(project.lake, board(seen()))
    kept = read_board(project.lake)
    assert isinstance(kept.open[0], Finding)
    assert isinstance(situation(project, kept, NOW, silent=SILENT), Situation)
    assert [notice.text for notice in situation(project, kept, NOW, silent=SILENT).notices] == ["source_down"]
