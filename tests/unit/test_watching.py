"""One look at a pipeline: what it sees in the ledger and around it, with cause, remedy and the tables affected."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.graph.spec import Freshness, LandingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.failing import PATIENCE, acknowledge
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import SourceCheck, keep
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalunyaError, ConfigurationError, ContractError, LakeUnavailable, SourceUnavailable
from catalunya.io.project_folder import FILE, VARIABLE
from catalunya.ops.status import statuses
from catalunya.ops.watching.findings import SILENT, Finding, Severity, read_board
from catalunya.ops.watching.freshness import HABIT, SLACK, STALE_HOURS
from catalunya.ops.watching.look import Look, look, watch
from small.shops import declare_failing, some

LANDING, SHOPS, CITIES = "landing.shops", "staging.shops", "staging.cities"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime.now(UTC)


class Shop:
    """The shops, made once; the staging function raises what a test sets."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.raises: Exception | None = None
        self.source, self.declared = declare_failing(folder, lambda: self.raises)

    def open(self) -> Project:
        return Project(self.settings, self.declared)

    def look(self, after: timedelta = timedelta()) -> Look:
        return watch(self.open(), datetime.now(UTC) + after)

    def seen(self, after: timedelta = timedelta()) -> dict[str, Finding]:
        """What would be open after a look at that time, which is not kept."""
        return {found.identity: found for found in look(self.open(), datetime.now(UTC) + after).board.open}

    def make(self, key: str, error: Exception | None = None) -> None:
        self.raises = error
        try:
            materialize(self.open(), key)
        except CatalunyaError as raised:
            assert raised is error  # noqa: PT017
        self.raises = None

    def change(self, rows: int) -> None:
        self.source.write(some(rows))
        self.make(LANDING)

    def record(self, key: str, at: datetime, **values: Any) -> None:
        """One more entry like the last, at another time."""
        ledger = Ledger(self.open().lake)
        last = ledger.latest(key)
        assert last
        ledger.append(replace(last, started_at=at, seconds=0.0, **values), after=ledger.last_attempt(key).sequence)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def _made(settings_once: Settings) -> None:
    shop = Shop(settings_once, Path(settings_once.lake).parent / "source")
    shop.source.write(some(4))
    for key in (LANDING, SHOPS, CITIES):
        shop.make(key)


@pytest.fixture
def shop(_made: None, copied: Settings, tmp_path: Path) -> Shop:
    return Shop(copied, tmp_path / "source")


def test_nothing_is_wrong_with_a_pipeline_that_is_up_to_date(shop: Shop) -> None:
    look = shop.look()
    assert look.board.open == ()
    assert look.blind == "CATALUNYA_AIRFLOW_URL is not set"


def test_a_failure_says_why_what_it_affects_and_what_to_do_and_closes_when_the_table_is_made(shop: Shop) -> None:
    shop.change(5)
    shop.make(SHOPS, ContractError("the column city holds a number"))
    (found,) = shop.look().changes.opened
    assert (found.identity, found.severity, found.is_urgent) == ("table_failed:staging.shops", Severity.ERROR, True)
    assert (found.what, found.cause) == ("staging.shops could not be made", "the column city holds a number")
    assert found.affected == (CITIES,)
    assert f"catalunya history {SHOPS}" in found.remedy
    shop.change(6)
    shop.make(SHOPS)
    shop.make(CITIES)
    assert [each.identity for each in shop.look().changes.closed] == ["table_failed:staging.shops"]


def test_a_failure_that_passes_is_a_warning_until_it_has_lasted(shop: Shop) -> None:
    shop.change(5)
    for number in range(1, PATIENCE + 1):
        shop.make(SHOPS, SourceUnavailable("it is down"))
        (found,) = shop.seen().values()
        assert found.measure == number
        assert found.severity is (Severity.ERROR if number == PATIENCE else Severity.WARNING)
    assert "it is tried again at" not in found.remedy


def test_a_failure_that_someone_acknowledged_is_shown_and_not_urgent(shop: Shop) -> None:
    shop.change(5)
    shop.make(SHOPS, ContractError("a breach"))
    acknowledge(shop.open().state(), SHOPS, by="Marta", reason="the publisher is asked")
    (found,) = shop.seen().values()
    assert "Marta" in found.known
    assert not found.is_urgent


