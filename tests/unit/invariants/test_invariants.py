"""The invariants of the materialization path, each by its number in docs/architecture.md.

4, 5, 6 and 9 are also tested under SIGKILL, in test_kill_and_run_again.py and test_two_writers.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.spec import Declaration, StagingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Outcome, ProgressEvent, Request
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, LedgerError
from small.killing import TrapdoorLake
from small.lakes import picture
from small.shops import declare, some

KEYS = ("landing.shops", "staging.shops", "staging.cities")


class Shop:
    """A project of three assets over a source that the test writes."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.source, self.declared = declare(folder)
        self.settings = settings
        self.project = Project(settings, self.declared)
        self.source.write(some(5))

    def make(self, *keys: str, **request: object) -> list[Outcome]:
        return [materialize(self.project, key, Request(**request)) for key in keys or KEYS]  # type: ignore[arg-type]

    def statuses(self, *keys: str, **request: object) -> list[str]:
        return [outcome.status for outcome in self.make(*keys, **request)]

    def table(self, key: str) -> pl.DataFrame:
        entry = self.project.ledger.latest(key)
        assert entry
        return scan_table(self.project.lake, self.project.graph[key], entry).collect()

    def files(self) -> dict[str, object]:
        return picture(self.settings.lake)

    def batches(self) -> set[str]:
        """The landing batches of the shops that are in the lake."""
        return {name.split("/")[2] for name in self.files() if name.startswith("landing/")}

    def planned(self, **options: bool) -> dict[str, Reason]:
        steps = plan(self.project.state(), self.project.graph, **options)
        return {step.key: step.reason for step in steps}

    def requests(self) -> int:
        return len((self.source.folder / "asked.txt").read_text().splitlines())


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


def test_1_a_plan_says_what_is_stale_and_why_and_changes_nothing(shop: Shop) -> None:
    assert shop.planned() == dict.fromkeys(KEYS, Reason.MISSING)
    assert not shop.files()
    shop.make()
    before = shop.files()
    assert shop.planned() == {
        "landing.shops": Reason.SOURCE,
        "staging.shops": Reason.UPSTREAM,
        "staging.cities": Reason.UPSTREAM,
    }
    shop.source.write(some(6))
    shop.make("landing.shops")
    assert shop.planned()["staging.shops"] is Reason.DATA
    assert shop.planned(force=True)["staging.shops"] is Reason.FORCED
    shop.make("staging.shops", "staging.cities")
    assert before != shop.files()


def test_1_a_landing_batch_that_is_needed_again_is_added_to_the_plan(shop: Shop) -> None:
    shop.make()
    entry = shop.project.ledger.latest("staging.shops")
    assert entry
    shop.project.ledger.append(replace(entry, code_version="older"), after=entry.sequence)
    steps = plan(shop.project.state(), shop.project.graph.select("staging.shops"))
    assert [(step.key, step.reason) for step in steps] == [
        ("landing.shops", Reason.CONSUMED),
        ("staging.shops", Reason.CODE),
    ]
    assert shop.statuses("staging.shops") == ["deferred"]
    assert shop.statuses("landing.shops", "staging.shops") == ["materialized", "materialized"]


def test_2_without_new_data_nothing_is_written_and_each_source_gets_one_request(shop: Shop) -> None:
    shop.make()
    before, asked = shop.files(), shop.requests()
    counting = shop.project.lake = TrapdoorLake(shop.settings.lake, None)
    assert shop.statuses() == ["skipped", "skipped", "skipped"]
    assert shop.files() == before
    assert counting.writes == 0
    assert shop.requests() == asked + 1


def test_2_a_new_source_version_with_the_same_content_makes_nothing_stale(shop: Shop) -> None:
    shop.make()
    shop.source.write(some(5), version="republished")
    assert shop.statuses() == ["skipped", "skipped", "skipped"]
    latest = shop.project.ledger.latest("landing.shops")
    assert latest
    assert (latest.status, latest.source_version) == ("unchanged", "republished")
    assert not shop.batches()


