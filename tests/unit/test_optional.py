"""A mart that is also made without an optional table: when it waits, when it goes ahead, and who sees the gap."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.plan import plan
from catalunya.assets.record.ledger import Entry, Ledger
from catalunya.assets.record.paths import manifest_path
from catalunya.assets.record.state import Reason, State
from catalunya.contracts.model.columns import Column
from catalunya.io.errors import DeclarationError
from catalunya.io.lake import Lake
from catalunya.ops.generate import picture
from catalunya.ops.status import statuses

NOW = datetime(2026, 11, 30, 5, tzinfo=UTC)
GDP, JOBS = ("landing.gdp", "staging.gdp"), ("landing.jobs", "staging.jobs")
SECTORS, GROWTH, OUTPUT = "marts.dim_sectors", "marts.agg_growth", "marts.fact_output"


def asset(key: str, *upstream: str, optional: tuple[str, ...] = (), columns: tuple[Column, ...] = ()) -> Asset:
    return Asset(key=key, description="", columns=columns, code_version="1", upstream=upstream, optional=optional)


GRAPH = AssetGraph(
    [
        asset("landing.gdp"),
        asset("staging.gdp", "landing.gdp"),
        asset("landing.jobs"),
        asset("staging.jobs", "landing.jobs"),
        asset(SECTORS, "staging.gdp", "staging.jobs", optional=("staging.jobs",)),
        asset(OUTPUT, "staging.gdp", SECTORS),
        asset(GROWTH, OUTPUT, "staging.jobs", optional=("staging.jobs",)),
    ]
)


class Made:
    """A ledger in which tables are recorded as made or failed, and the state that follows."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(Lake(str(folder)))

    @property
    def state(self) -> State:
        return State(GRAPH, self.ledger, NOW)

    def make(self, *keys: str, version: str = "1") -> None:
        """Record tables as made from what is there, with this data version."""
        for key in keys:
            batch = f"{key.replace('.', '/')}/ingested_process_at=20261130T050000000" if key[0] == "l" else None
            if batch:
                self.ledger.lake.put(manifest_path(batch), b"{}")
            self.record(replace(self._blank(key), status="materialized", data_version=version, batch=batch))

    def fail(self, key: str, *, transient: bool) -> None:
        """Record that making a table from what is there failed."""
        error = "SourceUnavailable: it does not answer"
        failed = replace(self._blank(key), status="failed", transient=transient, error=error)
        self.record(replace(failed, failures=int(transient)))

    def _blank(self, key: str) -> Entry:
        known = self.state.versions(GRAPH[key])
        return Entry(
            asset=key,
            sequence=0,
            status="materialized",
            run_id="r",
            correlation_id="r",
            reason="MISSING",
            started_at=NOW,
            seconds=0.0,
            code_version="1",
            versions=known,
        )

    def record(self, entry: Entry) -> None:
        last = self.ledger.last_attempt(entry.asset)
        self.ledger.append(entry, after=last.sequence if last else 0)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = Made(tmp_path / "lake")
    made.make(*GDP)
    return made


def test_a_mart_waits_for_an_optional_table_that_is_about_to_be_made(made: Made) -> None:
    assert (made.state.waits_for(SECTORS) or "").startswith("landing.jobs is stale (MISSING")
    made.make("landing.jobs")
    assert (made.state.waits_for(SECTORS) or "").startswith("staging.jobs is stale (MISSING")
    made.make("staging.jobs")
    assert made.state.waits_for(SECTORS) is None
    assert made.state.goes_without(SECTORS) == []


@pytest.mark.parametrize("transient", [True, False], ids=["in passing", "for good"])
@pytest.mark.parametrize("failed", JOBS)
def test_a_mart_goes_ahead_without_an_optional_table_that_failed(made: Made, failed: str, transient: bool) -> None:
    if failed == "staging.jobs":
        made.make("landing.jobs")
    made.fail(failed, transient=transient)
    assert made.state.waits_for(SECTORS) is None
    assert made.state.goes_without(SECTORS) == ["staging.jobs"]
    assert SECTORS in [stale.key for stale in made.state.neglected(GRAPH)]


def test_what_reads_such_a_mart_is_not_held_either_and_shows_the_gap(made: Made) -> None:
    made.fail("landing.jobs", transient=True)
    for key in (SECTORS, OUTPUT, GROWTH):
        assert made.state.waits_for(key) is None, key
        made.make(key)
        assert made.state.stale(key) is None, key
        assert made.state.without(key) == ["staging.jobs"], key
    assert {one.asset: one.without for one in statuses(made.state, GRAPH) if one.without} == {
        SECTORS: ("staging.jobs",),
        OUTPUT: ("staging.jobs",),
        GROWTH: ("staging.jobs",),
    }


