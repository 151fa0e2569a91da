"""`ops.portal`: builds the public pages after tables were made.

Here: when it runs, and its task. Not here: what is built and whether (`portal/making.py`). Airflow imports this module at every parse, so it
imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, AssetAny, BaseOperator, Param
from airflow.sdk import Asset as AirflowAsset
from airflow.sdk.exceptions import AirflowSkipException

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.dags.failures import EVERY_TASK
from catalunya.dags.tasks import PORTAL
from catalunya.io.errors import CatalunyaError, PermanentError, one_line
from catalunya.io.project_folder import active

if TYPE_CHECKING:
    from airflow.sdk import Context


def site_asset() -> AirflowAsset:
    """The site as an Airflow asset, made from the tables that it shows."""
    return AirflowAsset(name="portal", uri=f"{active().name}://portal/site", group="portal")


def portal_dag(graph: AssetGraph, event: Callable[[str], AirflowAsset], arguments: Mapping[str, Any]) -> DAG:
    """The DAG; `event` has the Airflow asset of a key of the graph, `arguments` its task's, such as retries."""
    shown = [asset for asset in graph if asset.layer is not Layer.LANDING]
    # A wave of tables ends with one that no other reads. What moves without one (below it something failed) is left to `ops.reconcile`.
    last = [event(asset.key) for asset in shown if not graph.downstream(asset.key)]
    dag = DAG(
        PORTAL,
        schedule=AssetAny(*last) if last else None,
        catchup=False,
        max_active_runs=1,
        default_args=EVERY_TASK,
        is_paused_upon_creation=False,
        description="Builds the public pages from the tables that changed.",
        doc_md="Writes the pages whose tables, findings or settings changed since the last build, as `catalunya portal build` does. While a table "
        "that the pages show is about to be made, it waits, so that a wave of tables makes one build; for an hour at most. `ops.reconcile` triggers "
        "it when something changed that sent no event.",
        tags=["ops"],
        params={
            "everything": Param(
                False, type="boolean", description="Write every page again, also those that did not change."
            )
        },
    )
    inlets, outlet = [event(asset.key) for asset in shown], site_asset()
    BuildSite(asset=outlet, dag=dag, task_id="build", inlets=inlets, outlets=[outlet], **arguments)
    return dag


class BuildSite(BaseOperator):
    """Builds the public pages that are out of date."""

    ui_color = "#e8f4f8"

    def __init__(self, *, asset: AirflowAsset, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.asset = asset

    def execute(self, context: Context) -> None:
        """Build. Raises AirflowSkipException, with the reason in one line, when nothing was built."""
        from catalunya.assets.record.project import Project
        from catalunya.portal.making import build_site, why_not

        project, everything = Project(), bool(context["params"]["everything"])
        if not everything and (why := why_not(project)):
            raise AirflowSkipException(why)
        try:
            built = build_site(project, context["dag_run"].run_id, everything=everything)
        except CatalunyaError:
            raise
        except Exception as error:  # a retry would fail the same way
            raise PermanentError(f"the pages were not built: {one_line(error)[0]}") from error
        self.log.info("%d files written, %d deleted; parts: %s", built.written, built.deleted, ", ".join(built.made))
        context["outlet_events"][self.asset].extra.update(
            {"written": built.written, "deleted": built.deleted, "files": built.files, "bytes": built.bytes}
        )
