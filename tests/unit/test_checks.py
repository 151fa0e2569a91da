"""Checks: one list per materialization, in its ledger entry, of everything that was checked, passed or not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from catalunya.assets.graph.spec import Landing, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.making.restoring import restore_version
from catalunya.assets.record.ledger import Entry, decode, encode
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import check_fields
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.contracts.model.results import LONGEST_NAME, MOST, Check, CheckTally, describe, failed
from catalunya.contracts.model.rules import rules
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from catalunya.io.safe_text import NAME
from small.shops import FolderSource, RawShops, Shops, declare, some

HOSTILE = "\x1b[2J\u202e" + "x" * 500


class Shop:
    """The shops of a folder, through the real path."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.source, declared = declare(folder)
        self.project = Project(settings, declared)

    def make(self, rows: list[dict[str, Any]], key: str = "staging.shops", **options: Any) -> Entry:
        """Publish these rows at the source, and make the table. Returns its last entry, also of an attempt that failed."""
        self.source.write(rows)
        try:
            materialize(self.project, "landing.shops", Request(force=True, **options))
            if key != "landing.shops":
                materialize(self.project, key, Request(force=True, **options))
        except ContractError:
            pass  # it is in the entry
        entry = self.project.ledger.last_attempt(key)
        assert entry
        return entry


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


def found(entry: Entry) -> dict[str, int]:
    return {
        f"{check.column}: {check.name}" if check.kind == "guard" and check.column else check.name: check.failed
        for check in entry.checks
    }


def test_every_check_that_ran_is_in_the_entry_also_those_that_passed(shop: Shop) -> None:
    entry = shop.make(
        [*some(8), {"codi": "S8", "ciutat": "lower", "places": "-3"}, {"codi": "S9", "ciutat": "Vic", "places": "many"}]
    )
    assert found(entry) == {
        "capacity_places >= 0": 1,
        "capacity_places is a bigint": 1,
        "city can name a partition": 0,
        "city is not null": 0,
        "city matches ^[A-Z][a-z]+$": 1,
        "every row is accounted for": 0,
        "guard: rows lost at most 50 %": 0,
        "key is unique": 0,
        "rows are accepted by the staging function": 0,
        "rows can be read": 0,
        "rows in quarantine at most 25 %": 0,
        "shop_id is not null": 0,
    }
    assert {check.name: check.sample for check in failed(entry.checks)} == {
        "capacity_places >= 0": "-3",
        "capacity_places is a bigint": "many",
        "city matches ^[A-Z][a-z]+$": "lower",
    }
    assert {check.severity for check in entry.checks} == {"error"}
    assert entry.quarantined == 2


def test_the_counts_do_not_depend_on_how_the_rows_are_cut_into_pages(settings: Settings, tmp_path: Path) -> None:
    rows = [*some(30), *({"codi": f"T{n}", "ciutat": f"city{n}", "places": "1"} for n in range(7))]
    entries = []
    for page_rows in (1, 4, 100):
        shop = Shop(
            settings.model_copy(update={"lake": str(tmp_path / f"lake-{page_rows}")}), tmp_path / str(page_rows)
        )
        shop.source = replace(shop.source, page_rows=page_rows)
        shop.project = Project(shop.project.settings, declare(tmp_path / str(page_rows), page_rows=page_rows)[1])
        entries.append(shop.make(rows))
    assert entries[0].checks == entries[1].checks == entries[2].checks
    assert found(entries[0])["city matches ^[A-Z][a-z]+$"] == 7


def test_a_failed_attempt_says_which_check_failed(shop: Shop) -> None:
    entry = shop.make([*some(2), *({"codi": f"T{n}", "ciutat": "lower", "places": "1"} for n in range(5))])
    assert entry.status == "failed"
    assert [describe(check) for check in failed(entry.checks)] == [
        "city matches ^[A-Z][a-z]+$: 5 failed, for example lower",
        "rows in quarantine at most 25 %: 5 failed",
    ]
    assert "key is unique" in found(entry)
    assert "every row is accounted for" not in found(entry)  # it did not get that far


