"""What a look saw, as metrics: every table, and how many findings of each kind are open. Off unless OpenTelemetry's variables say where to.

Here: from the state and the board to plain data. Not here: the metrics (`assets/record/metrics.py`), sending them.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

from catalunya.assets.record.metrics import Table
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.assets.record.telemetry import report_look
from catalunya.ops.watching.findings import Board, Kind, Severity


def report(project: Project, state: State, board: Board, seconds: float) -> None:
    """Send the metrics of a look. Nothing is read that the look has not read, and it never raises."""
    open_now = Counter((str(each.kind), str(each.severity)) for each in board.open)
    # Zeros too, so that a backend sees that the last one closed.
    findings = {(str(kind), str(severity)): 0 for kind, severity in product(Kind, Severity)} | open_now
    tables = (
        Table(
            asset=asset.key,
            made=state.known(asset.key),
            last=None if state.unreadable(asset.key) else state.last_attempt(asset.key),
            is_stale=state.stale(asset.key) is not None,
        )
        for asset in state.graph
    )
    report_look(project.settings, tables, findings, seconds, state.now)
