"""The pages in Airflow's UI, from a small lake: what they say of it, that text from a source stays text, that what is personal is masked."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.index import KEPT, Index, _frame, keep_index
from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.results import Check
from catalunya.dags.plugin.asset_page import asset_page
from catalunya.dags.plugin.ops_page import ops_page
from catalunya.dags.plugin.overview_page import Filter, overview_page
from catalunya.dags.plugin.quarantine_page import quarantine_page
from catalunya.dags.plugin.rendering import environment, render_page
from catalunya.dags.plugin.run_page import run_page
from catalunya.dags.plugin.snapshot import Snapshot, take_snapshot
from catalunya.dags.plugin.words import Links
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, UsageError
from catalunya.io.lake import Lake, Object
from catalunya.ops.watching.findings import Board, Finding, Kind, Severity, keep_board
from catalunya.ops.watching.look import watch
from small.lakes import record
from small.shops import FolderSource, declare, some

KEYS = ("landing.shops", "staging.shops", "staging.cities")
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e'\"&"


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    source, declared = declare(Path(settings_once.lake).parent / "source")
    source.write(some(8))
    for key in KEYS:
        materialize(Project(settings_once, declared), key, Request(run_id=f"manual__{key}"))


@pytest.fixture
def shops(_made: None, copied: Settings, tmp_path: Path) -> tuple[FolderSource, Project]:
    """The shops, made once by runs of Airflow."""
    source, declared = declare(tmp_path / "source")
    return source, Project(copied, declared)


def seen(project: Project, readable: Iterable[str] = KEYS) -> Snapshot:
    """What a user sees who may read these DAGs."""
    return take_snapshot(lambda: readable, Project(project.settings, project.declared))


def text(document: str) -> str:
    """What a person reads."""
    body = re.sub(r"(?s)<(title|script|style).*?</\1>", " ", document)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def asset(project: Project, key: str, readable: Iterable[str] = KEYS) -> str:
    snapshot = seen(project, readable)
    return render_page("asset.html", Links("/af"), snapshot, asset_page(snapshot, key))


def overview(project: Project, chosen: Filter | None = None, readable: Iterable[str] = KEYS) -> str:
    snapshot = seen(project, readable)
    return render_page("overview.html", Links(""), snapshot, overview_page(snapshot, chosen or Filter()))


def test_an_asset_that_is_fresh_shows_its_last_materialization_and_what_it_was_made_from(
    shops: tuple[FolderSource, Project],
) -> None:
    _, project = shops
    page = asset(project, "staging.shops")

    entry = project.ledger.latest("staging.shops")
    assert entry
    assert "staging.shops fresh" in text(page)
    assert "Rows 8" in text(page)
    assert "Nothing is stale." in text(page)
    assert f"Code version {entry.code_version[:12]}" in text(page)
    # The version it was made from leads to the run that made it, whatever prefix Airflow has.
    assert 'href="/af/dags/landing.shops/runs/manual__landing.shops/plugin/made-from"' in page
    assert 'href="/af/dags/staging.cities/plugin/asset"' in page
    assert "shop_id string key Code of the shop" in text(page)
    assert "Rows of the only materialization: always 8, the newest 8." in page


def test_an_asset_that_waits_says_for_what_and_what_would_run(shops: tuple[FolderSource, Project]) -> None:
    source, project = shops
    source.write(some(9))
    materialize(project, "landing.shops")
    page = text(asset(project, "staging.cities"))

    assert "staging.cities stale" in page
    assert "DATA: landing.shops changed" in page
    assert "Waits for staging.shops is stale (DATA: landing.shops changed) and will wake it" in page
    assert "1. " not in page  # a list, not text
    assert re.search(r"What would run next .*staging.shops DATA .*staging.cities DATA", page)


def test_an_asset_that_failed_shows_the_error_and_its_rejected_rows(shops: tuple[FolderSource, Project]) -> None:
    source, project = shops
    source.write([*some(3), *({"codi": f"B{number}", "ciutat": HOSTILE} for number in range(4))])
    materialize(project, "landing.shops")
    with pytest.raises(ContractError):
        materialize(project, "staging.shops", Request(run_id="manual__broken"))
    page = asset(project, "staging.shops")

    assert "staging.shops failed" in text(page)
    assert "4 of 7 rows break Shops" in text(page)
    assert "Rows 8" in text(page)  # the table is what it was
    assert "<script>alert" not in page
    assert "1 failed attempt in between" in page
    failed = run_page(seen(project), "staging.shops", "manual__broken")
    assert failed.made
    assert failed.made.entry
    assert (failed.made.entry.status, failed.is_latest) == ("failed", False)

    snapshot = seen(project)
    rows = quarantine_page(snapshot, "staging.shops")
    assert (rows.kept, rows.is_of_failure, len(rows.rows)) == (4, True, 4)
    document = render_page("quarantine.html", Links(""), snapshot, rows)
    assert "4 rows of staging.shops that broke its contract in the last attempt, which failed" in text(document)
    assert "<script>alert" not in document
    assert "\x1b" not in document
    assert "\u202e" not in document
    assert "&lt;script&gt;alert(1)" in document


def test_a_run_shows_what_it_was_made_from_down_to_the_batch(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    snapshot = seen(project)
    page = run_page(snapshot, "staging.cities", "manual__staging.cities")

    landed = project.ledger.latest("landing.shops")
    assert landed
    assert page.is_latest
    assert page.made
    below = {made.name: made for made in page.made.made_from}
    assert set(below) == {"landing.shops", "staging.shops"}
    (batch,) = below["staging.shops"].made_from
    assert batch.entry == replace(landed, objects=batch.entry.objects if batch.entry else ())
    document = text(render_page("run.html", Links(""), snapshot, page))
    assert f"Batch {landed.batch}" in document
    assert f"Source {landed.source_version}" in document
    assert "this is what the table is now" in document


def test_the_versions_of_a_run_are_those_of_its_time_not_of_now(shops: tuple[FolderSource, Project]) -> None:
    source, project = shops
    before = project.ledger.latest("landing.shops")
    source.write(some(9))
    for key in KEYS:
        materialize(project, key, Request(run_id=f"scheduled__{key}"))
    old, new = (run_page(seen(project), "staging.shops", f"{kind}__staging.shops") for kind in ("manual", "scheduled"))

    assert before
    assert old.made
    assert new.made
    assert not old.is_latest
    assert [made.entry and made.entry.sequence for made in old.made.made_from] == [1]
    assert [made.entry and made.entry.sequence for made in new.made.made_from] == [2]
    assert old.made.made_from[0].entry
    assert old.made.made_from[0].entry.batch == before.batch


def test_a_run_that_recorded_nothing_says_so(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    snapshot = seen(project)
    document = text(render_page("run.html", Links(""), snapshot, run_page(snapshot, "staging.shops", HOSTILE)))

    assert "nothing recorded" in document
    assert "\x1b" not in document


def test_what_the_user_may_not_read_has_a_name_and_nothing_else(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    may_read = ["staging.cities"]
    page = asset(project, "staging.cities", may_read)

    assert "/dags/landing.shops" not in page
    assert "/dags/staging.shops" not in page
    snapshot = seen(project, may_read)
    made = run_page(snapshot, "staging.cities", "manual__staging.cities").made
    assert made
    assert {(each.name, each.entry, each.readable) for each in made.made_from} == {
        ("landing.shops", None, False),
        ("staging.shops", None, False),
    }
    assert [row.asset.key for row in overview_page(snapshot, Filter()).rows] == may_read


def test_the_error_of_an_asset_that_the_user_may_not_read_is_on_no_page(shops: tuple[FolderSource, Project]) -> None:
    source, project = shops
    source.write([*some(3), *({"codi": f"B{number}", "ciutat": "a private value"} for number in range(4))])
    materialize(project, "landing.shops")
    with pytest.raises(ContractError):
        materialize(project, "staging.shops")
    paused = finding("staging.cities", Kind.SOURCE_NOT_ASKED)
    failure = project.state().failure("staging.shops")
    assert failure
    assert "a private value" in failure.error
    paused = replace(paused, cause=f"the next try comes after 1 failed run: {failure.error}")
    keep_board(project.lake, Board(at=datetime.now(UTC), findings=(paused,)))

    def everything(readable: Iterable[str]) -> str:
        snapshot = seen(project, readable)
        reconcile = render_page("ops.html", Links(""), snapshot, ops_page(snapshot, "ops.reconcile"))
        return "".join([asset(project, "staging.cities", readable), overview(project, readable=readable), reconcile])

    assert "a private value" in everything(KEYS)
    assert "a private value" not in everything(["staging.cities"])


def test_every_finding_is_shown_to_someone(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    standby = finding("landing.shops.other", Kind.SOURCE_MISMATCH)
    found = (standby, finding("slack", Kind.CHANNEL_FAILING), finding("import", Kind.TASK_FAILED))
    keep_board(project.lake, Board(at=datetime.now(UTC), findings=found))

    assert [each.subject for each in seen(project, ["landing.shops"]).findings()] == ["landing.shops.other"]
    assert {each.subject for each in seen(project, ["ops.watch"]).findings()} == {"slack", "import"}
    assert seen(project, ["staging.shops"]).findings() == []


def test_the_overview_has_what_is_urgent_first_and_filters(shops: tuple[FolderSource, Project]) -> None:
    source, project = shops
    source.write([*some(3), *({"codi": f"B{number}", "ciutat": "nowhere"} for number in range(4))])
    materialize(project, "landing.shops")
    with pytest.raises(ContractError):
        materialize(project, "staging.shops")
    everything = overview_page(seen(project), Filter())

    assert [(row.asset.key, row.state) for row in everything.rows] == [
        ("staging.shops", "failed"),
        ("staging.cities", "stale"),
        ("landing.shops", "fresh"),
    ]
    assert everything.states == {"failed": 1, "stale": 1, "fresh": 1}

    def keys(chosen: Filter) -> list[str]:
        return [row.asset.key for row in overview_page(seen(project), chosen).rows]

    assert keys(Filter(state="failed")) == ["staging.shops"]
    assert keys(Filter(layer="landing")) == ["landing.shops"]
    assert keys(Filter(text="CITIES staging")) == ["staging.cities"]
    assert keys(Filter(text="rows break")) == ["staging.shops"]
    assert keys(Filter(text=HOSTILE)) == []
    page = overview(project, Filter(text=HOSTILE))
    assert "<script>alert" not in page
    assert "No asset passes these filters." in text(page)


def finding(subject: str, kind: Kind = Kind.SOURCE_DOWN, **more: object) -> Finding:
    at = datetime.now(UTC) - timedelta(hours=3)
    values: dict[str, object] = {
        "severity": Severity.ERROR,
        "what": f"{subject} is down {HOSTILE}",
        "cause": f"it answers 503 {HOSTILE}",
        "remedy": f"catalunya sources check {subject}",
        "opened_at": at,
        "seen_at": at,
        **more,
    }
    return Finding(kind=kind, subject=subject, **values)  # type: ignore[arg-type]


def test_findings_are_on_top_with_cause_and_remedy_for_those_who_may_see_them(
    shops: tuple[FolderSource, Project],
) -> None:
    _, project = shops
    down = finding("landing.shops", affected=("staging.shops", "staging.cities"))
    found = (down, finding("scheduler", Kind.PROCESS_SILENT), finding("ops.backup", Kind.TASK_FAILED))
    keep_board(project.lake, Board(at=datetime.now(UTC) - timedelta(minutes=4), findings=found))

    page = overview(project)
    assert "Open findings 2" in text(page)
    assert "it answers 503" in text(page)
    assert "catalunya sources check landing.shops" in text(page)
    assert "2 downstream tables affected" in text(page)
    assert "The watch last looked 4 min ago" in text(page)
    assert "<script>alert" not in page
    assert page.index("Open findings") < page.index('class="assets"')
    assert "landing.shops is down" in text(asset(project, "staging.cities", KEYS))
    assert "is down" not in text(asset(project, "staging.cities", ["staging.cities"]))
    assert "Open findings 3" in text(overview(project, readable=[*KEYS, "ops.backup"]))


def test_a_watch_that_is_silent_is_said(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    assert "The watch has not looked yet" in text(overview(project))

    keep_board(project.lake, Board(at=datetime.now(UTC) - timedelta(hours=2)))
    assert "The watch is silent" in text(overview(project))

    keep_board(project.lake, Board(at=datetime.now(UTC)))
    assert "no open findings" in text(overview(project))


def test_a_broken_record_is_the_state_of_its_asset_only(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    project.lake.put(Ledger.path("staging.cities", 1), b"{}")

    assert "staging.cities unreadable" in text(asset(project, "staging.cities"))
    assert "staging.shops fresh" in text(asset(project, "staging.shops"))
    states = {row.asset.key: row.state for row in overview_page(seen(project), Filter()).rows}
    assert states == {"landing.shops": "fresh", "staging.shops": "fresh", "staging.cities": "unreadable"}


def test_the_tab_of_ops_dags_says_what_they_do_and_would_do(shops: tuple[FolderSource, Project]) -> None:
    source, project = shops
    source.write(some(9))
    materialize(project, "landing.shops")
    snapshot = seen(project, [*KEYS, "ops.reconcile"])
    page = text(render_page("ops.html", Links(""), snapshot, ops_page(snapshot, "ops.reconcile")))

    assert "Triggers every asset that is stale" in page
    assert "Would trigger now 1 staging.shops DATA: landing.shops changed" in page
    assert re.search(r"Leaves alone 1 staging.cities staging.shops is stale", page)
    unknown = text(render_page("ops.html", Links(""), snapshot, ops_page(snapshot, "someone_elses")))
    assert "This DAG makes no asset of this project." in unknown


def test_personal_columns_of_quarantined_rows_are_masked_and_so_are_reasons_about_them(
    shops: tuple[FolderSource, Project],
) -> None:
    _, project = shops
    rows = pl.DataFrame(
        {
            "_reason": ["telefon: '600123456' fails str_matches", "city: 'x' fails str_matches", None],
            "codi": ["S1", "S2", "S3"],
            "telefon": ["600123456", "600999999", None],
        }
    )
    path = "quarantine/staging/shops/test.parquet"
    local = Path(str(project.settings.scratch)) / "rows.parquet"
    rows.write_parquet(local)
    project.lake.put(path, local)
    last = project.ledger.latest("staging.shops")
    assert last
    project.ledger.append(replace(last, quarantine=path, quarantined=3), after=last.sequence)

    snapshot = seen(project)
    page = quarantine_page(snapshot, "staging.shops")
    document = render_page("quarantine.html", Links(""), snapshot, page)
    assert "600" not in document
    assert page.masked == {"telefon"}
    assert "city: 'x' fails str_matches" in text(document)
    assert [cells for _, cells in page.rows] == [["S1", "•••"], ["S2", "•••"], ["S3", None]]


def test_quarantined_rows_are_paged(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    path = "quarantine/staging/shops/test.parquet"
    local = Path(str(project.settings.scratch)) / "rows.parquet"
    pl.DataFrame({"_reason": ["wrong"] * 120, "codi": [str(number) for number in range(120)]}).write_parquet(local)
    project.lake.put(path, local)
    last = project.ledger.latest("staging.shops")
    assert last
    project.ledger.append(replace(last, quarantine=path, quarantined=120), after=last.sequence)

    third = quarantine_page(seen(project), "staging.shops", 3)
    assert (third.pages, [cells for _, cells in third.rows]) == (3, [[str(number)] for number in range(100, 120)])
    with pytest.raises(UsageError, match="expected a page from 1 to 3, found 4"):
        quarantine_page(seen(project), "staging.shops", 4)
    project.lake.delete([path])
    assert quarantine_page(seen(project), "staging.shops").rows == []


class CountedLake(Lake):
    """A lake that counts what it is asked to read and list."""

    requests = 0

    def get(self, path: str) -> bytes:
        self.requests += 1
        return super().get(path)

    def find_dated(self, path: str) -> tuple[bytes, datetime] | None:
        self.requests += 1
        return super().find_dated(path)

    def exists(self, path: str) -> bool:
        self.requests += 1
        return super().exists(path)

    def objects(self, prefix: str) -> list[Object]:
        self.requests += 1
        return super().objects(prefix)

    def paths(self, prefix: str) -> Iterator[str]:
        self.requests += 1
        return super().paths(prefix)


def test_a_thousand_assets_with_a_hundred_entries_each_take_four_requests_and_less_than_a_second(
    settings: Settings,
) -> None:
    columns = (Column("id", "string", "The key", nullable=False, key=True),)
    assets = [
        Asset(
            key=f"landing.table_{number:04}",
            description="A table",
            columns=columns,
            code_version="1",
            schedule="@daily",
        )
        for number in range(1000)
    ]
    project = Project(settings, [])
    project.graph = AssetGraph(assets)
    record(project, assets[0].key, [])
    first = project.ledger.latest(assets[0].key)
    assert first
    began = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [
        replace(first, asset=each.key, sequence=number, rows=number, started_at=began + timedelta(days=number))
        for each in assets
        for number in range(101 - KEPT, 101)
    ]
    # As the watch keeps it: writing the hundred entries of each table takes a minute, and a page reads none of them.
    keep_index(project.lake, Index(_frame(entries), {}, 0, entries[KEPT - 1 :: KEPT]))
    keep_board(project.lake, Board(at=datetime.now(UTC)))

    taken = []
    for _ in range(3):
        again = Project(settings, [])
        again.graph = project.graph
        again.lake = lake = CountedLake(str(project.lake.root))
        at = time.process_time()
        snapshot = take_snapshot(lambda: [each.key for each in assets], again)
        document = render_page("overview.html", Links(""), snapshot, overview_page(snapshot, Filter()))
        taken.append(time.process_time() - at)
    assert document.count("<tr>") == 1001
    assert lake.requests == 4  # the board, the index and its newest entries, the leases
    assert "States are as it saw them." in document
    assert min(taken) < 1, taken  # of this process: other tests may be running


def test_no_template_switches_escaping_off() -> None:
    templates = environment()
    sources = [templates.loader.get_source(templates, name)[0] for name in templates.list_templates()]  # type: ignore[union-attr]

    assert "safe" not in templates.filters
    assert len(sources) >= 8
    assert not [
        source
        for source in sources
        if re.search(r"autoescape|\|\s*safe\b|Markup|<script(?! src=)|\bon\w+=|style=", source)
    ]


def test_an_entry_of_the_ledger_can_be_hostile(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    last = project.ledger.latest("landing.shops")
    assert last
    hostile = replace(
        last,
        run_id=HOSTILE.replace("\u202e", "") + "__",
        reason=HOSTILE,
        drift=HOSTILE,
        warnings=(HOSTILE,),
        error=HOSTILE,
        source_version=HOSTILE,
    )
    project.ledger.append(hostile, after=last.sequence)
    page = asset(project, "landing.shops")

    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "runs/%3Cscript%3Ealert%281%29%3C%2Fscript%3E" in page


def test_checks_are_shown_with_their_results_those_that_failed_first(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    last = project.ledger.latest("staging.shops")
    assert last
    found = (
        Check(name="shop_id is not null", kind="contract", column="shop_id"),
        Check(name="capacity >= 0", kind="contract", severity="warning", failed=2, sample=HOSTILE),
        Check(name="keeps its rows", kind="guard", failed=1),
    )
    project.ledger.append(replace(last, checks=found), after=last.sequence)
    page = asset(project, "staging.shops")

    assert re.search(
        r"Checks .*error keeps its rows guard 1 .*warning capacity >= 0 contract 2 .*1 check passed shop_id is",
        text(page),
    )
    assert "<script>alert" not in page


def test_an_entry_of_an_earlier_release_has_no_checks(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    last = project.ledger.latest("staging.shops")
    assert last
    project.ledger.append(replace(last, checks=()), after=last.sequence)

    assert "No checks were recorded" in text(asset(project, "staging.shops"))


def test_columns_say_what_they_are_made_from_in_words_and_as_a_drawing(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    page = asset_page(seen(project), "staging.shops")

    assert [str(source) for source in page.columns_made["city"].sources] == ["landing.shops.ciutat"]
    assert {line.label for line in page.drawing.lines} == {
        "landing.shops.codi → shop_id (identity)",
        "landing.shops.places → capacity_places (identity)",
        "landing.shops.ciutat → city (identity)",
    }
    assert "ciutat of landing.shops" in text(asset(project, "staging.shops"))
    assert asset_page(seen(project), "landing.shops").drawing.lines == []


def test_who_makes_what_is_known_from_one_listing(shops: tuple[FolderSource, Project]) -> None:
    _, project = shops
    with lease(project.lake, "staging.cities", "manual__now", 900):
        states = {row.asset.key: row.state for row in overview_page(seen(project), Filter()).rows}
    assert states == {"landing.shops": "fresh", "staging.shops": "fresh", "staging.cities": "running"}
    assert {row.state for row in overview_page(seen(project), Filter()).rows} == {"fresh"}


def test_of_a_large_ledger_the_asset_of_the_page_is_exact(
    shops: tuple[FolderSource, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, project = shops
    watch(project, datetime.now(UTC))
    source.write(some(9))
    for key in KEYS[:2]:
        materialize(project, key)
    monkeypatch.setattr("catalunya.dags.plugin.snapshot.MANY", 2)
    now = Project(project.settings, project.declared)

    everything = overview_page(take_snapshot(lambda: KEYS, now), Filter())
    assert everything.is_of_last_look
    assert {row.status.rows for row in everything.rows} == {8}
    now = Project(project.settings, project.declared)
    one = asset_page(take_snapshot(lambda: KEYS, now, "staging.shops"), "staging.shops")
    assert (one.state, one.status.rows, len(one.history)) == ("fresh", 9, 2)
    assert [len(drawn.bars) for drawn in one.charts] == [2, 2, 2]
    assert [near.state for near in one.downstream] == ["stale"]