def test_a_full_disk_is_one_finding_for_all_the_tables_that_it_stops(shop: Shop) -> None:
    shop.change(5)
    shop.make(SHOPS, LakeUnavailable("no space left on the device: free some, or point CATALUNYA_SCRATCH at another"))
    found = shop.seen()
    assert [identity for identity in found if "disk_full" in identity] == ["disk_full:tables"]
    assert found["disk_full:tables"].affected == (CITIES, SHOPS)
    assert "table_failed:staging.shops" not in found


def test_a_ledger_that_cannot_be_read_is_found_with_its_repair(shop: Shop) -> None:
    shop.open().lake.put(Ledger.path(SHOPS, 1), b"{")
    (found,) = shop.seen().values()
    assert found.identity == "ledger_unreadable:staging.shops"
    assert "catalunya verify --repair" in found.remedy


def test_a_table_that_nothing_makes_is_stale_after_the_hours_that_are_allowed(shop: Shop) -> None:
    shop.change(5)
    assert shop.seen((STALE_HOURS - 0.1) * HOUR) == {}
    found = shop.seen((STALE_HOURS + 0.1) * HOUR)
    assert set(found) == {"table_stale:staging.shops"}, "what is below waits for it, and is its `affected`"
    assert "landing.shops changed" in found["table_stale:staging.shops"].cause
    assert shop.seen(25 * HOUR)["table_stale:staging.shops"].severity is Severity.ERROR


def test_below_a_table_that_failed_nothing_else_is_stale(shop: Shop) -> None:
    shop.change(5)
    shop.make(SHOPS, ContractError("a breach"))
    assert set(shop.seen(30 * HOUR)) == {"table_failed:staging.shops"}


def test_a_source_is_overdue_by_what_is_declared(shop: Shop) -> None:
    landing = shop.declared[0]
    assert isinstance(landing, LandingDeclaration)
    updated = shop.open().ledger.latest(LANDING).source_updated_at  # type: ignore[union-attr]
    assert updated
    hours = (datetime.now(UTC) - updated) / HOUR
    shop.declared[0] = replace(landing, freshness=Freshness(hours=hours + 1))
    assert shop.seen() == {}
    found = shop.seen(2 * HOUR)["source_overdue:landing.shops"]
    assert "1 h later than expected" in found.what
    assert "declared in" in found.cause
    assert set(found.affected) == {SHOPS, CITIES}


def test_without_a_declaration_a_source_is_overdue_by_its_own_habit(shop: Shop) -> None:
    now = datetime.now(UTC)
    first = shop.open().ledger.latest(LANDING).source_updated_at  # type: ignore[union-attr]
    assert first
    gap = (now - first) / HABIT
    for number in range(1, HABIT + 1):
        assert "source_overdue:landing.shops" not in shop.seen(), "too few updates to know its habit"
        shop.record(LANDING, now, source_updated_at=first + number * gap)
    assert "source_overdue:landing.shops" not in shop.seen(SLACK * gap - HOUR)
    found = shop.seen(SLACK * gap + HOUR)["source_overdue:landing.shops"]
    assert f"it was updated {HABIT + 1} times, at most {gap.days + (gap % DAY > DAY / 2)} days apart" in found.cause


def test_what_the_weekly_check_found_is_seen_until_the_table_is_landed_again(shop: Shop) -> None:
    project = shop.open()
    check = SourceCheck(
        asset=LANDING,
        source=project.graph[LANDING].source or "",
        at=datetime.now(UTC),
        answered=True,
        problems=("the field ciutat is missing",),
    )
    keep(project.lake, check)
    (found,) = shop.look().board.open
    assert (found.identity, found.cause) == ("source_mismatch:landing.shops", "the field ciutat is missing")
    assert "source_mismatch:landing.shops" in shop.seen(timedelta(minutes=10)), "not every look reads the checks"
    shop.change(5)
    assert "source_mismatch:landing.shops" not in shop.seen(2 * HOUR)


def test_a_change_of_its_fields_is_seen_until_it_lands_without_one(shop: Shop) -> None:
    shop.record(LANDING, datetime.now(UTC), drift="new: email", data_version=shop.open().ledger.latest(LANDING).data_version)  # type: ignore[union-attr]  # fmt: skip
    assert shop.seen()["drift:landing.shops"].cause == "new: email"


def test_half_of_the_rows_gone_is_unusual(shop: Shop) -> None:
    now = datetime.now(UTC)
    for number in range(10, 0, -1):
        shop.record(SHOPS, now - number * DAY, rows=1000)
    shop.record(SHOPS, now, rows=500)
    found = shop.seen()["rows_unusual:staging.shops"]
    assert "50 % fewer than usual" in found.what
    assert "restore-version staging.shops" in found.remedy


