"""Retention: expired objects are deleted, needed ones never are, and a prune that is killed and rerun has the same result."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.lease import Held, lease
from catalunya.assets.record.ledger import Entry, Ledger
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import (
    LEDGER_DAYS,
    Kind,
    Removal,
    find_objects,
    keep_superseded,
    plan_retention,
    prune,
    superseded_path,
)
from catalunya.assets.record.verify import repair, verify
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from catalunya.io.lake import Lake
from small.killing import prune_all, prune_all_elsewhere
from small.lakes import picture
from small.shops import Rows, declare, some

KEYS = ("landing.shops", "staging.shops", "staging.cities")
START = datetime(2026, 1, 1, 6, tzinfo=UTC)
BAD = {"codi": "B1", "ciutat": "nowhere"}


class Shop:
    """A project over the shops source, made and pruned on the days the test chooses."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.root = settings, folder, Path(settings.lake)
        self.source, self.declared = declare(folder, page_rows=4)

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    def make(self, day: int, rows: Rows | None = None, *keys: str, force: bool = False) -> list[Outcome]:
        """Write the source's rows and make the assets on this day."""
        if rows is not None:
            self.source.write(rows)
        request = Request(now=at(day), accept_change=True, force=force)
        return [materialize(self.project, key, request) for key in keys or KEYS]

    def planned(self, day: float) -> list[Removal]:
        return plan_retention(self.project, at(day))

    def counts(self, day: float, kind: Kind) -> dict[str, int]:
        """How many objects of a kind would be deleted on a day, by asset."""
        return dict(Counter(removal.asset for removal in self.planned(day) if removal.kind is kind))

    def prune(self, day: float) -> list[Removal]:
        pruned = prune(self.project, "the-prune", now=at(day))
        assert (pruned.busy, pruned.failed) == ([], {})
        return pruned.removals

    def files(self, folder: str) -> list[str]:
        return [found.path for found in self.project.lake.objects(folder)]

    def kinds(self) -> list[str]:
        return [finding.kind for finding in verify(self.project).findings]

    def sequences(self, key: str) -> list[int]:
        return [entry.sequence for entry in self.project.ledger.history(key)]

    def append(self, key: str, day: float, **fields: object) -> Entry:
        """An entry like the last one, recorded on a day."""
        ledger = self.project.ledger
        last = ledger.last_attempt(key)
        assert last
        return ledger.append(replace(last, started_at=at(day), **fields), after=last.sequence)  # type: ignore[arg-type]


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def made_twice(settings: Settings, folder: Path) -> Shop:
    """Made on day 0 and, with other content, on day 10."""
    shop = Shop(settings, folder)
    shop.make(0, [*some(4), BAD])
    shop.make(10, [*some(5), BAD])
    return shop


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    made_twice(settings_once, Path(settings_once.lake).parent / "source")


@pytest.fixture
def shop(_made: None, copied: Settings, tmp_path: Path) -> Shop:
    return Shop(copied, tmp_path / "source")


def test_the_rows_of_a_failed_attempt_are_kept_as_long_as_those_of_a_replaced_table(
    settings: Settings, tmp_path: Path
) -> None:
    shop = Shop(settings, tmp_path / "source")
    shop.make(0, some(5))
    with pytest.raises(ContractError):
        shop.make(1, [*some(5), *({**BAD, "codi": f"B{number}"} for number in range(5))])
    shop.prune(300)
    assert len(shop.files("quarantine/staging/shops")) == 1, "no attempt followed"
    shop.make(301, some(6))
    shop.prune(301 + 89)
    assert len(shop.files("quarantine/staging/shops")) == 1
    shop.prune(301 + 91)
    assert shop.files("quarantine/staging/shops") == []


