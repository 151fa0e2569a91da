"""OpenLineage events of tasks on a real scheduler: Airflow's run of the task is their parent, with the provider's ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from small.field import Field
from small.lineage import Receiver, parent_of, receiving, validate


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A receiver that the environment names before Airflow is started."""
    with pytest.MonkeyPatch.context() as environment, receiving() as found:
        environment.setenv("OPENLINEAGE_URL", found.url)
        environment.setenv("OPENLINEAGE_NAMESPACE", "open-data")
        yield found


def test_the_parent_of_a_table_is_the_run_of_its_task_also_if_an_event_triggered_it(
    receiver: Receiver, shared_field: Field
) -> None:
    field = shared_field
    field.begin()
    field.trigger("landing.municipalities")
    tasks = {task.dag_id: task for task in field.settle() if task.state == "success"}

    sent = receiver.events
    for event in sent:
        validate(event)
    for key in ("landing.municipalities", "staging.municipalities"):  # the second has no logical date
        (made,) = (event for event in sent if (event["eventType"], event["job"]["name"]) == ("COMPLETE", key))
        run = field.client.get(f"/dags/{key}/dagRuns/{tasks[key].run_id}")
        parent = made["run"]["facets"]["parent"]

        assert {name: parent[name] for name in ("job", "run", "root")} == parent_of(tasks[key], run, "open-data")