def test_a_run_recorded_in_the_future_says_that_a_clock_is_wrong(shop: Shop) -> None:
    shop.record(SHOPS, datetime.now(UTC) + 3 * HOUR)
    found = shop.seen()["clock_wrong:ledger"]
    assert "3 h in the future" in found.what
    assert found.affected == (SHOPS,)


def test_a_look_in_the_past_of_the_last_says_that_the_clock_was_set_back(shop: Shop) -> None:
    shop.look(2 * HOUR)
    assert {"clock_wrong:watch", "clock_wrong:lake"} <= shop.seen().keys()


def test_a_while_without_a_look_is_said_once_and_closed_at_the_next(shop: Shop) -> None:
    shop.look()
    found = shop.look(SILENT + HOUR)
    assert [each.identity for each in found.changes.opened] == ["watch_silent:watch"]
    assert "scheduler" in found.changes.opened[0].cause
    assert [each.identity for each in shop.look(SILENT + HOUR + timedelta(minutes=10)).changes.closed] == [
        "watch_silent:watch"
    ]


def test_a_backup_older_than_the_objective_is_found(shop: Shop, tmp_path: Path) -> None:
    shop.settings = shop.settings.model_copy(update={"rpo_hours": 4, "backup": str(tmp_path / "backups")})
    assert shop.seen()["backup_old:backups"].what == "there is no complete backup"


def test_a_quiet_look_writes_the_board_every_second_time_and_the_index_never(shop: Shop) -> None:
    shop.look()
    first = read_board(shop.open().lake)
    shop.look(timedelta(minutes=10))
    assert read_board(shop.open().lake) == first
    shop.look(timedelta(minutes=20))
    assert read_board(shop.open().lake).at != first.at


def test_two_looks_at_the_same_moment_leave_one_readable_board(shop: Shop) -> None:
    shop.change(5)
    shop.make(SHOPS, ContractError("a breach"))
    first, second = shop.look(), shop.look()
    assert [each.identity for each in second.board.open] == [each.identity for each in first.board.open]
    assert second.changes.opened == ()


def test_a_policy_applies_by_selection_and_the_last_line_counts(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_policies(tmp_path, monkeypatch, '[watch.stale_hours]\n"layer:staging" = 2\n"staging.cities" = 48\n')
    shop.change(5)
    found = shop.seen(3 * HOUR)["table_stale:staging.shops"]
    assert "2 h are allowed ('layer:staging' in assets/project.toml)" in found.what
    shop.make(SHOPS)
    assert shop.seen(40 * HOUR) == {}
    assert set(shop.seen(49 * HOUR)) == {"table_stale:staging.cities"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[watch.stale_hours]\n"staging.shopz" = 2\n', "did you mean staging.shops"),
        ('[watch.stale_hours]\n"layer:marts" = 0\n', "expected a selection and hours"),
        ('[watch.stale_hours]\n"layer:marts" = "2 days"\n', "expected a selection and hours"),
        ("[watch]\nstale_hours = 2\n", "expected a selection and hours"),
        ("[watch.fresh_hours]\n", "expected the tables [watch.source_hours] and [watch.stale_hours]"),
    ],
)
def test_a_policy_that_says_nothing_is_refused_with_its_line(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    declare_policies(tmp_path, monkeypatch, text)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        shop.seen()


def declare_policies(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Make the process work on a project with these policies."""
    project = folder / "project"
    (project / "assets").mkdir(parents=True)
    declared = '\nname = "shops"\ntitle = "Shops"\nqualifier = "shp"\n[portals]\nsocrata = "https://shops.example"\n'
    (project / FILE).write_text(declared + text, encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(project))


def test_status_says_what_the_watch_found_beside_the_state_of_the_table(shop: Shop) -> None:
    now = datetime.now(UTC)
    for number in range(10, 0, -1):
        shop.record(SHOPS, now - number * DAY, rows=1000)
    shop.record(SHOPS, now, rows=500)
    shop.look()
    project = shop.open()
    found = {each.asset: each for each in statuses(project.state(), project.graph, read_board(project.lake))}
    assert found[SHOPS].findings == ("staging.shops: 500 rows, 50 % fewer than usual",)
    assert found[LANDING].findings == ()
