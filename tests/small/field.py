"""Airflow as tests use it: trigger DAGs, wait until nothing is running, and see what has happened since."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from catalunya.assets.record.project import Project
from catalunya.ops.local_airflow.client import Client, TaskInstance
from catalunya.ops.mock.server import MockServer
from small.patience import wait_until

SETTLE_S = 180


@dataclass
class Field:
    """A running Airflow with its mock APIs and its lake."""

    client: Client
    project: Project
    mock: MockServer
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def roots(self) -> list[str]:
        """The assets that no event triggers."""
        return [asset.key for asset in self.project.graph if not asset.upstream]

    def begin(self) -> None:
        """Start afresh: `settle`, `tasks` and `events` only see what comes after."""
        self.began = datetime.now(UTC)

    def trigger(self, *keys: str, **params: Any) -> None:
        for key in keys:
            self.client.trigger(key, **params)

    def tasks(self, key: str | None = None) -> list[TaskInstance]:
        """The tasks updated since the beginning, of one DAG or of all."""
        return [task for task in self.client.task_instances(self.began) if key in (None, task.dag_id)]

    def events(self, key: str | None = None) -> list[dict[str, Any]]:
        """The asset events since the beginning."""
        return [
            event for event in self.client.asset_events(key) if datetime.fromisoformat(event["timestamp"]) >= self.began
        ]

    def settle(self) -> list[TaskInstance]:
        """Wait until no task is queued or running and no event is pending; returns the tasks since the beginning."""
        consumers = [asset.key for asset in self.project.graph if asset.upstream]
        wait_until(
            lambda: self.client.is_at_rest(self.began, consumers),
            SETTLE_S,
            lambda: [(task.dag_id, task.state) for task in self.tasks()],
            poll_s=0.2,
        )
        return self.tasks()

    def make_fresh(self) -> None:
        """Bring every asset up to date, whatever an earlier test left behind; then begin."""
        if self.stale():
            self.trigger("ops.reconcile", *self.roots)
            self.settle()
        if stale := self.stale():  # failed on these inputs: only made again when forced
            self.trigger(*stale, force=True)
            self.settle()
        assert self.stale() == []
        self.begin()

    def stale(self) -> list[str]:
        state = self.project.state()
        return [asset.key for asset in self.project.graph if state.stale(asset.key)]

    def objects(self) -> dict[str, tuple[int, datetime]]:
        """The size and time of writing of every object of the published tables."""
        found = [*self.project.lake.objects("staging"), *self.project.lake.objects("marts")]
        return {each.path: (each.size, each.modified) for each in found}
