"""Airflow as tests use it: trigger DAGs, wait until nothing is running, and see what has happened since."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.local_airflow.client import Client, TaskInstance
from catalunya.ops.local_airflow.server import airflow
from catalunya.ops.mock import serve
from catalunya.ops.mock.server import MockServer
from catalunya.portal.making import SiteStatus, status
from catalunya.portal.site import read_site
from small.patience import wait_until

SETTLE_S = 300
PAGES, SITE = "ops.portal", "portal"
"""The DAG of the public pages, and what it makes."""
_BUSY = """select exists (select 1 from asset_dag_run_queue) or exists (
    select 1 from task_instance where coalesce(state, '') not in ('success', 'skipped', 'failed', 'upstream_failed', 'removed'))"""


@dataclass
class Field:
    """A running Airflow with its mock APIs and its lake."""

    client: Client
    project: Project
    mock: MockServer
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    pages: bool = True
    """Whether the DAG of the public pages follows the tables. A build takes as long as a wave: who tests tables pauses it."""
    database: Path | None = None
    """Airflow's, if it is a file here: `settle` looks at it before it asks the API, whose answers take a tenth of all CPU seconds."""

    @property
    def roots(self) -> list[str]:
        """The assets that no event triggers."""
        return [asset.key for asset in self.project.graph if not asset.upstream]

    def rest(self) -> None:
        """No faults, nothing running, whatever was before; then begin."""
        self.mock.faults()
        self.settle()
        self.begin()

    def begin(self) -> None:
        """Start afresh: `settle`, `tasks` and `events` only see what comes after."""
        self.began = datetime.now(UTC)

    def trigger(self, *keys: str, **params: Any) -> None:
        for key in keys:
            self.client.trigger(key, **params)

    def tasks(self, key: str | None = None) -> list[TaskInstance]:
        """The tasks updated since the beginning, of one DAG or of all but that of the public pages, which follow the tables."""
        found = self.client.task_instances(self.began)
        return [task for task in found if (task.dag_id == key if key else task.dag_id != PAGES)]

    def events(self, key: str | None = None) -> list[dict[str, Any]]:
        """The asset events since the beginning."""
        return [event for event in self.all_events(key) if datetime.fromisoformat(event["timestamp"]) >= self.began]

    def all_events(self, key: str | None = None) -> list[dict[str, Any]]:
        """All asset events, oldest first, each with the runs it triggered.

        3.3.2 answers 500 while one of these runs is queued (its model requires a start date); the client retries.
        """
        found = self.client.get("/assets/events", limit=1000, order_by="timestamp")["asset_events"]
        return [event for event in found if (event["name"] == key if key else event["name"] != SITE)]

    def runs(self, key: str) -> list[dict[str, Any]]:
        """The runs of a DAG, oldest first."""
        found: list[dict[str, Any]] = self.client.get(f"/dags/{key}/dagRuns", limit=1000, order_by="id")["dag_runs"]
        return found

    def settle(self) -> list[TaskInstance]:
        """Wait until no task is queued or running and no event is pending; returns the tasks since the beginning."""
        # Of each DAG that waits for events, unless the database says of all at once that none is pending.
        consumers = [] if self.database else [*(asset.key for asset in self.project.graph if asset.upstream), PAGES]
        wait_until(
            lambda: not self._is_busy() and self.client.is_at_rest(self.began, consumers),
            SETTLE_S,
            lambda: [(task.dag_id, task.state) for task in self.tasks()],
            poll_s=0.1 if self.database else 0.4,
        )
        return self.tasks()

    def _is_busy(self) -> bool:
        """Whether the database has a task that is not over, or an event that has led to no run yet; False if it cannot be looked at."""
        if self.database is None:
            return False
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return bool(database.execute(_BUSY).fetchone()[0])

    def make_fresh(self) -> None:
        """Bring every asset up to date, whatever an earlier test left behind; then begin."""
        if self.stale():
            self.trigger("ops.reconcile", *self.roots)
            self.settle()
        if stale := self.stale():  # failed on these inputs: only made again when forced
            self.trigger(*stale, force=True)
            self.settle()
        assert self.stale() == []
        if self.pages and self.site().state != "fresh":
            self.trigger(PAGES)
            self.settle()
        self.begin()

    def pause_pages(self, is_paused: bool) -> None:
        """Pause the DAG of the public pages, or let it follow the tables."""
        self.client.patch(f"/dags/{PAGES}", {"is_paused": is_paused})
        self.pages = not is_paused

    def site(self) -> SiteStatus:
        """How the public pages stand."""
        return status(read_site(self.project))

    def stale(self) -> list[str]:
        state = self.project.state()
        return [asset.key for asset in self.project.graph if state.stale(asset.key)]

    def objects(self) -> dict[str, tuple[int, datetime]]:
        """The size and time of writing of every object of the published tables."""
        found = [*self.project.lake.objects("staging"), *self.project.lake.objects("marts")]
        return {each.path: (each.size, each.modified) for each in found}


@dataclass(frozen=True)
class Wave:
    """A wave of tables that one trigger started: its tasks, asset events and ledger entries by table, and what was stale at its end."""

    tasks: list[TaskInstance]
    events: dict[str, list[dict[str, Any]]]
    entries: dict[str, Entry]
    stale: list[str]

    @classmethod
    def of(cls, field: Field, tasks: list[TaskInstance]) -> Wave:
        """What is there once the field is at rest."""
        events: dict[str, list[dict[str, Any]]] = {}
        for event in field.events():
            events.setdefault(event["name"], []).append(event)
        latest = {key: field.project.ledger.latest(key) for key in events}
        return cls(tasks, events, {key: entry for key, entry in latest.items() if entry}, field.stale())


@contextmanager
def on_airflow(folder: Path, cache: Path) -> Iterator[Field]:
    """An Airflow with its own mock APIs, in a folder: its lake is `lake` there, which may have tables already."""
    with serve(rows=300) as mock:
        settings = load_settings(
            env="local",
            lake=str(folder / "lake"),
            backup=str(folder / "backup"),
            cache=cache,
            mock_url=mock.url,
            http_attempts=1,
            http_backoff_s=0.01,
            http_requests_per_second=1000,
        )
        # A look of the scheduler takes 15 ms of a core, and others work on it.
        with airflow(settings, home=folder / "home", retry_delay_s=1, idle_s=0.5) as server:
            yield Field(server.client, Project(settings), mock, database=server.home / "airflow.db")
