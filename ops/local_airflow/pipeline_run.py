"""One pipeline run on Airflow: trigger the landing DAGs, follow every asset, and decide when the run is over.

Airflow knows what is queued and running, the ledger knows what was made and what is stale; each poll reads both. Here: that
decision. Not here: drawing it (`display.py`), starting Airflow (`server.py`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import AirflowError, LedgerError
from catalunya.ops.local_airflow.client import Client, TaskInstance

if TYPE_CHECKING:
    from catalunya.portal.making import SiteStatus

RunState = Literal["waiting", "queued", "running", "retrying", "deferred", "done", "up to date", "failed"]
RECONCILE = "ops.reconcile"
PORTAL = "ops.portal"
MAX_RECONCILES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRun:
    """One asset in this run, as of the last poll. `entry` is its ledger entry once it is up to date; `since` is when its task
    started."""

    asset: str
    state: RunState
    why: str = ""
    entry: Entry | None = None
    since: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the asset has reached its final state."""
        return self.state in ("done", "up to date", "failed")

    @property
    def is_good(self) -> bool:
        """Whether the asset is up to date."""
        return self.state in ("done", "up to date")

    @property
    def seconds(self) -> float | None:
        """How long the asset has been running, or how long making it took."""
        if self.state == "done" and self.entry:
            return self.entry.seconds
        return (datetime.now(UTC) - self.since).total_seconds() if self.since else None


class PipelineRun:
    """The landing DAGs triggered once, and everything that data-aware scheduling runs after them."""

    def __init__(self, project: Project, client: Client, started_at: datetime, report: Callable[[str], None]) -> None:
        self.project, self.client, self.started_at, self._report = project, client, started_at, report
        self._consumers = [*(asset.key for asset in project.graph if asset.upstream), PORTAL]
        self.assets: list[AssetRun] = []
        self.tasks: dict[str, list[TaskInstance]] = {}
        self.pages: SiteStatus | None = None
        self._reconciles = 0
        self._has_built = False

    def run(self, show: Callable[[list[AssetRun]], None], *, timeout_s: float, poll_s: float = 0.4) -> None:
        """Start, and poll until the run is over. Raises AirflowError after `timeout_s`."""
        self.start()
        until = time.monotonic() + timeout_s
        while not self.poll():
            show(self.assets)
            if time.monotonic() > until:
                running = ", ".join(f"{asset.asset} ({asset.state})" for asset in self.assets if not asset.is_settled)
                raise AirflowError(
                    f"timed out after {timeout_s:.0f} s; still running: {running}; see the task logs, or raise --timeout"
                )
            time.sleep(poll_s)
        show(self.assets)

    def start(self) -> None:
        """Trigger each landing DAG once, and each stale table that no asset event will trigger."""
        state = self.project.overview()
        tasks = self._read_tasks()
        for asset in self.project.graph:
            # Its cron may have triggered it just now; once is enough.
            if (asset.layer is Layer.LANDING and asset.key not in tasks) or (
                asset.layer is not Layer.LANDING and self._needs_trigger(state, asset)
            ):
                self.client.trigger(asset.key)

    def poll(self) -> bool:
        """Read Airflow and the ledger into `assets`. Returns whether the run is over.

        Stale assets that are neither being made nor waiting for another have lost their events (Airflow 3.3.2 can lose
        some): `ops.reconcile` is triggered for them, and reported.
        """
        self.tasks = self._read_tasks()
        is_over = all(task.is_over for tasks in self.tasks.values() for task in tasks)
        if is_at_rest := is_over and self.client.is_at_rest(self.started_at, self._consumers):
            self.tasks = self._read_tasks()  # a task may have begun and ended since the first look
        state = self.project.overview()
        assets: dict[str, AssetRun] = {}
        for asset in self.project.graph:
            assets[asset.key] = self._asset_run(state, asset, assets)
        self.assets = list(assets.values())
        if not is_at_rest:
            return False
        neglected = [stale.key for stale in state.neglected(self.project.graph)]
        if not neglected or self._reconciles == MAX_RECONCILES:
            return self._has_pages(state)
        self._reconciles += 1
        self._report(f"{', '.join(neglected)}: stale, but no asset event is pending; triggering {RECONCILE}")
        self.client.trigger(RECONCILE)
        return False

    def _has_pages(self, state: State) -> bool:
        """Whether the public pages show the tables; if not, their build is triggered, once. Read into `pages` when it is over."""
        from catalunya.portal.making import is_due, lacking, status
        from catalunya.portal.site import read_site

        if lacking():
            return True
        site = read_site(self.project, state=state)
        found = status(site)
        if not self._has_built and (why := is_due(site, found, again=True)):
            self._has_built = True
            self._report(f"the public pages: {why}; triggering {PORTAL}")
            self.client.trigger(PORTAL)
            return False
        self.pages = found
        return True

    def failed_task(self, key: str) -> TaskInstance | None:
        """The task in which the asset failed in this run."""
        return next((task for task in reversed(self.tasks.get(key, [])) if task.state == "failed"), None)

    def _needs_trigger(self, state: State, asset: Asset) -> bool:
        """Whether the asset is stale although nothing upstream is, or failed before: no event will trigger it then."""
        if not state.stale(asset.key):
            return False
        return bool(state.failure(asset.key)) or not any(map(state.stale, self.project.graph.ancestors(asset.key)))

    def _read_tasks(self) -> dict[str, list[TaskInstance]]:
        found: dict[str, list[TaskInstance]] = defaultdict(list)
        for task in self.client.task_instances(self.started_at):
            found[task.dag_id].append(task)
        return dict(found)

    def _asset_run(self, state: State, asset: Asset, upstream: dict[str, AssetRun]) -> AssetRun:
        tasks = self.tasks.get(asset.key, [])
        entry, stale = state.known(asset.key), state.stale(asset.key)
        is_made = bool(entry and entry.status == "materialized" and entry.started_at >= self.started_at and not stale)
        if is_made:  # another event may have queued one more run, which will be skipped
            return AssetRun(asset=asset.key, state="done", entry=entry)
        active = [task for task in tasks if not task.is_over]
        if active:
            return self._active(asset.key, active)
        if tasks and tasks[-1].state == "failed":
            return AssetRun(asset=asset.key, state="failed", why=self._error(asset.key) or "see the task log")
        if stale:
            waits = (state.waits_for(asset.key) or "").partition("; its last attempt")[0]
            return AssetRun(asset=asset.key, state="deferred" if tasks else "waiting", why=waits)
        is_final = bool(tasks) or all(upstream[up].is_settled for up in asset.upstream)
        return AssetRun(
            asset=asset.key, state="up to date" if is_final else "waiting", entry=entry if is_final else None
        )

    def _active(self, key: str, active: list[TaskInstance]) -> AssetRun:
        by_state = {task.state: task for task in active}
        if running := by_state.get("running"):
            return AssetRun(asset=key, state="running", since=running.start_date)
        if retrying := by_state.get("up_for_retry"):
            why = f"attempt {retrying.try_number} of {retrying.max_tries + 1} failed: {self._error(key)}"
            return AssetRun(asset=key, state="retrying", why=why)
        return AssetRun(asset=key, state="queued")

    def _error(self, key: str) -> str:
        """The error of the last attempt without the exception's name; empty if it did not fail."""
        try:
            attempt = self.project.ledger.last_attempt(key)
        except LedgerError as error:
            return str(error)
        return (attempt.error or "").partition(": ")[2] if attempt and attempt.status == "failed" else ""
