"""The first run of all on a real scheduler: on an empty lake each root is triggered once, and every table and the public pages follow.

One chain of it is in tests/integration/on_airflow, in `make test`.
"""

from __future__ import annotations

import pytest

from small.field import PAGES, Field, Wave


@pytest.fixture(scope="module")
def first_run(shared_field: Field) -> Wave:
    """The landing DAGs and every other root triggered on an empty lake."""
    shared_field.begin()
    shared_field.trigger(*shared_field.roots)
    return Wave.of(shared_field, shared_field.settle())


def test_one_trigger_of_each_root_makes_every_mart_by_asset_events_alone(field: Field, first_run: Wave) -> None:
    assert first_run.stale == []
    assert {task.state for task in first_run.tasks} <= {"success", "skipped"}
    assert {key: len(events) for key, events in first_run.events.items()} == {
        asset.key: 1 for asset in field.project.graph
    }


def test_the_pages_show_every_table_at_its_end(field: Field, first_run: Wave) -> None:
    assert field.site().state == "fresh"
    assert {task.state for task in field.tasks(PAGES)} <= {"success", "skipped"}


def test_each_table_was_triggered_by_its_upstreams_and_one_correlation_id_goes_to_it(
    field: Field, first_run: Wave
) -> None:
    ids = {key: entry.correlation_id for key, entry in first_run.entries.items()}
    for asset in field.project.graph:
        (event,) = first_run.events[asset.key]
        assert event["extra"] == first_run.entries[asset.key].summary()
        run = field.client.get(f"/dags/{asset.key}/dagRuns/{event['source_run_id']}")
        assert run["run_type"] == ("asset_triggered" if asset.upstream else "manual")
        expected = {ids[key] for key in asset.upstream} or {first_run.entries[asset.key].run_id}
        assert ids[asset.key] in expected, asset.key
