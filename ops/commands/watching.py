"""`catalunya watch`: what is wrong now. Not here: how that is found (`ops/watching`)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.io.safe_text import few
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson

if TYPE_CHECKING:
    from catalunya.ops.watching.findings import Finding

_STYLES = {"error": "red", "warning": "yellow"}
NAMED = 6
"""How many of the tables that a finding affects are named."""


def watch(
    *,
    keep: Annotated[
        bool,
        FLAG,
        Parameter(
            help="Do as ops.watch does: keep what is found, log it, and notify. For a scheduler other than Airflow."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show what is wrong now, why, what it affects and what to do. Exits with 1 if something needs a person.

    Looks at the ledger, the sources' update habits, disks, clocks and backups, and asks Airflow if CATALUNYA_AIRFLOW_URL is set.
    """
    from catalunya.ops.watching import look

    project, now = Project(), datetime.now(UTC)
    found = look.watch(project, now) if keep else look.look(project, now)
    opened = found.board.open
    if as_json:
        console.emit_json(
            {
                "looked_at": now,
                "not_seen": found.blind,
                "findings": [_plain(each) for each in opened],
                "closed": [_plain(each) for each in found.board.findings if each.closed_at],
            }
        )
    else:
        for each in opened:
            _show(each)
        _sum_up(opened, found.blind)
    return int(any(each.is_urgent for each in opened))


def _plain(found: Finding) -> dict[str, object]:
    """A finding as JSON."""
    return {**asdict(found), "identity": found.identity}


def _show(found: Finding) -> None:
    console.say(f"{found.severity}  {found.what}", style=_STYLES[found.severity])
    rows = {
        "why": found.cause,
        "since": f"{found.since or found.opened_at:%Y-%m-%d %H:%M} UTC, seen first {console.ago(found.opened_at)}",
        "affects": few(found.affected, NAMED) if found.affected else "",
        "do": found.remedy,
        "known": found.known,
    }
    for name, text in rows.items():
        if text:
            console.say(f"  {name:<8} {text}")
    console.say()


def _sum_up(opened: tuple[Finding, ...], blind: str) -> None:
    urgent = sum(each.is_urgent for each in opened)
    text = f"{console.counted(len(opened), 'finding')}, {urgent} of them urgent" if opened else "nothing is wrong"
    console.say(text, style="red" if urgent else "yellow" if opened else "green")
    if blind:
        console.say(f"Airflow was not asked: {blind}")
