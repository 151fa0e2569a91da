"""The pages of tables: what they say of a table, of one that was never made, and when they are made again."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.contracts.model.columns import Column, LogicalType
from catalunya.contracts.model.results import Check
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalunyaError
from catalunya.io.lake import Lake
from catalunya.ops.watching.consumers import texts
from catalunya.ops.watching.findings import Board, Kind, Seen, Severity, keep_board, read_board, updated
from catalunya.portal.build import build, moved, read_state
from catalunya.portal.declaration import Declaration
from catalunya.portal.language import Language
from catalunya.portal.lineage_picture import MOST, Node, lineage_picture
from catalunya.portal.previews import ROWS, first_rows, preview
from catalunya.portal.prose import first_sentence, inline_prose, prose
from catalunya.portal.site import Site
from catalunya.portal.snippets import Citation
from catalunya.portal.table_checks import check_results
from small.shops import FolderSource, declare, some

NOW = datetime(2026, 8, 3, tzinfo=UTC)


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


def read(project: Project, now: datetime = NOW) -> Site:
    """The site of a project that declares nothing for its pages, as a new process reads it."""
    project = Project(project.settings, project.declared)
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
    assert moved(read(project), read_state(to), to) == []
    source.write(some(4))
    make_all(project)
    assert {"table:staging.shops", "tables"} <= set(moved(read(project), read_state(to), to))


def test_pages_are_made_again_when_an_attempt_failed_and_say_so(shops: tuple[FolderSource, Project], to: Lake) -> None:
    source, project = shops
    make_all(project)
    build(read(project), to)
    source.write([{"ciutat": "reus", "codi": f"X{number}", "places": "1"} for number in range(9)])
    with suppress(CatalunyaError):
        make_all(project)
    assert "table:staging.shops" in moved(read(project), read_state(to), to)
    build(read(project), to)
    assert "could not be published. This is the version before it" in page(to, "staging.shops")
    assert "S2" in page(to, "staging.shops")


def test_pages_are_made_again_when_something_is_found_wrong(shops: tuple[FolderSource, Project], to: Lake) -> None:
    _, project = shops
    make_all(project)
    build(read(project), to)
    found = Seen(kind=Kind.ROWS_UNUSUAL, subject="staging.shops", severity=Severity.ERROR, what="few rows", remedy="")
    board, _ = updated(Board(), [found], NOW)
    keep_board(project.lake, board)
    assert "table:staging.shops" in moved(read(project), read_state(to), to)
    assert "table:staging.cities" not in moved(read(project), read_state(to), to)
    build(read(project), to)
    assert texts().texts["unusual"]["en"].title in page(to, "staging.shops")


def test_pages_are_made_again_when_another_publisher_is_named(shops: tuple[FolderSource, Project], to: Lake) -> None:
    _, project = shops
    make_all(project)
    build(read(project), to)
    other = Project(project.settings.model_copy(update={"publisher": "Town hall"}), project.declared)
    assert "table:staging.shops" in moved(read(other), read_state(to), to)


def test_time_alone_makes_no_page_again(shops: tuple[FolderSource, Project], to: Lake) -> None:
    _, project = shops
    make_all(project)
    build(read(project), to)
    assert moved(read(project, NOW + timedelta(days=400)), read_state(to), to) == []


def test_pages_escape_what_sources_say(shops: tuple[FolderSource, Project], to: Lake) -> None:
    source, project = shops
    hostile = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "a\u202eb"]
    source.write([{"codi": name, "ciutat": "Reus", "places": "1"} for name in hostile])
    make_all(project)
    build(read(project), to)
    shown = page(to, "staging.shops")
    assert "<script>alert" not in shown
    assert "<img" not in shown
    assert "{{ 7 * 7 }}" in shown
    assert "\u202e" not in shown
    assert 'href="file:' not in shown  # the address of a source that is none of the web


def test_the_list_says_what_there_is_of_each_table(shops: tuple[FolderSource, Project], to: Lake) -> None:
    _, project = shops
    materialize(project, "landing.shops")
    materialize(project, "staging.shops")
    build(read(project), to)
    shown = Path(to.root, "en/tables.html").read_text(encoding="utf-8")
    assert "Intermediate data" in shown
    assert "3 rows · updated on" in shown
    assert "not published yet" in shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("quarter_id is not null", "quarter_id is never empty"),
        ("not_null_shops_shop_id", "shop_id is never empty"),
        ("capacity_places >= 1000", "capacity_places is 1,000 or more"),
        ("reference_year <= 2100", "reference_year is 2100 or less"),
        ("capacity_places is a bigint", "capacity_places is of type “whole number”"),
        ("accepted_values_shops_city__Reus__Vic", "city is one of the expected values"),
        ("city is in staging.cities", "city is in the table “staging.cities”"),
        ("unique_together_shops_shop_id__city", "No two rows have the same key"),
        ("rows in quarantine at most 2.5 %", "At most 2.5% of the rows were set apart"),
        ("guard: rows lost at most 5 %", "At most 5% of the rows of the version before are missing"),
        ("rows: adds_up", "What it says."),
        ("shops_follow_each_other", "shops follow each other"),
    ],
)
def test_a_check_is_said_in_words(name: str, words: str, shops: tuple[FolderSource, Project]) -> None:
    asset = shops[1].graph["staging.shops"]
    rules = {"adds_up": "What it says."}
    found = check_results((Check(name=name, kind="contract"),), asset, Language("en"), lambda rule: rules.get(rule, ""))
    assert [each.text for each in found] == [words]


def test_checks_that_say_the_same_are_one_and_those_that_failed_are_first(
    shops: tuple[FolderSource, Project],
) -> None:
    checks = (
        Check(name="city is not null", kind="contract"),
        Check(name="shop_id is not null", kind="contract"),
        Check(name="not_null_shops_shop_id", kind="test", failed=3),
    )
    found = check_results(checks, shops[1].graph["staging.shops"], Language("en"), lambda _: "")
    assert [(each.text, each.failed) for each in found] == [("shop_id is never empty", 3), ("city is never empty", 0)]


def test_numbers_of_a_preview_are_written_as_the_language_does_and_sorted_by_value() -> None:
    rows = pl.DataFrame({"reference_year": [2025], "people": [12345], "share_pct": [1.5], "day": [date(2026, 4, 1)]})
    kinds: dict[str, LogicalType] = {
        "reference_year": "bigint",
        "people": "bigint",
        "share_pct": "double",
        "day": "date",
    }
    columns = [Column(name, kind, "", nullable=True) for name, kind in kinds.items()]
    cells = preview(rows, columns, Language("ca")).rows[0]
    assert [cell.text for cell in cells] == ["2025", "12.345", "1,5", "1 d’abril de 2026"]
    assert [cell.value for cell in cells] == ["2025", "12345", "1.5", "2026-04-01"]


def test_a_preview_reads_no_more_than_the_first_rows() -> None:
    many = pl.LazyFrame({"number": range(100_000)})
    assert first_rows(many).height == ROWS


def test_a_picture_of_lineage_has_a_box_for_each_table_and_says_how_many_are_left_out() -> None:
    picture = lineage_picture("here", [Node(f"table {n}", "staging") for n in range(12)], [], "and {n} more")
    assert len(picture.boxes) == MOST + 1
    assert picture.boxes[MOST - 1].lines == ("and 5 more",)
    assert len(picture.lines) == MOST
    assert all(box.x >= 0 and box.y + box.height <= picture.height for box in picture.boxes)


def test_a_citation_names_the_version_and_is_escaped_for_bibtex() -> None:
    cite = Citation("R&D", "Rows {all}", NOW, "2026-08-03T0000Z", "shops:marts.a_b@2026-08-03T0000Z", "https://a.b/c_d")
    assert cite.text("dataset", "Version").startswith("R&D (2026). Rows {all} [dataset]. Version 2026-08-03T0000Z")
    assert "author = {{R\\&D}}" in cite.bibtex
    assert "title = {{Rows \\{all\\}}}" in cite.bibtex
    assert cite.bibtex.startswith("@misc{shops:marts.a-b-2026-08-03T0000Z,")


def test_descriptions_are_escaped_and_names_in_backticks_are_code() -> None:
    assert inline_prose("`a` is <b> & `c`") == "<code>a</code> is &lt;b&gt; &amp; <code>c</code>"
    assert inline_prose("a ` alone") == "a ` alone"
    assert prose("One\nline.\n\nAnother.") == "<p>One line.</p>\n<p>Another.</p>"
    assert first_sentence("GDP by quarter: 1.5 of it. More.") == "GDP by quarter: 1.5 of it."
