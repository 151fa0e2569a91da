"""Backfills: some periods of a source are read again, and all others stay unchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan, plan_backfill
from catalunya.assets.making.request import Outcome, ProgressEvent, Request
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from catalunya.io.errors import BackfillBlocked, DeclarationError, UsageError
from catalunya.io.periods import Window, window
from small import shops, years

BEFORE = {"2013-H1": 10, "2013-H2": 11, "2014-H1": 20, "2014-H2": 21, "2015-H1": 30}
AFTER = {"2013-H1": 910, "2013-H2": 911, "2014-H1": 920, "2014-H2": 921, "2015-H1": 930}
IN_2014 = window("2014", "2014")
assert IN_2014


class Years:
    """A project over the source of `small/years.py`, and what tests do with it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.source, self.declared = years.declare(folder)
        self.source.write(BEFORE)

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    def land(self, of: Window | None = None) -> Outcome:
        return materialize(self.project, "landing.births", Request(window=of))

    def stage(self) -> Outcome:
        return materialize(self.project, "staging.births")

    def table(self) -> dict[str, int]:
        project = self.project
        entry = project.state().latest("staging.births")
        assert entry
        frame = scan_table(project.lake, project.graph["staging.births"], entry).sort("half_year_id").collect()
        return dict(frame.select("half_year_id", "births").iter_rows())

    def change_code(self) -> None:
        landing, staged = self.declared
        assert isinstance(staged, StagingDeclaration)

        class Reworded(staged.contract, max_change=1.0):  # type: ignore[misc,name-defined]
            """Births by half-year, as a contract with another code version."""

        self.declared = [landing, replace(staged, contract=Reworded)]

    def partitions(self) -> dict[str, str]:
        entry = self.project.state().latest("staging.births")
        assert entry
        return {stored.path.split("=")[1][:4]: stored.sha256 for stored in entry.objects}


@pytest.fixture
def births(settings: Settings, tmp_path: Path) -> Years:
    return Years(settings, tmp_path / "source")


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    births = Years(settings_once, Path(settings_once.lake).parent / "source")
    births.land()
    births.stage()
    assert births.table() == BEFORE


@pytest.fixture
def made(_made: None, copied: Settings, tmp_path: Path) -> Years:
    return Years(copied, tmp_path / "source")


def test_a_backfill_updates_its_periods_and_leaves_all_others_unchanged(made: Years) -> None:
    before = made.partitions()
    made.source.write(AFTER)
    assert made.land(IN_2014).status == "materialized"
    assert made.stage().status == "materialized"
    assert made.table() == BEFORE | {"2014-H1": 920, "2014-H2": 921}
    after = made.partitions()
    assert {year for year in before if before[year] != after[year]} == {"2014"}
    assert made.source.asked() == ["whole", "from 2014-01-01 to 2014-12-31"]


def test_one_half_year_can_be_backfilled_without_the_other(made: Years) -> None:
    made.source.write(AFTER)
    made.land(window("2014-H2", "2014-H2"))
    made.stage()
    assert made.table() == BEFORE | {"2014-H2": 921}


def test_a_period_that_the_source_withdrew_is_removed(made: Years) -> None:
    made.source.write({when: count for when, count in AFTER.items() if when != "2014-H2"})
    made.land(IN_2014)
    made.stage()
    assert made.table() == {"2013-H1": 10, "2013-H2": 11, "2014-H1": 920, "2015-H1": 30}


def test_the_next_regular_run_still_sees_that_the_source_changed(made: Years) -> None:
    made.source.write(AFTER)
    made.land(IN_2014)
    made.stage()
    assert made.land().status == "materialized"
    made.stage()
    assert made.table() == AFTER


def test_after_a_backfill_of_an_unchanged_source_a_regular_run_has_nothing_to_do(made: Years) -> None:
    made.land(IN_2014)
    made.stage()
    assert made.land().status == "skipped"
    assert made.table() == BEFORE


def test_the_first_run_may_be_a_backfill_and_the_next_brings_the_rest(births: Years) -> None:
    births.land(IN_2014)
    births.stage()
    assert births.table() == {"2014-H1": 20, "2014-H2": 21}
    births.land()
    births.stage()
    assert births.table() == BEFORE


def test_a_backfill_is_refused_while_a_batch_is_unused(made: Years) -> None:
    made.source.write(AFTER)
    made.land()
    with pytest.raises(
        BackfillBlocked, match=r"staging\.births must be made first \(DATA.*catalunya materialize \+staging\.births"
    ):
        made.land(IN_2014)
    made.stage()
    assert made.table() == AFTER