def test_an_empty_lake_has_nothing_to_prune(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source")
    assert shop.prune(1000) == []
    assert shop.files("") == []


def test_a_plan_and_a_prune_without_removals_change_nothing(shop: Shop) -> None:
    before = {path: path.stat().st_mtime_ns for path in shop.root.rglob("*")}
    assert shop.planned(500) != []
    assert shop.prune(20) == []
    assert prune(shop.project, "r", now=at(500), dry_run=True).removals == shop.planned(500)
    assert {path: path.stat().st_mtime_ns for path in shop.root.rglob("*")} == before


def test_superseded_objects_expire_some_days_after_they_were_replaced(shop: Shop) -> None:
    assert len(shop.files("_superseded/staging/shops")) == 1
    assert shop.counts(10 + 89.9, Kind.SUPERSEDED) == {}, "the 90 days start on day 10, when it was replaced"
    assert shop.counts(10 + 90.1, Kind.SUPERSEDED) == {"staging.shops": 1, "staging.cities": 1}
    shop.prune(101)
    assert shop.files("_superseded") == []
    assert shop.kinds() == []


def test_each_superseded_object_expires_after_the_entry_that_replaced_it(shop: Shop) -> None:
    shop.make(60, some(6))
    assert len(shop.files("_superseded/staging/shops")) == 2
    shop.prune(101)
    first, second, third = shop.project.ledger.history("staging.shops")
    assert find_objects(second, third) == shop.files("_superseded/staging/shops")
    assert find_objects(first, third) == [], "it has expired"


def test_content_that_recurred_expires_after_it_was_last_replaced(shop: Shop) -> None:
    shop.make(60, [*some(4), BAD])
    shop.make(70, [*some(6), BAD])
    assert shop.counts(70 + 89, Kind.SUPERSEDED) == {"staging.shops": 1, "staging.cities": 1}, "the content of day 10"
    assert shop.counts(70 + 91, Kind.SUPERSEDED) == {"staging.shops": 2, "staging.cities": 2}


def test_each_asset_declares_its_retention(shop: Shop) -> None:
    shop.declared[1] = replace(shop.declared[1], keep=timedelta(days=400))  # type: ignore[call-arg]
    assert shop.counts(300, Kind.SUPERSEDED) == {"staging.cities": 1}
    assert shop.counts(300, Kind.LEDGER) == {"landing.shops": 1, "staging.cities": 1}, (
        "its entry stays readable as long as its objects"
    )
    assert shop.counts(411, Kind.SUPERSEDED) == {"staging.shops": 1, "staging.cities": 1}
    assert shop.counts(411, Kind.LEDGER) == dict.fromkeys(KEYS, 1)


def test_copies_of_a_tables_current_objects_are_kept_in_case_a_publish_was_killed(shop: Shop) -> None:
    project = shop.project
    latest = project.ledger.latest("staging.shops")
    assert latest
    assert keep_superseded(project.lake, project.graph["staging.shops"], latest, ())
    shop.prune(1000)
    assert shop.files("_superseded/staging/shops") == sorted(map(superseded_path, latest.objects))


def test_a_superseded_object_that_no_entry_lists_is_deleted_at_once(shop: Shop) -> None:
    stray = shop.root / "_superseded/staging/shops/city=Olot/0123456789abcdef.parquet"
    stray.parent.mkdir()
    stray.write_bytes(b"")
    assert [r.path for r in shop.prune(11)] == ["_superseded/staging/shops/city=Olot/0123456789abcdef.parquet"]
    assert not stray.exists()


def test_superseded_objects_that_a_lost_entry_may_list_are_kept_for_the_full_retention(shop: Shop) -> None:
    (shop.root / Ledger.path("staging.shops", 1)).write_bytes(b"{")
    repair(shop.project, verify(shop.project).findings)
    today = (datetime.now(UTC) - START) / timedelta(days=1)
    assert "staging.shops" not in shop.counts(today + 89, Kind.SUPERSEDED)
    assert shop.counts(today + 91, Kind.SUPERSEDED)["staging.shops"] == 1


def test_past_quarantine_expires_and_that_of_the_current_table_is_kept(shop: Shop) -> None:
    first, second = (entry.quarantine for entry in shop.project.ledger.history("staging.shops"))
    assert shop.files("quarantine/staging/shops") == sorted([str(first), str(second)])
    assert shop.counts(99, Kind.QUARANTINE) == {}
    shop.prune(101)
    assert shop.files("quarantine/staging/shops") == [second]
    shop.make(1000)
    assert shop.kinds() == []
    assert materialize(shop.project, "staging.shops", Request(replay=True, now=at(1000))).status == "materialized"


def test_a_quarantine_object_of_two_entries_is_kept_for_the_later_one(shop: Shop) -> None:
    shop.append("staging.shops", 10.5)
    shop.prune(500)
    latest = shop.project.ledger.latest("staging.shops")
    assert latest
    assert shop.files("quarantine/staging/shops") == [latest.quarantine]


def test_a_batch_that_a_table_has_not_used_is_kept(shop: Shop) -> None:
    shop.make(20, some(6), "landing.shops", "staging.shops")
    assert shop.counts(1000, Kind.LANDING) == {}, "staging.cities has not used it"
    shop.prune(1000)
    assert shop.make(1000, None, "staging.cities")[0].status == "materialized"
    assert shop.files("landing") == []


def test_a_used_batch_is_deleted_if_its_run_was_killed_before_deleting_it(shop: Shop) -> None:
    shop.make(20, some(6), "landing.shops")
    (batch,) = (shop.root / "landing/shops").iterdir()
    shutil.copytree(batch, shop.folder / "copy")
    shop.make(20)
    shutil.copytree(shop.folder / "copy", batch)
    (first, *_) = removed = [r for r in shop.prune(21) if r.kind is Kind.LANDING]
    assert first.path.endswith("_manifest.json"), "without its manifest, a batch is never read"
    assert {r.why for r in removed} == {"every table made from it has used it"}
    assert shop.files("landing") == []


def test_what_killed_writes_left_is_deleted_by_the_next_run_of_the_asset(shop: Shop) -> None:
    shop.make(20, some(6))
    table = min((shop.root / "staging/shops").rglob("*.parquet"))
    (of_table := table.with_name(f"{table.name}#2")).write_bytes(b"half")
    (batch := shop.root / "landing/shops/ingested_process_at=20300202T000000000").mkdir(parents=True)
    (batch / "page-00000.json").write_text("[]")
    (batch / "page-00001.json#1").write_text("[")
    shop.make(21, some(7), "landing.shops", "staging.shops")
    assert (of_table.exists(), batch.exists(), table.exists()) == (False, False, True)


def test_batches_other_than_the_latest_are_deleted_whether_sealed_or_recorded_or_not(shop: Shop) -> None:
    shop.make(20, some(6), "landing.shops")
    shop.make(21, some(7), "landing.shops")
    older, newest = sorted((shop.root / "landing/shops").iterdir())
    shutil.copytree(newest, newest.with_name("ingested_process_at=20300101T000000000"))
    (unsealed := newest.with_name("ingested_process_at=20300202T000000000")).mkdir()
    (unsealed / "page-00000.json").write_text("[]")
    whys = {r.path.split("/")[2]: r.why for r in shop.prune(22)}
    assert whys == {
        older.name: "a newer batch replaced it",
        "ingested_process_at=20300101T000000000": "its run was interrupted before it was recorded",
        "ingested_process_at=20300202T000000000": "its run was interrupted before it was complete",
    }
    assert [path.name for path in (shop.root / "landing/shops").iterdir()] == [newest.name]
    assert {outcome.status for outcome in shop.make(22, None, *KEYS[1:])} == {"materialized"}


def test_batches_are_kept_while_a_table_is_being_made_from_them(shop: Shop) -> None:
    shop.make(20, some(6), "landing.shops")
    shop.make(21, some(7), "landing.shops")
    with lease(shop.project.lake, "staging.cities", "theirs", 60):
        assert shop.counts(22, Kind.LANDING) == {}
    assert shop.counts(22, Kind.LANDING) == {"landing.shops": 3}


def test_old_entries_are_merged_except_the_latest_and_the_last_attempt(shop: Shop) -> None:
    shop.append("staging.shops", 15, status="failed", error="the first failure")
    shop.append("staging.shops", 16, status="failed", error="the last failure")
    before = shop.project.ledger.history("staging.shops")
    assert shop.counts(15 + LEDGER_DAYS - 1, Kind.LEDGER)["staging.shops"] == 1
    shop.prune(1000)
    ledger = shop.project.ledger
    assert shop.files("_ledger/staging/shops") == [
        Ledger.path("staging.shops", 2),  # the latest
        Ledger.path("staging.shops", 4),  # the last attempt
        Ledger.compacted_path("staging.shops"),
    ]
    after = ledger.history("staging.shops")
    assert [replace(entry, objects=(), checks=(), compacted=False) for entry in after] == [
        replace(e, objects=(), checks=()) for e in before
    ]
    assert [(entry.sequence, entry.compacted) for entry in after] == [(1, True), (2, False), (3, True), (4, False)]
    assert (ledger.latest("staging.shops"), ledger.last_attempt("staging.shops")) == (before[1], before[3])
    assert shop.kinds() == []


def test_entries_merged_at_different_times_form_one_history_without_repeated_numbers(shop: Shop) -> None:
    for day in range(20, 400, 95):
        shop.make(day, some(4 + day % 3))
        shop.prune(day)
    lines = shop.project.lake.get(Ledger.compacted_path("staging.shops")).splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3, 4]
    assert shop.sequences("staging.shops") == [1, 2, 3, 4, 5, 6]
    shop.prune(10_000)
    assert shop.append("staging.shops", 10_001).sequence == 7
    assert shop.sequences("staging.shops") == [1, 2, 3, 4, 5, 6, 7]
    assert shop.kinds() == []


