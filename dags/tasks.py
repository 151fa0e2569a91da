"""The tasks: materialize an asset, find stale assets, trigger them, and prune what has expired.

Here: only the connection between Airflow and `materialize`. What to do follows from the ledger, never from the events that
triggered the run, because Airflow can lose events (docs/architecture.md, invariant 7). Not here: the DAGs (`build.py`). Heavy
imports are made inside `execute`.
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
from catalunya.assets.record.ledger import is_recordable
from catalunya.assets.record.state import Reason, Stale
from catalunya.dags.lineage_parent import part_of_task
from catalunya.io.errors import CatalunyaError, LedgerError, PermanentError, one_line
from catalunya.io.safe_text import known_secrets, shortened

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from catalunya.assets.record.project import Project
    from catalunya.assets.record.state import State


PORTAL = "ops.portal"
"""The DAG of the public pages."""
NOTE = 500
"""Characters of a run's note: Airflow refuses a trigger with more than 1,000."""


class MaterializeBase(BaseOperator):
    """What all tasks that materialize an asset share, wherever the work is done: the steps, and how the task ends.

    The asset event carries the summary of the ledger entry. If nothing was made, the task ends as skipped and sends no event.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, asset: Asset, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.asset = asset

    def steps(self, project: Project, *, force: bool) -> list[Stale]:
        """What to materialize: the asset, after a landing batch that was deleted after use and is needed again."""
        key = self.asset.name
        before = [step for step in plan(project.state(), [project.graph[key]], force=force) if step.key != key]
        return [*before, Stale(key, Reason.FORCED if force else Reason.DATA, "this run's asset")]

    def end(self, context: Context, status: str, why: str, summary: dict[str, Any] | None) -> None:
        """Attach the summary to the asset event. Raises AirflowSkipException, with the reason in one line, when nothing was made."""
        if status != "materialized" or summary is None:
            raise AirflowSkipException(f"{status}: {why}")
        context["outlet_events"][self.asset].extra.update(summary)


class Materialize(MaterializeBase):
    """Materializes one asset in the task's process."""

    def execute(self, context: Context) -> None:
        """Materialize the asset."""
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
        role = project.settings.mart_role if is_mart else ""
        with assumed(role, context["dag_run"].run_id), part_of_task(context):
            mask_secrets()  # now including those of the assumed role
            for step in self.steps(project, force=bool(params["force"])):
                try:
                    outcome = materialize(project, step.key, replace(request, force=step.reason is Reason.FORCED))
                except CatalunyaError:
                    raise
                except Exception as error:  # recorded as a failure for good, so Airflow should not repeat it either
                    raise PermanentError(f"{step.key}: {one_line(error)[0]}") from error
        self.end(context, outcome.status, outcome.why, outcome.entry.summary() if outcome.entry else None)


class FindStale(BaseOperator):
    """Finds the runs that `ops.reconcile` triggers, one item for each mapped `TriggerRun` task."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> list[dict[str, str]]:
        """The runs to trigger. Raises AirflowSkipException when there are none."""
        from catalunya.assets.record.project import Project
        from catalunya.ops.status import log_left_alone

        now, project = datetime.now(UTC), Project()
        ti, state = context["ti"], project.overview(now)
        chosen = project.graph.select(context["params"]["select"])
        neglected = {stale.key: stale for stale in state.neglected(chosen)}
        active = {key for key in neglected if ti.get_dr_count(key, states=["queued", "running"])}
        run_id = f"reconcile__{now:%Y-%m-%dT%H:%M:%S.%f}"
        found = [
            {"key": key, "run_id": run_id, "why": shortened(stale.why, NOTE)}
            for key, stale in neglected.items()
            if key not in active
        ]
        log_left_alone(state, chosen, triggered=neglected.keys() - active)
        if context["params"]["select"] == "*" and not ti.get_dr_count(PORTAL, states=["queued", "running"]):
            found += [
                {"key": PORTAL, "run_id": run_id, "why": shortened(why, NOTE)} for why in self._pages(project, state)
            ]
        if not found:
            raise AirflowSkipException("no stale asset needs a run")
        for each in found:
            self.log.info("%s is stale: %s", each["key"], each["why"])
        return found

    def _pages(self, project: Project, state: State) -> list[str]:
        """Why the public pages should be built, if they should. What is wrong with them must not keep tables from being made."""
        from catalunya.portal.making import is_due
        from catalunya.portal.site import read_site

        try:
            return [why for why in [is_due(read_site(project, state=state))] if why]
        except Exception as error:  # noqa: BLE001  whatever a page finds in a table
            self.log.warning("not known whether the public pages are out of date: %s", one_line(error)[0])
            return []


class TriggerRun(BaseOperator):
    """Triggers one run of one asset. (The standard provider's operator would add a second of imports to every parse.)"""

    ui_color = "#f8f0e8"

    def __init__(self, *, key: str, run_id: str, why: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.key, self.run_id, self.why = key, run_id, why

    def execute(self, context: Context) -> None:  # noqa: ARG002  the signature is Airflow's
        """Trigger the run. A retry finds that the run exists, and is skipped."""
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
    """Deletes what has expired, and logs one line for each asset concerned."""

    ui_color = "#f8f0e8"

    def execute(self, context: Context) -> None:
        """Prune. Raises AirflowSkipException when there is nothing to prune, LedgerError when a ledger cannot be read."""
        from catalunya.assets.record.project import Project
        from catalunya.assets.record.retention import prune

        project = Project()
        pruned = prune(project, context["dag_run"].run_id, project.graph.select(context["params"]["select"]))
        if pruned.failed:
            raise LedgerError("; ".join(pruned.failed.values()))
        if not pruned.removals:
            raise AirflowSkipException("nothing to prune")


def mask_secrets() -> None:
    """Register the secrets that Airflow must mask: Airflow writes the task logs, not `ops/logging.py`."""
    for secret in known_secrets():
        mask_secret(secret)


def correlation_of(context: Context) -> str | None:
    """The correlation id of the newest triggering event. For the logs only; it never decides what is done.

    Anyone may post an event by hand, with any JSON in its `extra`: what cannot be a correlation id is none.
    """
    events = [event for found in context["triggering_asset_events"].values() for event in found]
    newest = max(events, key=lambda event: event.timestamp, default=None)
    extra = newest.extra if newest else None
    found = extra.get("correlation_id") if isinstance(extra, dict) else None
    return found if is_recordable(found) else None