def test_a_second_backfill_is_refused_until_the_first_is_used(made: Years) -> None:
    made.source.write(AFTER)
    made.land(IN_2014)
    with pytest.raises(BackfillBlocked):
        made.land(window("2015", "2015"))
    made.stage()
    made.land(window("2015", "2015"))
    made.stage()
    assert made.table() == BEFORE | {"2014-H1": 920, "2014-H2": 921, "2015-H1": 930}


def test_a_wider_backfill_may_replace_an_unused_narrower_one(made: Years) -> None:
    made.source.write(AFTER)
    made.land(IN_2014)
    made.land(window("2013", "2014"))
    made.stage()
    assert made.table() == AFTER | {"2015-H1": 30}


def test_a_backfill_is_not_mixed_with_rows_of_other_code(made: Years) -> None:
    made.source.write(AFTER)
    made.land(IN_2014)  # then the code changes before the table is made
    made.change_code()
    state = made.project.state()
    assert (stale := state.stale("landing.births"))
    assert (stale.reason, stale.why) == (
        Reason.CONSUMED,
        "its batch only holds periods from 2014-01-01 to 2014-12-31, and staging.births needs it again",
    )
    assert made.stage().status == "deferred"
    made.land()
    made.stage()
    assert made.table() == AFTER


def test_a_backfill_is_refused_while_the_tables_code_is_stale(made: Years) -> None:
    made.change_code()
    with pytest.raises(BackfillBlocked, match=r"staging\.births must be made first \(CODE"):
        made.land(IN_2014)


def test_a_table_whose_code_changed_after_a_backfill_is_rebuilt_from_the_whole_source(made: Years) -> None:
    made.source.write(AFTER)
    made.land(IN_2014)
    made.stage()
    made.change_code()
    assert made.land().status == "materialized"
    made.stage()
    assert made.table() == AFTER


def test_the_pages_of_a_killed_backfill_are_not_used_by_one_of_other_periods(made: Years) -> None:
    made.source.write(AFTER)

    def kill(progress: ProgressEvent) -> None:
        if progress.step == "produced":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(made.project, "landing.births", Request(window=IN_2014), kill)
    assert made.land(window("2015", "2015")).status == "materialized"
    made.stage()
    assert made.table() == BEFORE | {"2015-H1": 930}
    assert made.source.asked() == ["whole", "from 2014-01-01 to 2014-12-31", "from 2015-01-01 to 2015-12-31"]


def test_a_failed_backfill_leaves_the_table_unchanged(made: Years) -> None:
    made.source.write({"2014-H1": -1})
    made.land(IN_2014)
    with pytest.raises(Exception, match="births"):
        made.stage()
    assert made.table() == BEFORE


def test_the_plan_of_a_backfill_starts_at_the_landing_asset(made: Years) -> None:
    project = made.project
    assert IN_2014
    steps = plan_backfill(project.state(), project.graph.select("births"), IN_2014)
    assert [(step.key, step.reason) for step in steps] == [
        ("landing.births", Reason.BACKFILL),
        ("staging.births", Reason.UPSTREAM),
    ]


def test_a_source_without_periods_cannot_be_backfilled(settings: Settings, tmp_path: Path) -> None:
    source, declared = shops.declare(tmp_path / "shops")
    source.write(shops.some(3))
    project = Project(settings, declared)
    assert IN_2014
    with pytest.raises(UsageError, match=r"materialize landing\.shops --force"):
        materialize(project, "landing.shops", Request(window=IN_2014))
    with pytest.raises(UsageError, match=r"`catalunya materialize staging\.shops --force` rebuilds it"):
        plan_backfill(project.state(), [project.graph["staging.shops"]], IN_2014)


def test_a_table_of_a_source_with_periods_must_declare_its_period_column(tmp_path: Path) -> None:
    _, (_, staged) = years.declare(tmp_path)
    assert isinstance(staged, StagingDeclaration)

    class Timeless(Contract):
        """No column is the period."""

        births: int = column("Births")

    with pytest.raises(DeclarationError, match="period=True"):
        _ = replace(staged, contract=Timeless).asset


def test_forcing_a_table_whose_batch_was_deleted_plans_to_land_it_again(made: Years) -> None:
    project = made.project
    steps = plan(project.state(), [project.graph["staging.births"]], force=True)
    assert [(step.key, step.reason) for step in steps] == [
        ("landing.births", Reason.FORCED),
        ("staging.births", Reason.FORCED),
    ]
