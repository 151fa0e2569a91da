"""`restore-version`: publish an earlier version of a table again.

Here: options and output. Not here: the work itself (`assets/making/restoring.py`), restoring from a backup (`backup.py`).
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError
from catalunya.ops import console
from catalunya.ops.commands.options import AsJson, DryRun, Key

if TYPE_CHECKING:
    from catalunya.assets.making.restoring import Step


def restore_version(
    key: Key,
    *,
    to: Annotated[
        str | None,
        Parameter(
            help="A ledger entry by its number (`catalunya history KEY`), or a time (UTC): 2026-08-03T14:05, the version of that moment. By "
            "default the version before the current one."
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Publish an earlier version of a table again, to undo a bad load. Tables downstream that keep history go back with it; the others are made again."""
    from catalunya.assets.making.restoring import plan_restore
    from catalunya.assets.making.restoring import restore_version as restore
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.logging import configure

    project, chosen = Project(), _chosen(to)
    if dry_run:
        steps = plan_restore(project, key, chosen)
    else:
        configure(project.settings, least="WARNING" if sys.stderr.isatty() else None)
        steps = restore(project, key, new_run_id(datetime.now(UTC)), chosen)
    if as_json:
        console.emit_json({"dry_run": dry_run, "assets": [_document(step, dry_run=dry_run) for step in steps]})
        return int(any(step.entry is None for step in steps))
    for step in steps:
        _say(step, dry_run=dry_run)
    if not dry_run and project.graph.downstream(key):
        console.say(f"what is stale now: `catalunya plan`; to make it: `catalunya materialize {key}+`")
    return int(any(step.entry is None for step in steps))


def _chosen(to: str | None) -> int | datetime | None:
    if to is None:
        return None
    if to.isascii() and to.isdigit() and len(to) < 8:
        return int(to)
    try:
        at = datetime.fromisoformat(to)
    except ValueError:
        raise UsageError(
            f"--to: expected the number of a ledger entry or a time such as 2026-08-03T14:05, found {to!r}"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _document(step: Step, *, dry_run: bool) -> dict[str, object]:
    entry = step.entry
    return {
        "asset": step.asset,
        "outcome": _outcome(step, dry_run=dry_run),
        "why": step.why,
        "restored": entry and entry.sequence,
        "rows": entry and entry.rows,
        "sequence": step.latest.sequence,
    }


def _outcome(step: Step, *, dry_run: bool) -> str:
    if step.entry is None:
        return "kept"
    if dry_run:
        return "unchanged" if step.is_done else "would be restored"
    return "restored" if step.is_published else "unchanged"


def _say(step: Step, *, dry_run: bool) -> None:
    outcome = _outcome(step, dry_run=dry_run)
    if step.entry is None:
        console.warn(f"{step.asset} stays as it is: {step.why}")
    elif outcome == "unchanged":
        console.say(f"{step.asset} is that version already ({step.why})")
    else:
        after = "" if dry_run else f"; this is entry {step.latest.sequence}"
        console.say(f"{step.asset} {outcome}: {step.entry.rows:,} rows {step.why}{after}")