def test_rows_that_contradict_each_other_fail_the_check_of_the_key(shop: Shop) -> None:
    entry = shop.make([*some(8), {"codi": "S1", "ciutat": "Vic", "places": "5"}])
    (check,) = failed(entry.checks)
    assert describe(check) == "key is unique: 2 failed, for example shop_id 'S1'"


def test_a_guard_that_refuses_is_an_error_and_one_that_was_waived_a_warning(shop: Shop) -> None:
    shop.make(some(10))
    entry = shop.make(some(2), "landing.shops")
    assert (entry.status, found(entry)["guard: rows lost at most 20 %"]) == ("failed", 8)
    entry = shop.make(some(2), accept_change=True)
    (check,) = failed(entry.checks)
    assert (check.name, check.severity, check.failed) == ("guard: rows lost at most 50 %", "warning", 8)
    assert check.sample.startswith("shop_id S")
    assert describe(check).startswith("guard: rows lost at most 50 %: 8 failed (warning), for example shop_id S")
    assert found(shop.make(some(3)))["guard: rows added at most 900 %"] == 0


def test_a_guard_that_a_column_broke_names_it(settings: Settings, tmp_path: Path) -> None:
    class Steady(Contract, max_change=0.1):
        """Shops whose places hardly change."""

        shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
        capacity_places: int = column("Places", source=RawShops.places, nullable=True)

    shop = Shop(settings, tmp_path / "source")
    landing = Landing("shops", source=shop.source, contract=RawShops, schedule="0 5 * * *")

    @staging(landing, contract=Steady)
    def shops(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw

    shop.project = Project(settings, [landing, shops])
    shop.make(some(10))
    entry = shop.make([{**row, "places": "77"} for row in some(10)])
    (check,) = failed(entry.checks)
    assert (check.name, check.column, check.failed) == ("guard: values changed at most 10 %", "capacity_places", 10)
    assert describe(check).startswith(
        "capacity_places: guard: values changed at most 10 %: 10 failed, for example shop_id S0: '0' ->"
    )


def test_a_landing_asset_checks_the_fields_of_its_source(shop: Shop) -> None:
    shop.source.write(some(2), fields={"codi": "number", "ciutat": "text", "places": "number", "more": "text"})
    entry = materialize(shop.project, "landing.shops").entry
    assert entry
    assert [describe(check) for check in entry.checks] == [
        "fields are as declared: 3 failed (warning), for example new more; missing telefon; codi was text, is number",
        "required fields are present: passed",
        "guard: rows lost at most 20 %: passed",
    ]
    tally = CheckTally("landing")
    with pytest.raises(ContractError, match="missing codi"):
        check_fields("landing.shops", RawShops, {"ciutat": "text"}, tally=tally)
    assert describe(failed(tally.results)[0]) == "required fields are present: 1 failed, for example codi"


def test_personal_values_are_no_samples(settings: Settings, tmp_path: Path) -> None:
    class RawPeople(LandingContract):
        """People as the source publishes them."""

        codi: str = raw("Code")
        ciutat: str = raw("City")
        telefon: str = raw("Telephone", personal=True)

    class People(Contract, tolerate=1.0):
        """People, by a code that is personal."""

        person_id: str = column("Code", source=RawPeople.codi, key=True, personal=True, str_matches="^P")
        age: int = column("Age", source=RawPeople.ciutat, personal=True)

    source = FolderSource(tmp_path / "source")
    landing = Landing("people", source=source, contract=RawPeople, schedule="0 5 * * *")

    @staging(landing, contract=People)
    def people(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(
            pl.when(pl.col("person_id") == "P2").then(pl.format("who is {}", "person_id")).alias("_reason")
        )

    project = Project(settings, [landing, people])
    rows = [("P9", "9"), ("secret", "3"), ("P1", "secret"), ("P2", "4"), ("P3", "5"), ("P3", "6")]
    source.write([{"codi": code, "ciutat": city} for code, city in rows], fields={"codi": "text", "ciutat": "text"})
    materialize(project, "landing.people")
    entry = materialize(project, "staging.people").entry
    assert entry
    assert {check.name: check.sample for check in failed(entry.checks)} == {
        "age is a bigint": "•••",
        "key is unique": "•••",
        "person_id matches ^P": "•••",
        "rows are accepted by the staging function": "•••",
    }
    assert b"secret" not in encode(entry)


def test_hostile_values_are_short_and_safe_and_can_be_read_back(shop: Shop) -> None:
    entry = shop.make([*some(8), {"codi": "S9", "ciutat": HOSTILE, "places": "1"}])
    checks = failed(entry.checks)
    assert checks
    assert all(len(check.sample) <= NAME and check.sample.isprintable() for check in checks)
    assert decode(encode(entry), "here") == entry
    tally = CheckTally()
    tally.count(HOSTILE + "\ud800", "test", 1, "\ud800" + HOSTILE, column=HOSTILE)
    (check,) = tally.results
    assert (len(check.name), len(check.column), len(check.sample)) <= (LONGEST_NAME, NAME, NAME)
    assert msgspec.json.decode(msgspec.json.encode(check), type=Check) == check


def test_a_check_that_passed_is_stored_as_its_name_and_kind(shop: Shop) -> None:
    entry = shop.make(some(4))
    stored = msgspec.json.decode(encode(entry))["checks"]
    assert {"name": "key is unique", "kind": "contract"} in stored


def test_an_entry_of_before_has_no_checks(shop: Shop) -> None:
    stored = msgspec.json.decode(encode(shop.make(some(4))))
    del stored["checks"]
    assert decode(msgspec.json.encode(stored), "here").checks == ()


def test_merged_entries_keep_only_what_failed_without_samples(shop: Shop) -> None:
    shop.make([*some(8), {"codi": "S9", "ciutat": "lower", "places": "1"}])
    shop.project.ledger.compact("staging.shops", [1])
    (merged,) = shop.project.ledger.history("staging.shops")
    (check,) = merged.checks
    assert (check.name, check.failed, check.sample) == ("city matches ^[A-Z][a-z]+$", 1, "")


def test_a_restored_version_has_the_checks_of_its_rows_and_no_guards(shop: Shop) -> None:
    first = shop.make(some(4))
    shop.make(some(5))
    restore_version(shop.project, "staging.shops", "again")
    restored = shop.project.ledger.latest("staging.shops")
    assert restored
    assert restored.restored == first.sequence
    assert restored.checks == tuple(check for check in first.checks if check.kind != "guard")


def test_the_asset_event_carries_counts(shop: Shop) -> None:
    entry = shop.make([*some(8), {"codi": "S9", "ciutat": "lower", "places": "1"}])
    assert entry.summary()["checks"] == len(entry.checks) == 12
    assert entry.summary()["checks_failed"] == 1


def test_threads_add_to_one_count() -> None:
    tally = CheckTally()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: tally.count("n", "contract", 1, f"{number:04}"), range(1000)))
    assert tally.results == (Check(name="n", kind="contract", failed=1000, sample="0000"),)


def test_of_too_many_checks_those_that_failed_are_kept() -> None:
    tally = CheckTally()
    for number in range(MOST + 10):
        tally.put(f"check {number:05}", "test", int(number == MOST + 5))
    assert len(tally.results) == MOST
    assert [check.name for check in failed(tally.results)] == [f"check {MOST + 5:05}"]


def test_every_rule_of_every_contract_has_a_name_of_its_own(every_contract: list[type[Contract]]) -> None:
    for contract in every_contract:
        names = [rule.name for rule in rules(contract)]
        assert len(names) == len(set(names)), contract
        assert all(name.isprintable() and len(name) <= LONGEST_NAME for name in names), contract


@pytest.fixture
def every_contract() -> list[type[Contract]]:
    from catalunya.assets.graph.discovery import declarations, mart_contracts
    from catalunya.assets.graph.spec import StagingDeclaration

    tables = [each.contract for each in declarations().values() if isinstance(each, StagingDeclaration)]
    return [Shops, *tables, *mart_contracts().values()]
