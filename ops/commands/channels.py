"""`channels`: who is notified of what is wrong, whether messages arrive, and a test message to each.

Here: output. Not here: sending (`ops/watching/`), the settings (`io/notifications.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson


def channels(
    *,
    test: Annotated[
        bool, FLAG, Parameter(help="Send a test message to every channel, and show which arrived.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show the channels of CATALUNYA_NOTIFY, and whether messages arrive. Exits with 1 if they do not."""
    from catalunya.ops.watching.notify import ChannelState, read_notified, recipients, send_tests

    project = Project()
    found = recipients(project)
    for each in found:
        each.transport()  # a mistake in the setting is one line, before anything else
    errors = send_tests(project, datetime.now(UTC)) if test else {}
    states = read_notified(project).channels
    rows: list[dict[str, Any]] = []
    for each in found:
        state = states.get(each.name, ChannelState())
        error = errors.get(each.name, state.error)
        rows.append(
            {
                "channel": each.name,
                "severity": each.channel.severity,
                "select": each.channel.select or "*",
                "state": _state(error, is_test=test, is_known=each.name in states),
                "since": state.failing_since,
                "error": error,
            }
        )
    if as_json:
        console.emit_json(rows)
    elif rows:
        cells = [
            [row["channel"], row["severity"], row["select"], row["state"], console.ago(row["since"]), row["error"]]
            for row in rows
        ]
        console.table(["channel", "from", "tables", "state", "since", "error"], cells)
    else:
        console.say("no one is notified: CATALUNYA_NOTIFY is not set (docs/watching.md)")
    return int(any(row["error"] for row in rows))


def _state(error: str, *, is_test: bool, is_known: bool) -> str:
    """What is known of a channel, in one word."""
    if error:
        return "failing"
    if is_test:
        return "arrived"
    return "working" if is_known else "unused"
