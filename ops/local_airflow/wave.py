"""One wave through Airflow: what is triggered, the state of each asset as it goes, and when it is over.

Airflow says what is queued and running, the ledger what is made and stale; both are asked, none is remembered. Here: that
judgement. Not here: showing it (`view.py`), starting Airflow (`server.py`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import AirflowError
from catalunya.ops.local_airflow.client import Client, TaskInstance

Condition = Literal["waiting", "queued", "running", "retrying", "deferred", "done", "up to date", "failed"]
RECONCILE = "ops.reconcile"
RECONCILED_TIMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One asset at one moment. `entry` is what is recorded of it, once it is made; `since` is when its task started."""

    asset: str
    condition: Condition
    why: str = ""
    entry: Entry | None = None
    since: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is expected of it, as far as it goes."""
        return self.condition in ("done", "up to date", "failed")


class Wave:
    """The landing DAGs triggered once, and all that follows by data-aware scheduling."""

    def __init__(self, project: Project, client: Client, started_at: datetime, tell: Callable[[str], None]) -> None:
        self.project, self.client, self.started_at, self._tell = project, client, started_at, tell
        self._consumers = [asset.key for asset in project.graph if asset.upstream]
        self.lines: list[Line] = []
        self.tasks: dict[str, list[TaskInstance]] = {}
        self._reconciled = 0

    def begin(self) -> None:
        """Trigger each landing DAG once, and what no event could wake: a stale table that reads nothing that changes."""
        state = self.project.state()
        here = self._read_tasks()
        for asset in self.project.graph:
            # Its clock may have come just now; once is enough.
            if (asset.layer is Layer.LANDING and asset.key not in here) or (
                asset.layer is not Layer.LANDING and self._needs_a_hand(state, asset)
            ):
                self.client.trigger(asset.key)

    def look(self) -> bool:
        """Take one look at everything: `lines` says what it showed. Returns whether the wave is over.

        When assets are stale, none is being made and none waits for another, their events are lost (3.3.2 can lose
        them): `ops.reconcile` is triggered, and that is told.
        """
        is_at_rest = self.client.is_at_rest(self.started_at, self._consumers)
        self.tasks = self._read_tasks()
        state = self.project.state()
        lines: dict[str, Line] = {}
        for asset in self.project.graph:
            lines[asset.key] = self._line(state, asset, lines)
        self.lines = list(lines.values())
        if not is_at_rest:
            return False
        neglected = [stale.key for stale in state.neglected(self.project.graph)]
        if not neglected or self._reconciled == RECONCILED_TIMES:
            return True
        self._reconciled += 1
        self._tell(f"{', '.join(neglected)}: stale, and no event is on its way; {RECONCILE} wakes it")
        self.client.trigger(RECONCILE)
        return False

    def run(self, show: Callable[[list[Line]], None], *, timeout_s: float, poll_s: float = 0.4) -> None:
        """Begin, and look until it is over. Raises AirflowError when that takes too long."""
        self.begin()
        until = time.monotonic() + timeout_s
        while not self.look():
            show(self.lines)
            if time.monotonic() > until:
                busy = ", ".join(f"{line.asset} ({line.condition})" for line in self.lines if not line.is_settled)
                raise AirflowError(
                    f"the wave: expected it to be over within {timeout_s:.0f} s, found {busy}; the logs of these tasks tell more, "
                    "--timeout gives it longer"
                )
            time.sleep(poll_s)
        show(self.lines)

    def failed_task(self, key: str) -> TaskInstance | None:
        """The task of this wave in which the asset failed."""
        return next((task for task in reversed(self.tasks.get(key, [])) if task.state == "failed"), None)

    def _needs_a_hand(self, state: State, asset: Asset) -> bool:
        """Whether the asset is stale though nothing above it is, or failed before: then no event will come to wake it."""
        if not state.stale(asset.key):
            return False
        return bool(state.failed(asset.key)) or not any(map(state.stale, self.project.graph.ancestors(asset.key)))

    def _read_tasks(self) -> dict[str, list[TaskInstance]]:
        found: dict[str, list[TaskInstance]] = defaultdict(list)
        for task in self.client.task_instances(self.started_at):
            found[task.dag_id].append(task)
        return dict(found)

    def _line(self, state: State, asset: Asset, above: dict[str, Line]) -> Line:
        tasks = self.tasks.get(asset.key, [])
        entry, stale = state.latest(asset.key), state.stale(asset.key)
        is_made = bool(entry and entry.status == "materialized" and entry.started_at >= self.started_at and not stale)
        if is_made:  # though one more event may have queued a run of it, which will find nothing to do
            return Line(asset=asset.key, condition="done", entry=entry)
        active = [task for task in tasks if not task.is_over]
        if active:
            return self._active_line(asset.key, active)
        if tasks and tasks[-1].state == "failed":
            return Line(asset=asset.key, condition="failed", why=self._error(asset.key) or "its log tells why")
        if stale:
            waits = (state.waits_for(asset.key) or "").partition("; its last attempt")[0]
            return Line(asset=asset.key, condition="deferred" if tasks else "waiting", why=waits)
        is_final = bool(tasks) or all(above[up].is_settled for up in asset.upstream)
        condition: Condition = "up to date" if is_final else "waiting"
        return Line(asset=asset.key, condition=condition, entry=entry if is_final else None)

    def _active_line(self, key: str, active: list[TaskInstance]) -> Line:
        by_state = {task.state: task for task in active}
        if running := by_state.get("running"):
            return Line(asset=key, condition="running", since=running.start_date)
        if retrying := by_state.get("up_for_retry"):
            why = f"attempt {retrying.try_number} of {retrying.max_tries + 1} failed: {self._error(key)}"
            return Line(asset=key, condition="retrying", why=why)
        return Line(asset=key, condition="queued")

    def _error(self, key: str) -> str:
        """What the last attempt failed on, without the name of the exception; nothing when it did not fail."""
        attempt = self.project.ledger.last_attempt(key)
        return (attempt.error or "").partition(": ")[2] if attempt and attempt.status == "failed" else ""


def seconds_of(line: Line) -> float | None:
    """How long the asset has been running, or took in this wave."""
    if line.condition == "done" and line.entry:
        return line.entry.seconds
    return (datetime.now(UTC) - line.since).total_seconds() if line.since else None
