"""`restore-version`: an earlier version of a table is published again, history tables go back with it, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.making.restoring import plan_restore, restore_version
from catalunya.assets.record.lease import lease
from catalunya.assets.record.ledger import Entry, Ledger, encode
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import prune
from catalunya.assets.record.verify import verify
from catalunya.assets.record.versions import lineage
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import LeaseHeld, LedgerError, UsageError
from catalunya.ops.backup.make import back_up
from catalunya.ops.backup.restore import restore
from catalunya.ops.backup.store import Store
from small.killing import KEYS, restore_shops, restore_shops_elsewhere, with_history
from small.lakes import contents, picture
from small.lakes import restore as put_back
from small.shops import Rows, declare, some

VIC = {"codi": "V1", "ciutat": "Vic", "places": "3"}
GOOD = [*some(6), VIC]
BAD = some(4, "Olot")
RUN = "the-restore"


class Shop:
    """The shops, of which the second table keeps history if `history`."""

    def __init__(self, settings: Settings, folder: Path, *, history: bool = False) -> None:
        self.settings, self.folder, self.history = settings, folder, history
        self.source, self.declared = declare(folder, page_rows=100)

    @property
    def project(self) -> Project:
        return with_history(self.settings, self.folder) if self.history else Project(self.settings, self.declared)

    def make(self, rows: Rows | None = None, *keys: str) -> list[str]:
        if rows is not None:
            self.source.write(rows)
        return [materialize(self.project, key, Request(accept_change=True)).status for key in keys or KEYS]

    def latest(self, key: str = "staging.shops") -> Entry:
        entry = self.project.ledger.latest(key)
        assert entry
        return entry

    def ids(self, key: str = "staging.shops") -> list[str]:
        project = self.project
        frame = scan_table(project.lake, project.graph[key], self.latest(key)).collect()
        return sorted(frame["shop_id"].to_list())

    def restore(self, key: str = "staging.shops", to: int | datetime | None = None) -> list[tuple[str, int | None]]:
        """The tables that were restored, and to which entry."""
        return [(s.asset, s.entry and s.entry.sequence) for s in restore_version(self.project, key, RUN, to)]

    def stale(self) -> list[str]:
        state = self.project.state()
        return [stale.key for stale in state.neglected(self.project.graph)]

    def kinds(self) -> list[str]:
        """What `verify` finds. Unlike a mart, a staging table that goes back also needs its landing batch again, which is landed next."""
        found = [finding.kind for finding in verify(self.project).findings]
        return [kind for kind in found if not (self.history and kind == "batch_missing")]


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    shop = Shop(settings_once, Path(settings_once.lake).parent / "source")
    shop.make(GOOD)
    shop.make(BAD)


@pytest.fixture
def shop(_made: None, copied: Settings, tmp_path: Path) -> Shop:
    """A good version of both tables, and then a bad one."""
    return Shop(copied, tmp_path / "source")


IDS = ["S0", "S1", "S2", "S3", "S4", "S5", "V1"]


def test_the_version_before_the_current_one_is_published_again_and_recorded(shop: Shop) -> None:
    good, bad = shop.project.ledger.history("staging.shops")
    assert shop.restore() == [("staging.shops", 1)]
    latest = shop.latest()
    assert shop.ids() == IDS
    assert (latest.sequence, latest.reason, latest.restored, latest.is_accepted) == (3, "RESTORED", 1, True)
    assert (latest.objects, latest.data_version) == (good.objects, good.data_version)
    assert latest.versions == bad.versions, "the bad load is settled"
    assert shop.kinds() == []


def test_a_restored_table_is_not_made_again_from_the_same_load_and_what_reads_it_is(shop: Shop) -> None:
    shop.restore()
    assert shop.make(None, "staging.shops") == ["skipped"]
    assert shop.stale() == ["landing.shops"], "staging.cities needs its batch once more"
    assert shop.make() == ["materialized", "skipped", "materialized"]
    assert shop.latest("staging.cities").is_accepted, "it follows from the restore"
    assert shop.stale() == []
    assert shop.ids() == IDS

    shop.make([*GOOD, {**VIC, "codi": "V2"}])
    assert shop.ids() == [*IDS, "V2"]
    assert not shop.latest().is_accepted


def test_an_undo_can_be_undone(shop: Shop) -> None:
    shop.restore()
    assert shop.restore() == [("staging.shops", 2)]
    assert shop.ids() == ["S0", "S1", "S2", "S3"]
    assert shop.restore(to=1) == [("staging.shops", 1)]
    assert shop.ids() == IDS
    assert shop.kinds() == []


def test_a_version_is_chosen_by_its_entry_or_by_a_time(shop: Shop) -> None:
    shop.make([*GOOD, {**VIC, "codi": "V2"}])
    assert shop.restore(to=2) == [("staging.shops", 2)]
    first = shop.project.ledger.history("staging.shops")[0]
    assert shop.restore(to=first.recorded_at + timedelta(microseconds=1)) == [("staging.shops", 1)]
    assert shop.ids() == IDS
    with pytest.raises(UsageError, match=r"expected a version recorded before 2020-01-01 00:00 UTC, found none"):
        shop.restore(to=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(UsageError, match=r"expected entry 77 as a version of the table, found none"):
        shop.restore(to=77)


def test_a_plan_touches_nothing(shop: Shop) -> None:
    before = contents(shop.settings.lake)
    (step,) = plan_restore(shop.project, "staging.shops")
    assert step.entry
    assert (step.entry.sequence, step.latest.sequence, step.is_done) == (1, 2, False)
    assert contents(shop.settings.lake) == before


def test_what_cannot_be_restored_is_refused_with_advice(shop: Shop) -> None:
    with pytest.raises(UsageError, match=r"landing batch is deleted after use.*one of staging\.shops, staging\.cities"):
        shop.restore("landing.shops")
    first = Shop(shop.settings.model_copy(update={"lake": f"{shop.settings.lake}2"}), shop.folder)
    with pytest.raises(UsageError, match=r"staging\.shops has never been made"):
        first.restore()
    first.make()
    with pytest.raises(UsageError, match=r"expected an earlier version with other content, found none"):
        first.restore()
    lake = shop.project.lake
    kept = lake.objects("_superseded/staging/shops")
    lake.put(kept[0].path, b"x" * kept[0].size)
    with pytest.raises(LedgerError, match=r"checksum mismatch: _superseded/staging/shops"):
        shop.restore()
    lake.delete([found.path for found in kept])
    with pytest.raises(
        UsageError,
        match=r"entry 1 cannot be restored: its objects have expired.*`catalunya restore staging\.shops --replace`",
    ):
        shop.restore()


def test_a_version_with_other_columns_is_refused(shop: Shop) -> None:
    project = shop.project
    entry = shop.latest()
    older = {**entry.columns, "capacity_places": "string"}
    lake = project.lake
    first = project.ledger.history("staging.shops")[0]
    lake.put("_ledger/staging/shops/0000000001.json", encode(replace(first, columns=older)))
    with pytest.raises(UsageError, match=r"its columns are not those of the present contract"):
        shop.restore()


def test_nothing_is_touched_while_a_table_is_being_made(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source", history=True)
    shop.make(GOOD)
    shop.make(BAD)
    before = {p: b for p, b in contents(settings.lake).items() if not p.startswith("_leases/")}
    with lease(shop.project.lake, "staging.shops", "another", 60), pytest.raises(LeaseHeld):
        shop.restore()
    assert {p: b for p, b in contents(settings.lake).items() if not p.startswith("_leases/")} == before


def test_tables_that_keep_history_go_back_to_their_last_version_made_without_what_is_undone(
    settings: Settings, tmp_path: Path
) -> None:
    shop = Shop(settings, tmp_path / "source", history=True)
    shop.make(GOOD)
    shop.make([*GOOD, {**VIC, "codi": "V2"}])
    shop.make(BAD)
    assert shop.restore() == [("staging.cities", 2), ("staging.shops", 2)]
    assert shop.ids("staging.cities") == [*IDS, "V2"]
    cities = shop.latest("staging.cities")
    assert (cities.reason, cities.restored, cities.sequence) == ("RESTORED", 2, 4)
    assert cities.versions["staging.shops"] == shop.latest().data_version
    assert shop.kinds() == []

    assert shop.restore() == [("staging.cities", 3), ("staging.shops", 3)], "and back"
    assert shop.ids("staging.cities") == ["S0", "S1", "S2", "S3"]
    assert shop.kinds() == []


def test_a_history_goes_back_to_a_version_that_was_made_without_the_restored_table(
    settings: Settings, tmp_path: Path
) -> None:
    shop = Shop(settings, tmp_path / "source", history=True)
    shop.make(GOOD)
    first = shop.latest("staging.cities")
    versions = {name: version for name, version in first.versions.items() if name != "staging.shops"}
    shop.project.lake.put(Ledger.path(first.asset, first.sequence), encode(replace(first, versions=versions)))
    shop.make(BAD)
    assert shop.restore() == [("staging.cities", 1), ("staging.shops", 1)]


def test_a_history_made_only_from_what_is_undone_stays_and_says_so(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source", history=True)
    shop.make(GOOD, "landing.shops", "staging.shops")
    shop.make(BAD)
    cities, shops = plan_restore(shop.project, "staging.shops")
    assert cities.entry is None
    assert cities.why.startswith(
        "none of its versions was made without what is undone; `catalunya materialize staging.cities --force"
    )
    assert shops.entry


def test_a_restore_killed_at_any_write_and_run_again_gives_the_same_lake(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source", history=True)
    shop.make(GOOD)
    shop.make(BAD)
    before = contents(settings.lake)
    writes = restore_shops(settings, shop.folder)
    expected = picture(settings.lake)
    assert writes > 10
    for trapdoor in range(1, writes + 1, 2):
        put_back(settings.lake, before)
        assert restore_shops_elsewhere(settings, shop.folder, trapdoor) == -9
        if len(shop.project.ledger.history("staging.shops")) == 2:  # it was killed before its commit point
            restore_shops(settings, shop.folder)
        assert picture(settings.lake) == expected, f"killed before write {trapdoor}"
        assert shop.kinds() == []


def test_retention_keeps_what_a_restored_table_consists_of(shop: Shop) -> None:
    shop.restore()
    later = datetime.now(UTC) + timedelta(days=400)
    assert prune(shop.project, "prune", now=later).failed == {}
    assert shop.ids() == IDS
    assert shop.kinds() == []
    assert shop.latest().restored == 1


def test_a_restored_table_is_backed_up_and_comes_back(shop: Shop, tmp_path: Path) -> None:
    settings = shop.settings.model_copy(update={"backup": str(tmp_path / "backups")})
    shop.restore()
    project = Project(settings, shop.declared)
    backup = back_up(project, "backup")
    elsewhere = Shop(settings.model_copy(update={"lake": str(tmp_path / "elsewhere")}), shop.folder)
    restored = restore(elsewhere.project, Store.of(settings), backup, "restore", catalog=False)
    assert {each.outcome for each in restored} <= {"restored", "unchanged"}
    assert elsewhere.ids() == IDS
    assert elsewhere.restore() == [("staging.shops", 2)], "the undo can be undone there as well"


def test_a_load_that_was_undone_is_no_good_version_for_the_guards(shop: Shop) -> None:
    shop.restore()
    project = shop.project
    history = project.ledger.history("staging.shops")
    assert [entry.sequence for entry in lineage(history, history[-1])] == [3, 1]


@pytest.mark.usefixtures("tmp_path")
def test_a_graph_says_which_tables_keep_history(compiled: Path) -> None:
    graph = Project(load_settings(cache=compiled)).graph
    assert isinstance(graph, AssetGraph)
    assert {asset.name for asset in graph if asset.keeps_history} == {
        "dim_municipalities",
        "fact_gdp_quarterly",
        "fact_service_usage_daily",
    }
