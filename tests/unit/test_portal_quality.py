"""The quality page: what is wrong, refused or set apart, in readers' words, with dates; no row of a table and no text of an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.discovery import contracts
from catalunya.assets.graph.spec import Declaration as Declared
from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.contracts.model.results import Check
from catalunya.contracts.model.rules import reference_rule, rules
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalunyaError, UsageError
from catalunya.ops.watching.consumers import texts
from catalunya.ops.watching.findings import SILENT, Board, Kind, Seen, Severity, updated
from catalunya.portal.check_words import meaning
from catalunya.portal.declaration import Declaration
from catalunya.portal.language import words
from catalunya.portal.quality import refusals
from catalunya.portal.quality_page import parts
from catalunya.portal.site import Site
from small.shops import FolderSource, Rows, declare, some

NOW = datetime.now(UTC)
LANGUAGES = ("ca", "es", "en")
LANDING, SHOPS, CITIES = "landing.shops", "staging.shops", "staging.cities"


class Shop:
    """The shops of a source that the test writes; the staging function raises what a test sets."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.source: FolderSource
        self.source, (landing, shops, cities) = declare(folder, page_rows=50)
        self.raises: Exception | None = None
        self.now = datetime.now(UTC)
        assert isinstance(shops, StagingDeclaration)
        self.declared: list[Declared] = [landing, replace(shops, function=self.function), cities]  # type: ignore[arg-type]

    def function(self, raw: pl.LazyFrame) -> pl.LazyFrame:
        if self.raises:
            raise self.raises
        return raw

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    def make(self, rows: Rows, *, fields: dict[str, str] | None = None) -> None:
        """Publish these rows at the source and try to make all tables."""
        self.source.write(rows, fields=fields)
        for key in (LANDING, SHOPS, CITIES):
            try:
                materialize(self.project, key)
            except CatalunyaError:
                return

    def site(self, board: Board | None = None, now: datetime | None = None) -> Site:
        project, at = self.project, now or datetime.now(UTC)
        return Site(project, Declaration(LANGUAGES), project.state(at), board or Board(), "http://localhost")


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


