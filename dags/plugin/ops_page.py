"""The tab **Asset** on a DAG that makes no table (`ops.reconcile`, `ops.watch`, …): what it does, and what it would find now or found last.

Here: the content, as plain data. Not here: how it looks (`templates/ops.html`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.source_checks import SourceCheck, kept
from catalunya.dags.plugin.snapshot import Snapshot
from catalunya.dags.plugin.words import moment
from catalunya.io.errors import LakeError
from catalunya.ops.watching.findings import Finding, Kind

ABOUT = {
    "ops.watch": (
        "Looks at the whole pipeline every ten minutes: tables, sources, runs, processes, backups. What is wrong becomes a finding, which stays "
        "open until it is no longer seen.",
        "catalunya watch",
    ),
    "ops.reconcile": (
        "Triggers every asset that is stale according to the ledger, unless it waits for another, has failed for good on the same inputs, or is "
        "being made. Airflow can lose asset events; the ledger cannot.",
        "catalunya plan",
    ),
    "ops.retention": (
        "Deletes used landing batches, superseded versions of tables and quarantined rows that are older than their retention. The current "
        "version of a table is never deleted.",
        "catalunya prune --dry-run",
    ),
    "ops.backup": (
        "Saves what cannot be rebuilt: the lake's tables and ledger, Airflow's settings and database.",
        "catalunya backup list",
    ),
    "ops.portal": (
        "Builds the public pages whose tables, findings or settings changed since the last build. While a table that they show is about to be "
        "made, it waits, for an hour at most.",
        "catalunya status portal",
    ),
    "ops.sources": (
        "Asks each source for its metadata and compares them with what is declared. Nothing is landed.",
        "catalunya sources check",
    ),
}
"""What each DAG of `ops` does, and the command that shows the same on a terminal."""
_KINDS = {
    "ops.backup": {Kind.BACKUP_OLD},
    "ops.portal": {Kind.PAGES_OLD},
    "ops.reconcile": {Kind.RECONCILE_SILENT},
    "ops.sources": {Kind.SOURCE_DOWN, Kind.SOURCE_MISMATCH, Kind.SOURCE_OVERDUE},
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: an asset, what is so, and a word that gives its color."""

    key: str
    what: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsPage:
    """The whole tab. `about` is empty for a DAG that is not one of this project's."""

    dag_id: str
    about: str
    command: str
    findings: list[Finding] = field(default_factory=list)
    lists: dict[str, list[Line]] = field(default_factory=dict)
    looked_at: datetime | None = None
    closed: list[Finding] = field(default_factory=list)


def ops_page(snapshot: Snapshot, dag_id: str) -> OpsPage:
    """What the tab shows. Raises LakeError when the lake does not answer."""
    about, command = ABOUT.get(dag_id, ("", ""))
    kinds = _KINDS.get(dag_id, set())
    is_watch = dag_id == "ops.watch"
    found = [each for each in snapshot.findings() if is_watch or each.kind in kinds or each.subject == dag_id]
    return OpsPage(
        dag_id=dag_id,
        about=about,
        command=command,
        findings=found,
        lists=_LISTS[dag_id](snapshot) if dag_id in _LISTS else {},
        looked_at=snapshot.board.at if is_watch else None,
        closed=snapshot.closed() if is_watch else [],
    )


def _reconcile(snapshot: Snapshot) -> dict[str, list[Line]]:
    assets = snapshot.assets()
    due = {stale.key: snapshot.shown(f"{stale.reason}: {stale.why}") for stale in snapshot.state.neglected(assets)}
    alone = [
        Line(asset.key, snapshot.shown(why), "warn")
        for asset in assets
        if asset.key not in due
        and (snapshot.state.stale(asset.key) or snapshot.state.failure(asset.key))
        and (why := snapshot.state.held_back(asset.key))
    ]
    return {"Would trigger now": [Line(key, why, "busy") for key, why in due.items()], "Leaves alone": alone}


def _sources(snapshot: Snapshot) -> dict[str, list[Line]]:
    landed = [asset for asset in snapshot.assets() if asset.layer is Layer.LANDING]
    return {"Last check of each source": [_source(snapshot, asset) for asset in landed]}


def _source(snapshot: Snapshot, asset: Asset) -> Line:
    try:
        check = kept(snapshot.project.lake, asset.key)
    except LakeError as error:  # those of the others can be read
        return Line(asset.key, str(error), "bad")
    return Line(asset.key, *_checked(check)) if check else Line(asset.key, "not checked yet", "quiet")


def _checked(check: SourceCheck) -> tuple[str, str]:
    if check.matches:
        return f"{check.source} answered on {moment(check.at)}, as declared", "good"
    return f"{check.source}: {check.text}", "bad"


def _retention(snapshot: Snapshot) -> dict[str, list[Line]]:
    return {"Retention": [Line(asset.key, f"{asset.keep_days} days", "quiet") for asset in snapshot.assets()]}


_LISTS = {"ops.reconcile": _reconcile, "ops.sources": _sources, "ops.retention": _retention}
