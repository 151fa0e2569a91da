"""Airflow as tests use it: triggering, waiting until a wave has settled, and what has happened since."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from catalunya.assets.record.project import Project
from catalunya.ops.local_airflow.client import Client, TaskInstance
from catalunya.ops.mock.server import MockServer

WAIT_S = 90


@dataclass
class Field:
    """Airflow, running, and what it runs on: the mock APIs and a lake."""

    client: Client
    project: Project
    mock: MockServer
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def landing(self) -> list[str]:
        return [asset.key for asset in self.project.graph if asset.layer == "landing"]

    @property
    def roots(self) -> list[str]:
        """What no event can wake."""
        return [asset.key for asset in self.project.graph if not asset.upstream]

    def begin(self) -> None:
        """Forget what was before: `settle`, `tasks` and `events` speak of what comes after."""
        self.began = datetime.now(UTC)

    def trigger(self, *keys: str, **params: Any) -> None:
        for key in keys:
            self.client.trigger(key, **params)

    def tasks(self, key: str | None = None) -> list[TaskInstance]:
        """The tasks that something happened to since the beginning, of one DAG or of all."""
        return [task for task in self.client.task_instances(self.began) if key in (None, task.dag_id)]

    def events(self, key: str | None = None) -> list[dict[str, Any]]:
        """The asset events since the beginning."""
        return [
            event for event in self.client.asset_events(key) if datetime.fromisoformat(event["timestamp"]) >= self.began
        ]

    def settle(self) -> list[TaskInstance]:
        """Wait until nothing is queued or running and no event is on its way; the tasks since the beginning."""
        until = time.monotonic() + WAIT_S
        consumers = [asset.key for asset in self.project.graph if asset.upstream]
        while not self.client.is_at_rest(self.began, consumers):
            assert time.monotonic() < until, f"after {WAIT_S} s: {[(t.dag_id, t.state) for t in self.tasks()]}"
            time.sleep(0.2)
        return self.tasks()

    def make_fresh(self) -> None:
        """See to it that every asset is up to date; then begin."""
        if self.stale():
            self.trigger("ops.reconcile", *self.roots)
            self.settle()
        assert self.stale() == []
        self.begin()

    def stale(self) -> list[str]:
        state = self.project.state()
        return [asset.key for asset in self.project.graph if state.stale(asset.key)]

    def objects(self) -> dict[str, tuple[int, datetime]]:
        """Every object of the published tables: its size, and when it was written."""
        found = [*self.project.lake.objects("staging"), *self.project.lake.objects("marts")]
        return {each.path: (each.size, each.modified) for each in found}
