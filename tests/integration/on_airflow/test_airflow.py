"""The DAGs on a real scheduler: asset events, triggering, lineage, bursts, reconciliation, breaches and retries.

What happened is read from Airflow's REST API, what was made from the lake. One Airflow serves all tests. Each starts from what it needs
(`first_run`, or `make_fresh`), so that a failure of one does not fail the others. The first run on an empty lake and the recovery drill are in
tests/e2e.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.on_airflow.conftest import CHAIN

from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.ledger import Ledger
from catalunya.assets.record.project import Project
from catalunya.io.lake import Lake
from catalunya.ops.backup.store import Store
from small.field import Field, Wave

TABLES = "landing.* staging.* marts.*"
"""What `ops.reconcile` checks in these tests: all but the public pages."""


@pytest.fixture(scope="module")
def first_run(shared_field: Field) -> Wave:
    """The landing DAG of CHAIN triggered."""
    shared_field.begin()
    shared_field.trigger(CHAIN[0])
    return Wave.of(shared_field, shared_field.settle())


def test_one_trigger_of_a_source_makes_every_table_below_it_by_asset_events_alone(first_run: Wave) -> None:
    assert first_run.stale == []
    assert {task.state for task in first_run.tasks} <= {"success", "skipped"}
    assert {key: len(events) for key, events in first_run.events.items()} == dict.fromkeys(CHAIN, 1)


def test_the_event_of_an_asset_carries_the_summary_of_its_ledger_entry(first_run: Wave) -> None:
    for key, (event,) in first_run.events.items():
        entry = first_run.entries[key]

        assert event["extra"] == entry.summary()
        assert (event["source_dag_id"], event["source_run_id"]) == (key, entry.run_id)
        assert event["uri"] == f"catalunya://{key.replace('.', '/')}"


def test_a_downstream_asset_is_triggered_by_its_upstreams_and_by_nothing_else(field: Field, first_run: Wave) -> None:
    for key, (made_by,) in first_run.events.items():
        asset, made = field.project.graph[key], made_by["source_run_id"]
        run = field.client.get(f"/dags/{asset.key}/dagRuns/{made}")
        events = field.client.get(f"/dags/{asset.key}/dagRuns/{made}/upstreamAssetEvents")["asset_events"]

        assert run["run_type"] == ("asset_triggered" if asset.upstream else "manual")
        assert {event["source_dag_id"] for event in events} <= set(asset.upstream)
        assert bool(events) == bool(asset.upstream)


def test_one_correlation_id_goes_from_landing_to_marts(first_run: Wave) -> None:
    assert set(first_run.entries) == set(CHAIN)
    landed = first_run.entries[CHAIN[0]]
    assert {entry.correlation_id for entry in first_run.entries.values()} == {landed.run_id}


def test_airflow_has_exactly_the_lineage_of_the_graph(field: Field) -> None:
    known = {asset["name"]: asset for asset in field.client.get("/assets", limit=1000)["assets"]}

    assert set(known) == {"portal", *(asset.key for asset in field.project.graph)}
    assert [task["dag_id"] for task in known["portal"]["producing_tasks"]] == ["ops.portal"]
    assert (known["portal"]["uri"], known["portal"]["group"]) == ("catalunya://portal/site", "portal")
    for asset in field.project.graph:
        down = sorted(each.key for each in field.project.graph.downstream(asset.key))
        pages = ["ops.portal"] if asset.layer is not Layer.LANDING else []
        here = known[asset.key]
        assert [task["dag_id"] for task in here["producing_tasks"]] == [asset.key]
        assert sorted(task["dag_id"] for task in here["consuming_tasks"]) == sorted([*down, *pages])
        assert sorted(dag["dag_id"] for dag in here["scheduled_dags"]) == (down or pages)
        assert (here["uri"], here["group"]) == (asset.uri, asset.layer)


def test_what_the_launcher_has_preloaded_survives_a_fork(field: Field) -> None:
    (launcher,) = (each for each in psutil.Process().children() if "launcher.py" in " ".join(each.cmdline()))

    assert launcher.num_threads() == 1, "a forked process has none of the other threads"
    libraries = {Path(each.path).name for each in launcher.memory_maps()}
    assert any("duckdb" in name for name in libraries)
    assert not any("polars" in name for name in libraries)


def test_unchanged_sources_make_nothing_and_send_no_event(field: Field) -> None:
    field.make_fresh()
    before = field.objects()
    roots = ("landing.gdp", "landing.social_services", "marts.dim_time")  # one of each kind that no event triggers
    field.trigger(*roots)
    tasks = field.settle()

    assert {task.dag_id: task.state for task in tasks} == dict.fromkeys(roots, "skipped")
    assert field.events() == []
    assert field.objects() == before
    assert "up to date" in " ".join(field.client.log_lines(tasks[0]))


def test_bursts_of_thirty_landing_events_end_with_every_mart_fresh(field: Field) -> None:
    field.make_fresh()
    ids = {asset["name"]: asset["id"] for asset in field.client.get("/assets", limit=1000)["assets"]}
    sources = {"landing.service_usage": "yavr-pn8q", "landing.social_services": "ivft-vegh"}
    for _ in range(5):
        landed = []
        for key, dataset in [*sources.items()] * 3:
            field.mock.advance(dataset)
            landed.append((key, materialize(field.project, key).entry))
        for key, entry in landed:
            assert entry is not None
            field.client.post("/assets/events", {"asset_id": ids[key], "extra": entry.summary()})
    tasks = field.settle()

    events = Counter(event["name"] for event in field.events())
    assert sum(events[key] for key in sources) == 30
    assert field.stale() == []
    assert {task.state for task in tasks} <= {"success", "skipped"}
    assert events["marts.fact_service_usage_daily"] < 15


def test_events_posted_by_hand_with_any_json_do_no_harm(field: Field) -> None:
    field.make_fresh()
    ids = {asset["name"]: asset["id"] for asset in field.client.get("/assets", limit=1000)["assets"]}
    outside = {"gdp": 7, "service_usage": [1, {"a": None}], "social_services": {"a": []}}
    outside["municipality_areas"] = "x" * 1_000_000
    for name, odd in outside.items():
        key = f"staging.{name}"
        numbers = field.project.ledger.numbers(key)
        field.project.lake.delete([Ledger.path(key, each) for each in numbers])  # so that it has to be made
        event = {"asset_id": ids[f"landing.{name}"], "extra": {"correlation_id": odd, "rows": [odd]}}
        field.client.post("/assets/events", event)
    field.project = Project(field.project.settings)  # this one has read entries that are no longer there
    tasks = field.settle()

    for key in (f"staging.{name}" for name in outside):
        assert {task.state for task in tasks if task.dag_id == key} == {"success"}
        entry = field.project.state().latest(key)
        assert entry
        assert (entry.sequence, len(entry.correlation_id) < 200) == (1, True)
    assert field.stale() == []


def test_reconciliation_makes_what_no_event_has_announced(field: Field) -> None:
    field.make_fresh()
    field.mock.advance("yavr-pn8q")
    for key in ("landing.service_usage", "staging.service_usage"):
        materialize(field.project, key)
    assert field.stale() == ["marts.fact_service_usage_daily"]
    assert field.tasks() == []

    field.trigger("ops.reconcile", select=TABLES)
    field.settle()

    assert field.stale() == []
    (run,) = [run for run in field.runs("marts.fact_service_usage_daily") if "reconcile" in run["dag_run_id"]]
    assert (run["run_type"], run["note"]) == ("operator_triggered", "staging.service_usage changed")


def test_reconciliation_is_skipped_when_everything_is_fresh(field: Field) -> None:
    field.make_fresh()

    field.trigger("ops.reconcile", select=TABLES)

    states = {task.task_id: task.state for task in field.settle()}
    assert states == {"find_stale": "skipped", "trigger": "skipped"}


def test_a_table_that_needs_a_deleted_batch_lands_it_again(field: Field) -> None:
    field.make_fresh()
    before = field.project.ledger.latest("landing.social_services")
    field.trigger("staging.social_services", force=True)
    field.settle()

    landed = field.project.ledger.latest("landing.social_services")
    assert before is not None
    assert landed is not None
    assert (landed.sequence, landed.reason) == (before.sequence + 1, "FORCED")
    (event,) = field.events("staging.social_services")
    assert event["extra"]["reason"] == "FORCED"
    assert field.stale() == []


def test_a_backfill_is_a_run_with_parameters_and_changes_no_other_period(field: Field) -> None:
    field.make_fresh()
    before = field.project.ledger.latest("staging.employment")
    field.mock.advance("afic/14996/26697/com")
    field.trigger("landing.employment", period_from="2026", period_to="2026")
    field.settle()

    (event,) = field.events("landing.employment")
    assert event["extra"]["reason"] == "BACKFILL"
    after = field.project.ledger.latest("staging.employment")
    assert before is not None
    assert after is not None
    changed = {stored.path for stored in set(after.objects) - set(before.objects)}
    assert changed == {"staging/employment/year_id=2026/file.parquet"}
    assert field.stale() == []


def test_a_breach_of_the_landing_contract_stops_the_chain_and_leaves_the_old_tables(field: Field) -> None:
    field.make_fresh()
    before = field.objects()
    field.mock.advance("ivft-vegh")
    field.mock.faults("missing-column:ivft-vegh:column=registre")

    field.trigger("landing.social_services")
    (task,) = field.settle()

    assert (task.dag_id, task.state, task.try_number) == ("landing.social_services", "failed", 1)
    assert field.events() == []
    assert field.objects() == before
    assert any("registre" in line for line in field.client.log_lines(task))


def test_a_breach_in_staging_stops_the_chain_there_until_the_next_good_batch(field: Field) -> None:
    field.make_fresh()
    before = field.objects()
    field.mock.advance("yavr-pn8q")
    field.mock.faults("retyped-column:yavr-pn8q:column=any:to=calendar_date")

    field.trigger("landing.service_usage")
    tasks = field.settle()

    assert [(task.dag_id, task.state) for task in tasks] == [
        ("landing.service_usage", "success"),
        ("staging.service_usage", "failed"),
    ]
    assert field.objects() == before
    failed = field.project.ledger.last_attempt("staging.service_usage")
    assert failed is not None
    assert failed.status == "failed"
    # It failed on the same inputs: another attempt would fail the same way.
    field.begin()
    field.trigger("ops.reconcile", select=TABLES)
    assert {task.dag_id for task in field.settle()} == {"ops.reconcile"}

    field.mock.faults()
    field.mock.advance("yavr-pn8q")
    field.trigger("landing.service_usage")
    field.settle()
    assert field.stale() == []


def test_a_source_that_is_down_for_a_moment_is_retried(field: Field) -> None:
    field.make_fresh()
    field.mock.advance("yavr-pn8q")
    field.mock.faults("error-503:yavr-pn8q:times=1")

    field.trigger("landing.service_usage")
    field.settle()

    (landed,) = field.tasks("landing.service_usage")
    assert (landed.state, landed.try_number) == ("success", 2)
    assert field.stale() == []


def test_a_forced_asset_is_made_even_if_nothing_changed(field: Field) -> None:
    field.make_fresh()

    field.trigger("marts.dim_economic_sectors", force=True)
    field.settle()

    (event,) = field.events("marts.dim_economic_sectors")
    assert event["extra"]["reason"] == "FORCED"
    below = field.project.graph.downstream("marts.dim_economic_sectors")
    assert {task.state for each in below for task in field.tasks(each.key)} == {"skipped"}
    assert [each.key for each in below if field.events(each.key)] == []


@pytest.fixture
def with_pages(field: Field, portal: Path) -> Iterator[Field]:
    """The public pages, as they were built once, follow the tables."""
    shutil.copytree(portal, field.project.settings.portal_folder)
    field.pause_pages(False)
    yield field
    field.rest()
    field.pause_pages(True)


def test_a_wave_of_tables_ends_with_pages_that_show_them(with_pages: Field) -> None:
    field = with_pages
    before = field.site().built
    field.mock.advance("yavr-pn8q")
    field.trigger("landing.service_usage")
    field.settle()

    found = field.site()
    assert found.built
    assert found.built != before
    assert found.state == "fresh"
    assert {task.state for task in field.tasks("ops.portal")} <= {"success", "skipped"}
    (event,) = field.events("portal")
    assert event["extra"]["files"] > event["extra"]["written"] > 100
    assert "ca/index.html" in {each.path for each in Lake(field.project.settings.portal_folder).objects("ca")}

    field.begin()
    field.trigger("ops.portal")
    field.settle()
    (again,) = field.tasks("ops.portal")
    assert again.state == "skipped"
    assert "nothing changed since the last build" in " ".join(field.client.log_lines(again))

    field.begin()
    field.trigger("ops.reconcile")  # of all tables, and of the pages
    assert {task.task_id: task.state for task in field.settle()} == {"find_stale": "skipped", "trigger": "skipped"}


def test_a_backup_is_made_by_its_dag(field: Field) -> None:
    field.trigger("ops.backup")

    assert [(task.dag_id, task.state) for task in field.settle()] == [("ops.backup", "success")]
    assert Store.of(field.project.settings).find("local").is_complete