def test_a_version_that_a_table_was_made_from_stays_in_the_history(shop: Shop) -> None:
    for day in (6, 7, 8):
        shop.make(10 + day, some(day), "landing.shops", "staging.shops")  # staging.cities is not made
    shop.prune(1000)
    assert not [entry for entry in shop.project.ledger.history("staging.shops")[:-1] if not entry.compacted]
    assert "version_unknown" not in shop.kinds()


def test_unreadable_merged_entries_are_set_aside_and_their_numbers_filled(shop: Shop) -> None:
    shop.prune(1000)
    compacted = shop.root / Ledger.compacted_path("staging.shops")
    compacted.write_bytes(b"{")
    assert shop.project.ledger.latest("staging.shops"), "the latest entry can still be read"
    (failed,) = prune(shop.project, "r", now=at(2000)).failed.items()
    assert failed[0] == "staging.shops"
    assert "verify --repair" in failed[1]
    findings = verify(shop.project).findings
    assert [(finding.kind, finding.numbers) for finding in findings] == [
        ("entry_unreadable", ()),
        ("entry_missing", (1,)),
    ]
    repair(shop.project, findings)
    assert shop.kinds() == []
    assert shop.sequences("staging.shops") == [1, 2]
    assert next(shop.root.glob("_ledger/_aside/**/compacted.jsonl")).read_bytes() == b"{"


