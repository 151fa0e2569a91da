"""Invariant 12, further: whatever is broken in the records, only the assets that read it stop, and every command says what to repair.

shops -> staging.shops -> staging.cities (which reads both), and beside them landing.births -> staging.births, which reads none of these.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.spec import staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry, Ledger, decode
from catalunya.assets.record.paths import manifest_path
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import prune
from catalunya.assets.record.verify import repair, verify
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import BatchDamaged, CatalunyaError, LakeError, LedgerError, SourceError
from catalunya.ops.plan_run import PlanRun
from catalunya.ops.status import statuses
from small import shops, years

SHOPS, CITIES, YEARS = "staging.shops", "staging.cities", "staging.births"


class Town:
    """Two sources and what is made from them; every part was made once, and both sources have changed since."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.source, declared = shops.declare(folder / "shops", page_rows=100)
        self.years, others = years.declare(folder / "years")
        self.declared = [*declared, *others]
        self.source.write(shops.some(5))
        self.years.write({"2014-H1": 1, "2015-H1": 2})

    def make(self) -> None:
        for step in plan(self.open().state(), self.open().graph):
            materialize(self.open(), step.key)

    def open(self) -> Project:
        """The project as a new process sees it."""
        return Project(self.settings, self.declared)

    def change(self) -> None:
        self.source.write(shops.some(6))
        self.years.write({"2014-H1": 1, "2015-H1": 3})

    def object(self, path: str) -> Path:
        return Path(self.settings.lake, path)

    def run(self) -> dict[str, str]:
        """Materialize without a selection: asset -> status."""
        project = self.open()
        steps = plan(project.state(), project.graph)
        results = PlanRun(project, steps, request=lambda _: Request()).run()
        return {result.asset: result.status for result in results}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, and `made`, a lake in which everything was made once: it takes longer than most of the tests."""
    folder = tmp_path_factory.mktemp("town")
    (folder / "scratch").mkdir()
    Town(settings_in(folder, "made"), folder).make()
    return folder


def settings_in(folder: Path, lake: str) -> Settings:
    return load_settings(env="local", lake=str(folder / lake), cache=folder / "cache", scratch=folder / "scratch")


@pytest.fixture
def town(folder: Path) -> Town:
    lake = folder / "lake"
    shutil.rmtree(lake, ignore_errors=True)
    shutil.copytree(folder / "made", lake)
    return Town(settings_in(folder, "lake"), folder)


def damaged(content: dict[str, object], **changes: object) -> bytes:
    return json.dumps({**content, **changes}).encode()


BROKEN: dict[str, Callable[[dict[str, object]], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda entry: json.dumps(entry).encode()[:150],
    "not text": lambda _: b"\xff\xfe\x00" * 50,
    "a number": lambda _: b"7",
    "null": lambda _: b"null",
    "a list": lambda entry: json.dumps([entry]).encode(),
    "nested without end": lambda entry: json.dumps(entry).encode()[:-1] + b', "x": ' + b"[" * 100_000 + b"}",
    "rows as text": lambda entry: damaged(entry, rows="5"),
    "rows below zero": lambda entry: damaged(entry, rows=-5),
    "versions as a list": lambda entry: damaged(entry, versions=[1]),
    "objects as text": lambda entry: damaged(entry, objects="file.parquet"),
    "a time without a zone": lambda entry: damaged(entry, started_at="2026-08-03T10:00:00"),
    "a time beyond the calendar": lambda entry: damaged(entry, started_at="9999-12-31T23:59:59Z", seconds=1e6),
    "the entry of another asset": lambda entry: damaged(entry, asset=CITIES),
    "another entry of the asset": lambda entry: damaged(entry, sequence=9),
    "a batch that is all of the lake": lambda entry: damaged(entry, batch="marts"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_entry_that_cannot_be_used_stops_its_asset_and_its_reader_and_nothing_else(town: Town, how: str) -> None:
    path = town.object(Ledger.path(SHOPS, 1))
    path.write_bytes(BROKEN[how](json.loads(path.read_bytes())))
    town.change()

    assert town.run() == {
        "landing.births": "materialized",
        "landing.shops": "materialized",
        YEARS: "materialized",
        SHOPS: "failed",
        CITIES: "deferred",
    }
    project = town.open()
    state = project.state()
    found = {one.asset: one for one in statuses(state, project.graph)}
    assert (found[SHOPS].state, found[CITIES].state) == ("unreadable", "stale")
    assert all("0000000001.json" in found[key].why and "verify --repair" in found[key].why for key in (SHOPS, CITIES))
    assert found[YEARS].is_fine
    assert SHOPS not in {stale.key for stale in state.neglected(project.graph)}
    assert CITIES not in {stale.key for stale in state.neglected(project.graph)}
    assert set(prune(project, "prune").failed) == {SHOPS}
    assert (SHOPS, "entry_unreadable") in {(each.asset, each.kind) for each in verify(project).findings}

    repair(project, verify(project).findings)
    assert set(town.run().values()) <= {"materialized", "skipped"}
    assert verify(town.open()).findings == []


def test_when_no_entry_of_an_asset_can_be_read_the_others_go_on(town: Town) -> None:
    town.change()
    town.run()
    for path in town.object(Ledger.folder(SHOPS)).iterdir():
        path.write_bytes(b"{")
    assert town.run()[SHOPS] == "failed"
    assert town.run()["landing.births"] == "skipped"
    repair(town.open(), verify(town.open()).findings)
    town.run()
    assert verify(town.open()).findings == []


def test_an_asset_below_the_readers_of_a_broken_record_is_made_from_what_there_is(town: Town) -> None:
    @staging(town.declared[3], contract=years.BirthsByHalfYear, reads=[town.declared[2]])  # type: ignore[list-item, arg-type]
    def towns(raw: pl.LazyFrame, cities: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(year_id=pl.col("half_year_id").str.slice(0, 4))

    town.declared.append(towns)
    town.change()
    town.object(Ledger.path(SHOPS, 1)).write_bytes(b"{")
    made = town.run()
    assert (made[SHOPS], made[CITIES], made["staging.towns"]) == ("failed", "deferred", "materialized")


def test_merged_entries_that_are_cut_off_stop_only_what_needs_the_past(town: Town) -> None:
    project = town.open()
    town.change()
    town.run()
    project.ledger.compact(SHOPS, [1])
    merged = town.object(Ledger.compacted_path(SHOPS))
    merged.write_bytes(merged.read_bytes()[:100])
    town.source.write(shops.some(7))
    assert town.run()[SHOPS] == "materialized", "it needs its last entry only"
    assert set(prune(town.open(), "prune").failed) == {SHOPS}
    assert {each.asset for each in verify(town.open()).findings} == {SHOPS}


def test_the_merged_entries_of_another_asset_are_not_read_as_its_own(town: Town) -> None:
    town.change()
    town.run()
    town.open().ledger.compact(SHOPS, [1])
    foreign = town.object(Ledger.compacted_path(SHOPS)).read_bytes().replace(SHOPS.encode(), CITIES.encode())
    town.object(Ledger.compacted_path(SHOPS)).write_bytes(foreign)
    with pytest.raises(LedgerError, match=r"entry 1 of staging\.cities is among them"):
        town.open().ledger.history(SHOPS)


def test_a_manifest_that_cannot_be_read_stops_the_tables_of_its_batch(town: Town) -> None:
    town.change()
    materialize(town.open(), "landing.shops")
    batch = town.open().state().known("landing.shops")
    assert batch
    assert batch.batch
    town.object(manifest_path(batch.batch)).write_bytes(b'{"asset": 1}')
    with pytest.raises(BatchDamaged, match=r"expected a manifest in .*_manifest\.json"):
        materialize(town.open(), SHOPS)
    assert town.run()[YEARS] == "materialized"

    town.source.write(shops.some(8))
    assert materialize(town.open(), "landing.shops").status == "materialized", "a newer batch replaces it"
    assert materialize(town.open(), SHOPS).status == "materialized"


def test_a_sealed_batch_that_no_entry_records_and_whose_manifest_cannot_be_read_is_landed_again(town: Town) -> None:
    left = town.object("landing/shops/ingested_process_at=20260101T000000000")
    left.mkdir(parents=True)
    (left / "_manifest.json").write_bytes(b"{")
    town.change()
    assert materialize(town.open(), "landing.shops").status == "materialized"
    assert not (left / "_manifest.json").exists()


@pytest.mark.parametrize(
    "folder", ["_ledger/staging/shops", "staging/shops", "landing/shops", "quarantine/staging/shops"]
)
def test_a_file_where_a_folder_of_one_asset_is_needed_stops_that_asset(
    settings: Settings, tmp_path: Path, folder: str
) -> None:
    Path(settings.lake, folder).parent.mkdir(parents=True)
    Path(settings.lake, folder).write_bytes(b"in the way")
    source, declared = shops.declare(tmp_path / "shops")
    other, others = years.declare(tmp_path / "years")
    source.write([*shops.some(5), {"codi": "bad", "ciutat": "reus"}])
    other.write({"2014-H1": 1})
    project = Project(settings, [*declared, *others])
    made, why = {}, {}
    for step in plan(project.state(), project.graph):
        try:
            made[step.key] = materialize(project, step.key).status
        except CatalunyaError as error:
            made[step.key], why[step.key] = "failed", str(error)
    assert made[YEARS] == "materialized"
    assert "failed" in made.values()
    assert all("there is a file where a folder is needed" in text for text in why.values()), why
    statuses(project.state(), project.graph)
    assert YEARS not in prune(project, "prune").failed
    assert {each.asset for each in verify(project).findings} <= {"", "landing.shops", SHOPS, CITIES}


def is_its_own_target(path: Path) -> None:
    """Neither the file nor its folder can be read from now on, not even by root."""
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize("where", ["_ledger/staging/shops/0000000001.json", "_leases/staging/shops/0000000001.json"])
def test_what_the_lake_refuses_to_read_of_one_asset_stops_that_asset(town: Town, where: str) -> None:
    is_its_own_target(town.object(where))
    town.change()
    made = town.run()
    assert made[SHOPS] == "failed"
    assert made[YEARS] == made["landing.births"] == "materialized"

    project = town.open()
    found = {one.asset: one for one in statuses(project.state(), project.graph)}
    assert found[YEARS].is_fine
    assert not found[SHOPS].is_fine
    assert found[SHOPS].state == ("unreadable" if where.startswith("_ledger") else "stale")
    assert YEARS not in {one.asset for one in verify(project).findings}
    assert YEARS not in prune(project, "prune").failed


def test_a_ledger_that_the_lake_refuses_to_read_at_all_is_an_error_and_not_one_of_each_asset(town: Town) -> None:
    ledger = town.object("_ledger")
    shutil.rmtree(ledger)
    ledger.symlink_to(ledger.name)
    project = town.open()
    with pytest.raises(LakeError, match="_ledger: "):
        statuses(project.state(), project.graph)
    with pytest.raises(LakeError, match="_ledger: "):
        verify(project)


def test_verify_goes_on_where_the_objects_of_one_asset_cannot_be_read_and_moves_nothing(town: Town) -> None:
    table = next(town.object("staging/shops").rglob("*.parquet"))
    is_its_own_target(table)
    findings = verify(town.open()).findings
    assert {(one.asset, one.kind) for one in findings} == {(SHOPS, "unreadable"), ("", "unreadable")}
    repair(town.open(), findings)
    assert table.is_symlink()


@pytest.mark.parametrize("content", [b'{"run_id": "\xff"}', b'{"x": ' + b"[" * 100_000, b"7", b""])
def test_a_lease_that_is_no_lease_stops_neither_status_nor_other_assets(town: Town, content: bytes) -> None:
    town.object("_leases/staging/shops/0000000001.json").write_bytes(content)
    town.change()
    project = town.open()
    found = {one.asset: one.state for one in statuses(project.state(), project.graph)}
    assert found[SHOPS] == "running", "until it ends by itself"
    made = town.run()
    assert (made[SHOPS], made[YEARS]) == ("failed", "materialized")


def test_a_source_version_that_cannot_be_recorded_is_one_clear_line(town: Town) -> None:
    town.source.write(shops.some(6), version="2\udc80")
    with pytest.raises(SourceError, match=r"expected a version of the source that can be recorded, found '2\\udc80'"):
        materialize(town.open(), "landing.shops")


def test_other_objects_among_entries_and_leases_are_ignored(town: Town) -> None:
    for path in (
        "_ledger/staging/shops/notes.txt",
        "_ledger/staging/shops/older/0000000009.json",
        "_ledger/staging/shops/٠٠٠٠٠٠٠٠٠٩.json",
        "_leases/staging/shops/notes.json",
        "_leases/staging/shops/.DS_Store",
    ):
        town.object(path).parent.mkdir(parents=True, exist_ok=True)
        town.object(path).write_bytes(b"notes")
    town.change()
    assert town.run()[SHOPS] == "materialized"


IDS = {
    "a lone surrogate": "\ud800",
    "a long text": "x" * 1_000_000,
    "a number": 7,
    "a list": ["wave"],
    "an object": {"a": 1},
    "true": True,
    "empty": "",
}


@pytest.mark.parametrize("kind", IDS)
def test_an_id_from_outside_that_cannot_be_recorded_is_replaced(town: Town, kind: str) -> None:
    outside: object = IDS[kind]
    town.change()
    request = Request(correlation_id=outside, run_id=outside)  # type: ignore[arg-type]
    entry = materialize(town.open(), "landing.shops", request).entry
    assert entry
    assert entry.correlation_id == entry.run_id != outside
    assert town.open().ledger.latest("landing.shops") == entry


@pytest.mark.parametrize(
    "changes",
    [
        {"drift": "new field \udc80"},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"rows": 2**70},
        {"rows": -1},
        {"correlation_id": "x" * 501},
        {"run_id": ["a list"]},
        {"versions": {"clock": 7}},
        {"started_at": datetime(2026, 8, 3)},  # noqa: DTZ001
        {"batch": "landing/others/ingested_process_at=20260803T140512000"},
    ],
)
def test_an_entry_that_could_not_be_read_back_is_not_written(town: Town, changes: dict[str, object]) -> None:
    ledger = town.open().ledger
    path = town.object(Ledger.path("landing.shops", 1))
    good = decode(path.read_bytes(), "")
    values = {name: getattr(good, name) for name in Entry.__dataclass_fields__}
    with pytest.raises(
        LedgerError, match=r"^landing\.shops: expected a ledger entry that can be read back, found"
    ) as caught:
        ledger.append(Entry(**{**values, **changes}), after=1)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not town.object(Ledger.path("landing.shops", 2)).exists()


def test_a_field_name_with_a_lone_surrogate_is_recorded_legibly(town: Town) -> None:
    known = {"codi": "text", "ciutat": "text", "places": "number", "telefon": "text"}
    town.source.write(shops.some(6), version="2", fields={**known, "\udc80": "text"})
    assert materialize(town.open(), "landing.shops").status == "materialized"
    landed = town.open().ledger.latest("landing.shops")
    assert landed
    assert r"\udc80" in landed.drift
    assert materialize(town.open(), SHOPS).status == "materialized"
