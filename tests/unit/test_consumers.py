"""What readers of the tables are told: in plain words, in three languages, only what concerns them. The page is in test_portal_quality.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import mart_contracts
from catalunya.assets.graph.titles import titles
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.ops.watching.consumers import situation, texts
from catalunya.ops.watching.findings import (
    SILENT,
    Board,
    Finding,
    Kind,
    Seen,
    Severity,
    keep_board,
    read_board,
    updated,
)

NOW = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
LANGUAGES = ("ca", "es", "en")


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
    return [notice.text for notice in situation(project.graph, board(*found), NOW).notices]


def test_every_kind_of_finding_is_told_or_said_not_to_be(project: Project) -> None:
    known = texts()
    assert known.kinds.keys() | known.unpublished.kinds == set(Kind)
    assert not known.kinds.keys() & known.unpublished.kinds
    assert {each.text for each in known.kinds.values()} == known.texts.keys(), "no text is missing, and none is unused"


def test_every_text_is_there_in_three_languages_and_no_two_are_the_same() -> None:
    known = texts()
    for name, by_language in known.texts.items():
        assert tuple(by_language) == LANGUAGES, name
        for part in ("title", "what", "meanwhile"):
            said = [getattr(words, part) for words in by_language.values()]
            assert len(set(said)) == len(LANGUAGES), f"{name}.{part} is not translated"
            assert all(line.strip() == line for line in said)


def test_every_mart_has_a_title_in_each_language() -> None:
    named = titles()
    assert {name for name in named if name.startswith("marts.")} == {f"marts.{name}" for name in mart_contracts()}
    assert all(tuple(found) == LANGUAGES for found in named.values())


def test_a_warning_is_told_once_it_has_lasted_and_an_error_at_once(project: Project) -> None:
    assert told(project, seen(severity=Severity.WARNING, hours=23)) == []
    assert told(project, seen(severity=Severity.WARNING, hours=24)) == ["source_down"]
    assert told(project, seen()) == ["source_down"]
    assert told(project, seen(Kind.ROWS_UNUSUAL, severity=Severity.WARNING)) == ["unusual"]


def test_what_changes_nothing_for_readers_is_not_told(project: Project) -> None:
    assert told(project, seen(Kind.BACKUP_OLD, "pipeline"), seen(Kind.TASK_FAILED, "ops.backup")) == []
    assert told(project, seen(affected=())) == [], "readers know no landing table"


def test_a_finding_says_which_marts_and_which_source_it_is_about(project: Project) -> None:
    (notice,) = situation(project.graph, board(seen(hours=30)), NOW).notices
    assert notice.tables == ("marts.fact_population_monthly", "staging.population"), "marts first"
    assert notice.source == "IDESCAT ep/9122/10002/mun"
    assert notice.since == NOW - timedelta(hours=30)


def test_what_stops_all_updates_concerns_all_tables(project: Project) -> None:
    found = situation(project.graph, board(seen(Kind.PROCESS_SILENT, "scheduler", affected=())), NOW)
    assert [(notice.text, notice.tables) for notice in found.notices] == [("all_late", ())]


def test_a_finding_that_is_over_is_told_as_such_if_it_was_told_before(project: Project) -> None:
    brief = seen(Kind.TABLE_FAILED, "staging.gdp", severity=Severity.WARNING, affected=("marts.fact_gdp_quarterly",))
    later = NOW + timedelta(minutes=10)
    after, _ = updated(board(seen(), brief), [], later)
    found = situation(project.graph, after, later)
    assert found.notices == ()
    assert [(notice.text, notice.since, notice.until) for notice in found.resolved] == [("source_down", NOW, later)]


def test_a_board_that_no_one_has_kept_for_a_while_is_not_checked(project: Project) -> None:
    kept = board()
    assert situation(project.graph, kept, NOW + SILENT - timedelta(seconds=1)).is_checked
    assert not situation(project.graph, kept, NOW + SILENT).is_checked
    assert not situation(project.graph, Board(), NOW).is_checked


def test_the_board_that_ops_watch_keeps_is_what_is_told(project: Project) -> None:
    keep_board(project.lake, board(seen()))
    kept = read_board(project.lake)
    assert isinstance(kept.open[0], Finding)
    assert [notice.text for notice in situation(project.graph, kept, NOW).notices] == ["source_down"]