def test_a_table_that_lost_its_latest_entry_after_a_merge_is_rebuilt(shop: Shop) -> None:
    shop.prune(1000)
    (shop.root / Ledger.path("staging.shops", 2)).write_bytes(b"{")
    repair(shop.project, verify(shop.project).findings)
    assert shop.files("staging/shops") != [], "readers keep the table in the meantime"
    assert shop.project.ledger.latest("staging.shops") is None
    shop.make(1001)
    shop.make(1001)
    assert shop.sequences("staging.shops") == [1, 2, 3]
    assert shop.kinds() == []


def test_an_asset_that_is_being_made_is_skipped_and_reported(shop: Shop) -> None:
    with lease(shop.project.lake, "staging.shops", "theirs", 60):
        pruned = prune(shop.project, "ours", now=at(1000))
        assert pruned.busy == ["staging.shops"]
        assert {removal.asset for removal in pruned.removals} == {"landing.shops", "staging.cities"}
        assert shop.files("_superseded/staging/shops") != []


def test_an_asset_with_a_damaged_ledger_is_not_pruned_and_the_others_are(shop: Shop) -> None:
    (shop.root / Ledger.path("staging.shops", 1)).write_bytes(b"{")
    pruned = prune(shop.project, "ours", now=at(1000))
    assert list(pruned.failed) == ["staging.shops"]
    assert {removal.asset for removal in pruned.removals} == {"landing.shops", "staging.cities"}


