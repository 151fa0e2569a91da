"""What happens in the tasks: an asset is materialized, what is stale is found, or what has had its time is deleted.

Here: the seam between Airflow and `materialize`, and nothing else: what to do is worked out from the ledger, never from the
events that triggered a run, because Airflow can lose some. Not here: the DAGs (`build.py`). Heavy imports only within
`execute`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException
from airflow.sdk.log import mask_secret

from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.plan import plan
from catalunya.assets.record.state import Reason, Stale
from catalunya.io.errors import LedgerError
from catalunya.io.safe_text import known_secrets

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from catalunya.assets.record.project import Project


class Making(BaseOperator):
    """What a task that makes one asset has in common, wherever the work is done: what is asked for, and how it ends.

    Its event carries the summary of the ledger entry. Nothing to do, or deferred: skipped, no event.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, asset: Asset, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.asset = asset

    def steps(self, project: Project, *, force: bool) -> list[Stale]:
        """What to make, the asset itself last: a landing batch that was deleted after use and is needed again comes first."""
        key = self.asset.name
        before = [step for step in plan(project.state(), [project.graph[key]], force=force) if step.key != key]
        return [*before, Stale(key, Reason.FORCED if force else Reason.DATA, "its own turn")]

    def end(self, context: Context, status: str, why: str, summary: dict[str, Any] | None) -> None:
        """Let the event carry the summary. Raises AirflowSkipException, with one line why, when nothing was made."""
        if status != "materialized" or summary is None:
            raise AirflowSkipException(f"{status}: {why}")
        context["outlet_events"][self.asset].extra.update(summary)


class Materialize(Making):
    """Makes one asset in the task's own process."""

    def execute(self, context: Context) -> None:
        """Make the asset."""
        from catalunya.assets.making.materialize import materialize
        from catalunya.assets.making.request import Request
        from catalunya.assets.record.project import Project
        from catalunya.io.aws import assumed
        from catalunya.io.periods import window

        params, project = context["params"], Project()
        request = Request(
            window=window(params.get("period_from"), params.get("period_to")),
            run_id=context["dag_run"].run_id,
            correlation_id=correlation_of(context),
        )
        is_mart = project.graph[self.asset.name].layer is Layer.MARTS
        with assumed(project.settings.mart_role if is_mart else "", context["dag_run"].run_id):
            mask_secrets()  # the role's own by now
            for step in self.steps(project, force=bool(params["force"])):
                outcome = materialize(project, step.key, replace(request, force=step.reason is Reason.FORCED))
        self.end(context, outcome.status, outcome.why, outcome.entry.summary() if outcome.entry else None)


class FindStale(BaseOperator):
    """Finds what `ops.reconcile` has to wake: what `Wake` is expanded with, one item a run. Says which sources are overdue."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> list[dict[str, str]]:
        """The runs to trigger. Raises AirflowSkipException when there are none."""
        from catalunya.assets.record.project import Project
        from catalunya.ops.status import log_overdue

        now, project = datetime.now(UTC), Project()
        ti = context["ti"]
        log_overdue(project.state(now), project.graph)
        found = [
            {"key": stale.key, "run_id": f"reconcile__{now:%Y-%m-%dT%H:%M:%S.%f}", "why": stale.why}
            for stale in project.state(now).neglected(project.graph.select(context["params"]["select"]))
            if not ti.get_dr_count(stale.key, states=["queued", "running"])
        ]
        if not found:
            raise AirflowSkipException("nothing is stale that is not being made")
        for each in found:
            self.log.info("%s is stale: %s", each["key"], each["why"])
        return found


class Wake(BaseOperator):
    """Triggers one run of one asset. (The standard provider's operator would cost every parse a second of imports.)"""

    ui_color = "#f8f0e8"

    def __init__(self, *, key: str, run_id: str, why: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.key, self.run_id, self.why = key, run_id, why

    def execute(self, context: Context) -> None:  # noqa: ARG002  the signature is Airflow's
        """Trigger it. A retry finds that the run exists, and is skipped."""
        raise DagRunTriggerException(
            trigger_dag_id=self.key,
            dag_run_id=self.run_id,
            conf=None,
            note=self.why,
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=["success"],
            failed_states=["failed"],
            poke_interval=60,
            deferrable=False,
        )


class Prune(BaseOperator):
    """Deletes what has had its time, and logs one line for each asset that had any."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> None:
        """Prune. Raises AirflowSkipException when nothing has had its time, LedgerError when a ledger cannot be read."""
        from catalunya.assets.record.project import Project
        from catalunya.assets.record.retention import prune

        project = Project()
        pruned = prune(project, context["dag_run"].run_id, project.graph.select(context["params"]["select"]))
        if pruned.failed:
            raise LedgerError("; ".join(pruned.failed.values()))
        if not pruned.removals:
            raise AirflowSkipException("nothing has had its time")


def mask_secrets() -> None:
    """Tell Airflow which values its logs must not show: those of a task are written by Airflow, not by `ops/logging.py`."""
    for secret in known_secrets():
        mask_secret(secret)


def correlation_of(context: Context) -> str | None:
    """The wave that the newest triggering event belongs to: only for the logs, never for what is done."""
    events = [event for found in context["triggering_asset_events"].values() for event in found]
    newest = max(events, key=lambda event: event.timestamp, default=None)
    return (newest.extra or {}).get("correlation_id") if newest else None