def page(site: Site, language: str = "en") -> str:
    """The text of the page, without its elements."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html(site, language))))


def html(site: Site, language: str = "en") -> str:
    (part,) = parts(site)
    (found,) = [file for file in part.files() if file.path == f"{language}/quality.html"]
    assert isinstance(found.body, bytes)
    return found.body.decode()


def looked(*seen: Seen, at: datetime = NOW) -> Board:
    return updated(Board(), seen, at)[0]


def seen(subject: str = LANDING, *, kind: Kind = Kind.SOURCE_DOWN, affected: Iterable[str] = (SHOPS, CITIES)) -> Seen:
    return Seen(
        kind=kind,
        subject=subject,
        severity=Severity.ERROR,
        what="HTTP 503 of http://10.0.0.1/secret",
        cause="refused",
        remedy="x",
        since=datetime(2026, 3, 2, tzinfo=UTC),
        affected=tuple(affected),
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_project_without_any_table_made_and_without_a_look_says_so(shop: Shop, language: str) -> None:
    text, word = page(shop.site(), language), words(language)
    assert str(word["quality.never_checked"]) in text
    assert str(word["quality.fine"]) not in text
    assert str(word["quality.none_apart"]) in text
    assert str(word["quality.none_refused"]) in text
    assert text.count(str(word["quality.state_never"])) == 3


def test_that_all_is_well_is_said_only_after_a_look(shop: Shop) -> None:
    shop.make(some(4))
    fine = page(shop.site(looked(), NOW + SILENT - timedelta(minutes=1)))
    assert "There is no known problem." in fine
    assert fine.count("No known problem") == 3
    old = page(shop.site(looked(), NOW + SILENT))
    assert "There is no known problem." not in old
    assert "Nothing has been checked since then" in old
    assert old.count("Not checked") == 3


def test_rows_set_apart_are_counted_by_reason_without_what_is_in_them(shop: Shop) -> None:
    bad = [
        {"codi": "B1", "ciutat": "reus-hidden", "places": "1", "telefon": "611222333"},
        {"codi": "B2", "ciutat": "reus-hidden", "places": "many-hidden", "telefon": "611222333"},
        {"codi": "B3", "ciutat": "Reus", "places": "-7", "telefon": "611222333"},
    ]
    shop.make([*some(20), *bad])
    text = page(shop.site(), "ca")
    assert "El valor és fora dels límits ( capacity_places ): 1 fila" in text
    assert "El valor no està escrit com cal" in text
    assert "hidden" not in text
    assert "611222333" not in text
    assert "-7" not in text


def test_updates_that_were_refused_say_why_in_plain_words_and_when_they_were_resolved(shop: Shop) -> None:
    shop.make(some(40))
    shop.make(some(4))
    shop.make(some(5))
    shop.make(some(41), fields={"codi": "text"})
    shop.make(some(42))
    shop.raises = UsageError("a secret of /home/someone")
    shop.make(some(43))
    found = [(each.asset.key, each.reason, each.attempts, each.over_at is not None) for each in refusals(shop.site())]
    assert found == [(SHOPS, "technical", 1, False), (LANDING, "fields", 3, True)]
    text = page(shop.site(), "es")
    assert "Un problema técnico impidió actualizar la tabla." in text
    assert "La fuente había cambiado la forma de publicar los datos" in text
    assert "secret" not in text
    assert "/home" not in text


def test_an_update_that_loses_most_rows_is_refused_as_too_different(shop: Shop) -> None:
    shop.make(some(40))
    shop.make(some(4))
    (found,) = refusals(shop.site())
    assert (found.asset.key, found.reason) == (LANDING, "different")
    assert "The new data were too different" in page(shop.site())


def test_open_problems_are_told_in_the_words_for_readers_with_their_dates_and_tables(shop: Shop) -> None:
    shop.make(some(4))
    text = page(shop.site(looked(seen())), "ca")
    assert "Hi ha 1 problema conegut." in text
    assert texts().texts["source_down"]["ca"].what in text
    assert "Data d'inici: 2 de març de 2026" in text
    assert "503" not in text
    assert "secret" not in text
    assert 'href="table/staging.shops.html"' in html(shop.site(looked(seen())))


def test_a_problem_that_is_over_is_among_the_resolved(shop: Shop) -> None:
    board, _ = updated(looked(seen()), [], NOW + timedelta(days=1))
    text = page(shop.site(board, NOW + timedelta(days=1)), "en")
    assert "There is no known problem." in text
    assert text.index("Recently resolved") < text.index("A data source does not answer") < text.index("All tables")


def test_a_table_whose_record_cannot_be_read_is_said_to_be_unknown(shop: Shop) -> None:
    shop.make(some(4))
    lake = shop.project.lake
    lake.put(Ledger.path(CITIES, 1), b"{")
    assert "Not known: the record of the table cannot be read" in page(shop.site(looked()))


EVIL = "<script>alert(1)</script>\"'&\u202e{{ 7*7 }}"


def test_texts_from_outside_are_only_text(shop: Shop) -> None:
    shop.make(some(4))
    project = shop.project
    last = project.ledger.latest(SHOPS)
    assert last
    hostile = (
        Check(name=EVIL, kind="contract", failed=3, column=EVIL, sample=EVIL),
        Check(name="code is not null", kind="contract", failed=2, column=EVIL),
        Check(name=EVIL, kind="test", failed=1),
    )
    project.ledger.append(replace(last, quarantined=3, checks=hostile), after=last.sequence)
    found = html(shop.site(looked(seen(EVIL), seen(SHOPS, kind=Kind.TABLE_FAILED, affected=(EVIL, SHOPS)))))
    assert "<script>alert" not in found
    assert "&lt;script&gt;alert" in found
    assert "\u202e" not in found
    assert "{{ 7*7 }}" in unescape(found)
    assert "A required value is missing (" in page(shop.site())
    assert "The row fails another check" in page(shop.site())


def test_the_page_moves_with_each_thing_that_it_shows_and_not_with_the_clock(shop: Shop) -> None:
    def version(board: Board | None = None, now: datetime | None = None) -> dict[str, str]:
        (part,) = parts(shop.site(board, now))
        return dict(part.made_from)

    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    shop.make(some(4))
    before = version(looked(at=noon), noon)
    assert version(looked(at=noon + timedelta(minutes=10)), noon + timedelta(minutes=20)) == before
    assert html(shop.site(looked(at=noon), noon)) == html(shop.site(looked(at=noon), noon + timedelta(minutes=30)))
    changes: list[Callable[[], dict[str, str]]] = [
        lambda: version(looked(at=noon + timedelta(days=1)), noon + timedelta(days=1)),
        lambda: version(looked(at=noon), noon + timedelta(days=1)),
        lambda: version(looked(seen(), at=noon), noon),
        lambda: version(updated(looked(seen(), at=noon), [], noon)[0], noon),
    ]
    found = [before, *(change() for change in changes)]
    shop.make(some(5))
    found.append(version(looked(at=noon), noon))
    shop.raises = UsageError("x")
    shop.make(some(6))
    found.append(version(looked(at=noon), noon))
    assert len({str(sorted(each.items())) for each in found}) == len(found)


@pytest.mark.parametrize("key", sorted(key for key in contracts() if not key.startswith("landing.")))
def test_every_rule_of_the_projects_contracts_has_a_meaning_for_readers(
    key: str, settings: Settings, compiled: Path
) -> None:
    asset, contract = Project(settings.model_copy(update={"cache": compiled})).graph[key], contracts()[key]
    known = [rule.name for rule in rules(contract)]
    known += [reference_rule(column, asset.layer) for column in contract.columns() if column.references]
    assert [name for name in known if meaning(Check(name=name, kind="contract"), asset) == "other"] == []