def test_it_is_rebuilt_when_the_optional_table_is_there(made: Made) -> None:
    made.fail("landing.jobs", transient=True)
    made.make(SECTORS, OUTPUT)
    made.make(*JOBS)
    stale = made.state.stale(SECTORS)
    assert stale
    assert (stale.reason, stale.why) == (Reason.DATA, "staging.jobs is there now")
    assert made.state.stale(OUTPUT) is None
    assert (made.state.waits_for(OUTPUT) or "").startswith(f"{SECTORS} is stale")
    made.make(SECTORS, version="2")
    assert made.state.without(OUTPUT) == []
    assert (made.state.stale(OUTPUT) or stale).why == f"{SECTORS} changed"


def test_a_restored_version_shows_the_gap_that_it_has_and_stays(made: Made) -> None:
    made.fail("landing.jobs", transient=True)
    made.make(SECTORS)
    without = made.state.latest(SECTORS)
    made.make(*JOBS)
    made.make(SECTORS, version="2")
    for _ in range(2):  # the second time a restored one is restored
        assert without
        made.record(replace(without, versions=made.state.versions(GRAPH[SECTORS]), restored=without.sequence))
        assert made.state.stale(SECTORS) is None
        assert made.state.without(SECTORS) == ["staging.jobs"]
        without = made.state.latest(SECTORS)
    made.make(SECTORS, version="2")
    assert made.state.without(SECTORS) == []


@pytest.mark.parametrize("transient", [True, False], ids=["in passing", "for good"])
def test_an_optional_table_that_was_made_before_is_read_as_it_was_when_it_fails(made: Made, transient: bool) -> None:
    made.make(*JOBS)
    made.make(SECTORS)
    made.make("landing.jobs", "staging.gdp", version="2")
    assert (made.state.waits_for(SECTORS) or "").startswith("staging.jobs is stale"), "it is about to be made"
    made.fail("staging.jobs", transient=transient)
    assert made.state.waits_for(SECTORS) is None
    assert made.state.versions(GRAPH[SECTORS]) == {"staging.gdp": "2", "staging.jobs": "1"}
    made.make(SECTORS)
    assert made.state.without(SECTORS) == []


def test_a_required_table_that_fails_holds_the_mart_as_before(made: Made) -> None:
    made.make(*JOBS)
    made.make(SECTORS)
    made.make("landing.gdp", version="2")
    made.fail("staging.gdp", transient=True)
    assert (made.state.waits_for(SECTORS) or "").startswith("staging.gdp is stale")


def test_an_optional_table_whose_ledger_cannot_be_read_holds_the_mart_until_its_repair(made: Made) -> None:
    made.make(*JOBS)
    made.ledger.lake.put(Ledger.path("staging.jobs", 1), b"not json")
    state = State(GRAPH, Ledger(made.ledger.lake), NOW)
    assert "cannot be read" in (state.waits_for(SECTORS) or "")


def test_the_plan_says_what_a_mart_would_be_made_without(made: Made) -> None:
    assert "without" not in " ".join(step.why for step in plan(made.state, GRAPH))
    made.fail("landing.jobs", transient=True)
    steps = {step.key: step.why for step in plan(made.state, GRAPH)}
    assert steps[SECTORS] == "it has never been made; without staging.jobs if that fails again"
    assert steps[OUTPUT] == "it has never been made"
    steps = {step.key: step.why for step in plan(made.state, [GRAPH[SECTORS]])}
    assert steps[SECTORS] == "it has never been made; without staging.jobs"


def test_the_picture_has_a_dotted_arrow_where_a_table_is_optional() -> None:
    drawn = picture(GRAPH)
    assert "staging_jobs -.-> marts_dim_sectors" in drawn
    assert "staging_gdp --> marts_dim_sectors" in drawn


def test_what_is_required_is_not_what_only_an_optional_table_needs() -> None:
    assert GRAPH.required(GROWTH) == {OUTPUT, SECTORS, *GDP}
    assert GRAPH.ancestors(GROWTH) == {OUTPUT, SECTORS, *GDP, *JOBS}


def test_only_a_table_that_is_read_can_be_optional() -> None:
    with pytest.raises(
        DeclarationError, match=r"marts.dim_x: optional names staging.job, .* did you mean staging.jobs\?"
    ):
        asset("marts.dim_x", "staging.jobs", optional=("staging.job",))


def test_a_table_whose_values_are_referenced_cannot_be_optional() -> None:
    column = Column("sector_id", "string", "", nullable=False, references="dim_sectors.sector_id")
    with pytest.raises(DeclarationError, match=r"expected a table that is always there, found that marts\.dim_sectors"):
        asset("marts.fact_x", SECTORS, optional=(SECTORS,), columns=(column,))