def test_objects_that_were_set_aside_or_belong_to_no_asset_are_kept(shop: Shop) -> None:
    for name in ("_aside/run/staging/shops/x", "_superseded/staging/older/x", "_ledger/_aside/run/staging/shops/x"):
        (shop.root / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.root / name).touch()
    shop.prune(10_000)
    assert len(shop.files("_aside") + shop.files("_superseded/staging/older") + shop.files("_ledger/_aside")) == 3


def test_a_prune_leaves_at_most_two_lease_objects_per_asset(shop: Shop) -> None:
    for day in (20, 21, 22):
        shop.make(day, some(day - 14))
    dead = msgspec.json.encode(Held("dead", "elsewhere", 1, at(0)))
    shop.project.lake.put("_leases/staging/shops/0000000099.json", dead)
    assert len(shop.files("_leases/staging/shops")) <= 3
    shop.prune(1000)
    assert len(shop.files("_leases/staging/shops")) <= 2


def test_a_prune_leaves_lake_and_ledger_consistent_and_staleness_unchanged(shop: Shop) -> None:
    shop.make(200, [*some(7), BAD])
    shop.make(300, some(9), "landing.shops", "staging.shops")
    state = plan(shop.project.state(at(1000)), shop.project.graph)
    read = shop.project.lake.get
    tables = {path: read(path) for path in shop.files("staging")}
    kinds = {removal.kind for removal in shop.prune(1000)}
    assert kinds == {Kind.SUPERSEDED, Kind.QUARANTINE, Kind.LEDGER}
    assert {path: read(path) for path in shop.files("staging")} == tables
    assert plan(shop.project.state(at(1000)), shop.project.graph) == state
    assert shop.kinds() == []
    assert shop.prune(1000) == [], "a second prune finds nothing"
    assert [outcome.status for outcome in shop.make(1000)] == ["skipped", "skipped", "materialized"]
    assert [outcome.status for outcome in shop.make(1001, some(10))] == ["materialized"] * 3
    again = shop.make(1002, None, *KEYS[:2], force=True)
    assert [outcome.status for outcome in again] == ["materialized"] * 2
    assert shop.kinds() == []


def test_a_prune_killed_at_any_write_and_rerun_has_the_same_result(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source")
    shop.make(0, [*some(3), BAD], *KEYS[:2])
    shop.make(10, some(2), *KEYS[:2])
    shop.make(20, some(2, "Vic"), "landing.shops")
    shop.make(30, some(2, "Olot"), "landing.shops")
    shutil.copytree(settings.lake, tmp_path / "before")
    writes = prune_all(settings, shop.folder, at(1000))
    expected = picture(settings.lake)
    assert writes >= 12, "the case must have many writes to be killed at"
    for trapdoor in range(1, writes + 1):
        shutil.rmtree(settings.lake)
        shutil.copytree(tmp_path / "before", settings.lake)
        code = prune_all_elsewhere(settings, shop.folder, at(1000), trapdoor)
        assert code == -9, f"the process did not reach write {trapdoor}"
        assert set(shop.kinds()) <= {"batch_unsealed"}, f"killed before write {trapdoor}"
        assert [shop.sequences(key) for key in KEYS] == [[1, 2, 3, 4], [1, 2], []]
        prune_all(settings, shop.folder, at(1000))
        assert picture(settings.lake) == expected, f"killed before write {trapdoor}"


def test_a_history_that_is_read_during_a_merge_is_complete(settings: Settings, shop: Shop) -> None:
    class PrunedLake(Lake):
        """A lake on which a prune runs between listing a ledger and reading it."""

        pruned = False

        def find(self, path: str) -> bytes | None:
            if not self.pruned:
                self.pruned = True
                shop.prune(1000)
            return super().find(path)

    pruned_lake = PrunedLake(settings.lake)
    assert [entry.sequence for entry in Ledger(pruned_lake).history("staging.shops")] == [1, 2]
    project = shop.project
    project.lake = PrunedLake(settings.lake)
    assert verify(project).findings == []
