"""`status` and `history`: how the assets are now, and how they came to be so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Key, Select, selection
from catalunya.ops.status import AssetStatus, statuses

if TYPE_CHECKING:
    from catalunya.assets.record.ledger import Entry


def status(
    *select: Select,
    check: Annotated[
        bool, FLAG, Parameter(help="Exit with 1 if anything is stale, missing, failed or overdue: for monitoring.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show which assets are fresh, stale, failed or overdue, their rows and last runs."""
    project = Project()
    state = project.state()
    found = statuses(state, project.graph.select(selection(select)))
    if as_json:
        console.emit_json(found)
    else:
        headings = {"asset": "left", "state": "left", "rows": "right", "quarantined": "right", "last run": "left",
                    "source updated": "left", "why": "left"}  # fmt: skip
        console.table(headings, [_row(one) for one in found])
        if all(one.state == "missing" for one in found):
            _first_steps(project)
    return int(check and not all(one.is_fine for one in found))


def history(
    key: Key,
    *,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="How many entries, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the materializations of one asset, the newest first."""
    project = Project()
    entries = project.ledger.history(project.graph[key].key)[::-1][:limit]
    if as_json:
        console.emit_json(entries)
    elif not entries:
        console.say(f"{key} has never been made: `catalunya materialize +{key}` makes it and all it depends on")
    else:
        headings = {"#": "right", "when (UTC)": "left", "status": "left", "reason": "left", "rows": "right", "size": "right",
                    "quarantined": "right", "seconds": "right", "run": "left"}  # fmt: skip
        console.table(headings, [_entry_row(entry) for entry in entries])


def _row(one: AssetStatus) -> tuple[object, ...]:
    why = one.why
    if one.overdue_hours is not None:
        late = f"its source is {console.hours(one.overdue_hours)} overdue (expected every {console.hours(one.freshness_hours or 0)})"
        why = f"{late}; {why}" if why else late
    state = "overdue" if one.state == "fresh" and one.overdue_hours is not None else one.state
    quarantined = console.number(one.quarantined) if one.quarantined else ""
    updated = console.ago(one.source_updated_at)
    return one.asset, state, console.number(one.rows), quarantined, console.ago(one.last_run_at), updated, why


def _entry_row(entry: Entry) -> tuple[object, ...]:
    made = entry.status != "failed"
    note = entry.error or (f"drift: {entry.drift}" if entry.drift else "")
    if entry.window:
        note = f"{note}; only {entry.window}".removeprefix("; ")
    if entry.duplicates:
        note = f"{note}; {entry.duplicates:,} duplicates dropped".removeprefix("; ")
    return (
        entry.sequence,
        f"{entry.started_at:%Y-%m-%d %H:%M}",
        entry.status,
        entry.reason,
        console.number(entry.rows) if made else "",
        console.size(entry.bytes) if made else "",
        console.number(entry.quarantined) if entry.quarantined else "",
        f"{entry.seconds:.1f}",
        f"{entry.run_id}; {note}" if note else entry.run_id,
    )


def _first_steps(project: Project) -> None:
    console.say(f"nothing has been made yet in {project.lake.root}. To begin:")
    if project.settings.env == "local":
        console.say("  catalunya mock          the APIs, on this machine (leave it running, in another terminal)")
    console.say("  catalunya materialize   make everything, here and now")
    console.say("  catalunya run           the same once, by Airflow")