def test_3_rows_that_break_the_contract_are_quarantined_with_their_reason(shop: Shop) -> None:
    shop.source.write(
        [*some(6), {"codi": "B1", "ciutat": "nowhere"}, {"codi": "B2", "ciutat": "Vic", "places": "many"}]
    )
    shop.make()
    entry = shop.project.ledger.latest("staging.shops")
    assert entry
    assert entry.quarantine
    quarantined = pl.read_parquet(shop.project.lake.get(entry.quarantine)).sort("codi")
    assert quarantined["_reason"].to_list() == [
        "city: nowhere fails str_matches('^[A-Z][a-z]+$')",
        "capacity_places: 'many' is not a valid bigint",
    ]
    assert quarantined["places"].to_list() == [None, "many"], "the rows are kept as received"
    assert "telefon" not in quarantined.columns, "personal fields do not leave landing"
    assert shop.table("staging.shops")["shop_id"].to_list() == [f"S{number}" for number in range(6)]


def test_3_beyond_the_tolerated_share_the_table_stays_unchanged(shop: Shop) -> None:
    shop.make()
    before = shop.table("staging.shops")
    shop.source.write([*some(2), *({"codi": f"B{n}", "ciutat": "nowhere"} for n in range(4))])
    shop.make("landing.shops")
    with pytest.raises(ContractError, match=r"4 of 6 rows break Shops, which tolerates 25.0%"):
        shop.make("staging.shops")
    assert shop.table("staging.shops").equals(before)
    attempt = shop.project.ledger.last_attempt("staging.shops")
    assert attempt
    assert attempt.status == "failed"
    assert shop.batches(), "the batch is kept when its contract fails"
    assert attempt.quarantine
    rejected = pl.read_parquet(shop.project.lake.get(attempt.quarantine))
    assert (attempt.quarantined, rejected["codi"].to_list()) == (4, ["B0", "B1", "B2", "B3"])
    assert "telefon" not in rejected.columns
    assert shop.statuses("staging.shops", replay=True) == ["skipped"], (
        "only the rows of the published table are replayed"
    )


def test_3_a_table_that_shrinks_beyond_its_guard_is_refused_until_accepted(shop: Shop) -> None:
    shop.source.write(some(10))
    shop.make()
    shop.source.write([*some(3), *({"codi": "JUNK", "ciutat": "Reus"} for _ in range(7))])
    shop.make("landing.shops")
    with pytest.raises(ContractError, match=r"expected at least 5 rows .* found 3; gone: shop_id S3, S4, S5\."):
        shop.make("staging.shops")
    assert shop.table("staging.shops").height == 10
    assert shop.statuses("staging.shops", accept_change=True) == ["materialized"]


def test_3_a_missing_required_field_fails_and_a_new_one_is_recorded(shop: Shop) -> None:
    shop.make()
    known = {"codi": "text", "ciutat": "text", "places": "number", "telefon": "text"}
    shop.source.write(some(6), fields={**known, "barri": "text"})
    shop.make("landing.shops")
    latest = shop.project.ledger.latest("landing.shops")
    assert latest
    assert latest.drift == "new barri"
    shop.source.write(some(7), fields={"codi": "text", "poblacio": "text"})
    with pytest.raises(ContractError, match=r"missing ciutat.*is ciutat now called poblacio\?"):
        shop.make("landing.shops")


