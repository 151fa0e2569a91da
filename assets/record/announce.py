"""Reporting what was recorded to other systems, each only if it is configured: one hook for all of them.

What is reported is derived from the ledger entry, after it was recorded, so that it is the same whichever process made the table, and a
function of Lambda needs no client of any of these systems. No report can fail a run, or change a table. Here: the hook, and who listens.
Not here: what each of them sends.
"""

from __future__ import annotations

from collections.abc import Callable

from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.io import openlineage, otlp
from catalunya.io.errors import CatalunyaError
from catalunya.io.log import get_logger
from catalunya.io.safe_text import safe_text

log = get_logger(__name__)

Listener = Callable[[Project, Entry], None]
"""Sends one entry to one system. It limits its own time, and may raise."""


def listeners() -> list[Listener]:
    """The listeners that are configured. Imports no others, and costs nothing when there are none."""
    found: list[Listener] = []
    if otlp.is_on():
        from catalunya.assets.record.telemetry import report

        found.append(report)
    if openlineage.is_on():
        from catalunya.assets.record import lineage_events

        found.append(lineage_events.report)
    return found


def announce(project: Project, entry: Entry) -> None:
    """Report an entry that this process recorded: made, unchanged or failed. Never raises: a warning is all that a failure costs."""
    for listener in listeners():
        try:
            listener(project, entry)
        except Exception as error:  # noqa: BLE001  the table is made, whatever a client of another system raises
            log.warning("not_announced", asset=entry.asset, to=listener.__module__, error=safe_text(error, 300))


def announce_run(project: Project, key: str, run_id: str) -> None:
    """Report what another process recorded for this run: a function of Lambda. Does not read the ledger if no one listens."""
    if not listeners():
        return
    try:
        last = project.ledger.last_attempt(key)
    except CatalunyaError as error:
        log.warning("not_announced", asset=key, error=str(error))
        return
    if last and last.run_id == run_id:
        announce(project, last)