def test_3_quarantined_rows_can_be_replayed_once_the_function_is_fixed(shop: Shop) -> None:
    shop.source.write([*some(5), {"codi": "B1", "ciutat": "Vic", "places": "many"}])
    shop.make()
    landing, shops, cities = shop.declared
    assert isinstance(shops, StagingDeclaration)

    def better(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(capacity_places=pl.col("capacity_places").replace("many", "99"))

    fixed: list[Declaration] = [landing, replace(shops, function=better), cities]
    project = Project(shop.settings, fixed)
    assert materialize(project, "staging.shops", Request(replay=True)).status == "materialized"
    assert shop.table("staging.shops").filter(shop_id="B1")["capacity_places"].to_list() == [99]
    latest = project.ledger.latest("staging.shops")
    assert latest
    assert (latest.quarantined, latest.quarantine, latest.rows) == (0, None, 6)


def test_4_publishing_is_deterministic_and_removes_partitions_that_no_longer_exist(shop: Shop) -> None:
    shop.source.write([*some(5), {"codi": "V1", "ciutat": "Vic"}])
    shop.make()
    first = {name: content for name, content in shop.files().items() if name.startswith("staging/")}
    assert "staging/shops/city=Vic/file.parquet" in first
    shop.make(force=True)
    assert {name: content for name, content in shop.files().items() if name.startswith("staging/")} == first
    shop.source.write(some(5))
    shop.make()
    assert "staging/shops/city=Vic/file.parquet" not in shop.files()


def test_5_the_record_is_the_commit_point_and_is_created_once(shop: Shop) -> None:
    shop.make()
    entry = shop.project.ledger.latest("staging.shops")
    assert entry
    with pytest.raises(Exception, match="was recorded by another run"):
        shop.project.ledger.append(replace(entry, run_id="another"), after=0)
    assert entry.sequence == 1
    assert entry.rows == 5
    assert entry.versions == {"landing.shops": shop.project.ledger.latest("landing.shops").data_version}  # type: ignore[union-attr]
    assert entry.columns == {"shop_id": "string", "capacity_places": "bigint", "city": "string"}


def test_6_landing_is_deleted_only_after_every_table_that_reads_it_is_recorded(shop: Shop) -> None:
    shop.make("landing.shops", "staging.shops")
    assert shop.batches(), "staging.cities has not read it yet"
    shop.make("staging.cities")
    assert not shop.batches()


def test_6_an_unused_batch_is_kept_when_a_newer_one_is_used(shop: Shop) -> None:
    shop.make("landing.shops")
    shop.source.write(some(7))
    shop.make()
    assert len(shop.batches()) == 1, "only the batch that was used is deleted"


def test_6_a_batch_is_landed_again_and_kept_for_a_table_that_needs_it_again(shop: Shop) -> None:
    shop.make()
    entry = shop.project.ledger.latest("staging.cities")
    assert entry
    shop.project.ledger.append(replace(entry, code_version="older"), after=entry.sequence)
    assert shop.statuses("landing.shops") == ["materialized"]
    assert shop.statuses("staging.shops", "staging.cities") == ["skipped", "materialized"]
    assert not shop.batches()


def test_6_the_leftovers_of_a_killed_extraction_are_deleted_with_the_next_batch(shop: Shop) -> None:
    shop.make("landing.shops")
    shop.source.write(some(7))
    shop.make("landing.shops")
    shop.project.lake.delete(["_ledger/landing/shops/0000000002.json"])  # killed between the manifest and the record
    shop.source.write(some(8))
    shop.make()
    assert len(shop.batches()) == 1, "the first batch was recorded and not used; the second was never recorded"


def test_7_an_asset_is_made_from_state_without_any_event(shop: Shop) -> None:
    shop.make()
    for count in (6, 7, 8):
        shop.source.write(some(count))
        shop.make("landing.shops")
    assert shop.statuses("staging.shops", "staging.cities") == ["materialized", "materialized"]
    assert shop.table("staging.shops").height == 8
    assert shop.statuses("staging.shops", "staging.cities") == ["skipped", "skipped"]


def test_8_an_asset_defers_to_a_stale_upstream(shop: Shop) -> None:
    shop.make()
    shop.source.write(some(6))
    shop.make("landing.shops")
    outcome = shop.make("staging.cities")[0]
    assert (outcome.status, outcome.why.split(" (")[0]) == ("deferred", "staging.shops is stale")
    assert shop.statuses("staging.shops", "staging.cities") == ["materialized", "materialized"]


def test_8_a_failed_upstream_does_not_block_assets_that_can_be_made(shop: Shop) -> None:
    shop.make()
    shop.source.write([*some(3), *({"codi": f"B{n}", "ciutat": "nowhere"} for n in range(3))])
    shop.make("landing.shops")
    with pytest.raises(ContractError):
        shop.make("staging.shops")
    assert shop.statuses("staging.cities") == ["materialized"]


def test_10_every_table_can_be_rebuilt_and_is_the_same(shop: Shop) -> None:
    shop.make()
    before = {key: shop.table(key) for key in KEYS[1:]}
    shop.make(force=True)
    assert all(shop.table(key).equals(before[key]) for key in before)


def test_12_an_entry_that_cannot_be_read_stops_only_the_assets_that_read_it(shop: Shop) -> None:
    shop.make()
    shop.project.lake.put(Ledger.path("staging.shops", 1), b"{")
    shop.source.write(some(6))
    shop.project = Project(shop.settings, shop.declared)

    steps = {step.key: step for step in plan(shop.project.state(), shop.project.graph)}
    assert steps["landing.shops"].reason == Reason.SOURCE
    for key in ("staging.shops", "staging.cities"):
        assert steps[key].reason == Reason.UNREADABLE
        assert "staging/shops/0000000001.json cannot be read" in steps[key].why
        assert "`catalunya verify --repair`" in steps[key].why

    assert shop.statuses("landing.shops") == ["materialized"]
    with pytest.raises(LedgerError, match=r"0000000001\.json cannot be read .*`catalunya verify --repair`"):
        shop.make("staging.shops")
    (deferred,) = shop.make("staging.cities")
    assert deferred.status == "deferred"
    assert "0000000001.json cannot be read" in deferred.why


def test_a_clock_gives_an_asset_a_new_version_each_day_or_year(shop: Shop) -> None:
    asset = replace(shop.project.graph["staging.shops"], clock="day")
    assert asset.clock_version(datetime(2026, 8, 3, 23, tzinfo=UTC)) == "2026-08-03"
    assert replace(asset, clock="year").clock_version(datetime(2026, 8, 3, tzinfo=UTC)) == "2026"


def test_an_observer_gets_the_steps_in_order(shop: Shop) -> None:
    shop.make("landing.shops")
    events: list[ProgressEvent] = []
    materialize(shop.project, "staging.shops", observer=events.append)
    steps = list(dict.fromkeys(event.step for event in events))
    assert steps == ["leased", "producing", "produced", "publishing", "published", "recorded", "cleaned"]


def test_the_correlation_id_of_landing_is_passed_on_to_all_downstream_assets(shop: Shop) -> None:
    made = shop.make(correlation_id=None)
    ids = {outcome.entry.correlation_id for outcome in made if outcome.entry}
    assert ids == {made[0].entry.run_id}  # type: ignore[union-attr]


def test_a_staging_function_that_duplicates_rows_fails(shop: Shop) -> None:
    landing, shops, cities = shop.declared
    assert isinstance(shops, StagingDeclaration)
    doubling = replace(shops, function=lambda raw: pl.concat([raw, raw]))
    project = Project(shop.settings, [landing, doubling, cities])
    materialize(project, "landing.shops")
    with pytest.raises(Exception, match="duplicated rows"):
        materialize(project, "staging.shops")


def test_a_missing_contract_column_is_reported_by_name(shop: Shop) -> None:
    class Wider(Contract):
        """A table with a column that has no source."""

        shop_id: str = column("Code", source="codi", key=True)
        color: str = column("No source field and no function")

    landing, shops, _ = shop.declared
    assert isinstance(shops, StagingDeclaration)
    project = Project(shop.settings, [landing, replace(shops, contract=Wider, partition_by=())])
    materialize(project, "landing.shops")
    with pytest.raises(Exception, match="found no color"):
        materialize(project, "staging.shops")
