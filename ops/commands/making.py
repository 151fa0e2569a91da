"""Making several assets in this process, as a command does: bars or lines while it goes, a summary at its end.

Here: what `materialize` and `backfill` show and how they end. Not here: what they make (`materialize.py`, `backfill.py`), the order
of it (`ops/plan_run.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalunya.ops import console
from catalunya.ops.plan_run import PlanRun, Result
from catalunya.ops.signals import Terminated, like_ctrl_c

if TYPE_CHECKING:
    from catalunya.assets.record.project import Project
    from catalunya.assets.record.state import Stale

KEPT_LOGS = 50


def make(project: Project, steps: Sequence[Stale], *, workers: int, as_json: bool, **of_all: Any) -> int:
    """Make what is planned; returns the exit code. `of_all` are parts of the `Request` of every asset.

    What is FORCED is forced. Raises KeyboardInterrupt, the summary printed, when it is interrupted.
    """
    from catalunya.assets.making.request import Request
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.assets.record.state import Reason

    run_id = new_run_id(datetime.now(UTC))
    window = of_all.pop("window", None)

    def request(step: Stale) -> Request:
        # What reads nothing begins the wave; what reads something carries on the wave that brought its data.
        begins = not project.graph[step.key].upstream
        return Request(
            force=step.reason is Reason.FORCED,
            window=window if step.reason is Reason.BACKFILL else None,
            correlation_id=run_id if begins else None,
            run_id=run_id,
            **of_all,
        )

    with ExitStack() as stack:
        log_file, live = _configure_logs(project, run_id), None
        plan_run = PlanRun(project, steps, request=request, workers=workers)
        if sys.stderr.isatty():
            from catalunya.ops.commands.progress import Live

            live = stack.enter_context(Live([step.key for step in steps]))
            plan_run.listen(live.observe, live.finish)
        elif not as_json:
            plan_run.listen(finished=lambda result: console.say(_line(result)))
        stack.enter_context(like_ctrl_c())
        try:
            plan_run.run()
        except KeyboardInterrupt as interrupt:
            stack.close()
            _summarise(run_id, plan_run, as_json=as_json, table=live is not None, log_file=log_file)
            console.warn("interrupted: what was recorded stays, nothing is half done; run it again to go on")
            if plan_run.stuck:
                console.warn(
                    f"{', '.join(plan_run.stuck)} did not come to a stop and was killed; that harms nothing either"
                )
                sys.stdout.flush()
                os._exit(143 if isinstance(interrupt, Terminated) else 130)
            raise
    _summarise(run_id, plan_run, as_json=as_json, table=live is not None, log_file=log_file)
    return int(any(result.status == "failed" for result in plan_run.results.values()))


def _configure_logs(project: Project, run_id: str) -> Path | None:
    """Logs go to stderr; on a terminal, where bars are drawn, only from WARNING on, and all of them to a file."""
    from catalunya.ops.logging import configure

    settings = project.settings
    if not sys.stderr.isatty() or settings.log_level == "DEBUG":
        configure(settings)
        return None
    folder = settings.cache / "logs"
    file = folder / f"{run_id}.log"
    configure(settings, least=max(settings.log_level, "WARNING", key=["INFO", "WARNING", "ERROR"].index), file=file)
    for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
        old.unlink(missing_ok=True)
    return file


def _summarise(run_id: str, plan_run: PlanRun, *, as_json: bool, table: bool, log_file: Path | None) -> None:
    """The end of a run: a document, or a table on a terminal, and one line."""
    results = [plan_run.results[key] for key in plan_run.steps if key in plan_run.results]
    if as_json:
        console.emit_json({"run_id": run_id, "assets": [_document(result) for result in results]})
        return
    counts = {
        status: sum(r.status == status for r in results) for status in ("materialized", "failed", "deferred", "stopped")
    }
    if table and any(counts.values()):
        console.table(_HEADINGS, [_row(result) for result in results if result.status != "skipped"])
    if len(results) == len(plan_run.steps) and not any(counts.values()):
        console.say("everything is up to date")
        return
    told = [f"{count} {status}" for status, count in counts.items() if count]
    skipped = sum(result.status == "skipped" for result in results)
    console.say(
        ", ".join([*told, *([f"{skipped} up to date"] if skipped else [])]) + (f"; log: {log_file}" if log_file else "")
    )
    if counts["deferred"] and not counts["failed"]:
        first = next(result.asset for result in results if result.status == "deferred")
        console.say(f"a deferred asset waits for its upstream: `catalunya materialize +{first}` makes both")


_HEADINGS = {
    "asset": "left",
    "status": "left",
    "reason": "left",
    "rows": "right",
    "size": "right",
    "seconds": "right",
    "quarantined": "right",
    "why": "left",
}


def _row(result: Result) -> tuple[object, ...]:
    entry = result.entry if result.status == "materialized" else None
    return (
        result.asset,
        result.status,
        result.reason,
        console.number(entry.rows if entry else None),
        console.size(entry.bytes if entry else None),
        f"{result.seconds:.1f}",
        console.number(entry.quarantined) if entry and entry.quarantined else "",
        result.why,
    )


def _line(result: Result) -> str:
    """One asset on one plain line, for where no bars can be drawn."""
    entry = result.entry if result.status == "materialized" else None
    parts = [f"{result.status:<12} {result.asset}"]
    if entry:
        parts.append(f"{entry.rows:,} rows, {console.size(entry.bytes)}, {result.seconds:.1f} s")
        if entry.quarantined:
            parts.append(f"{entry.quarantined:,} quarantined")
    return f"{'; '.join(parts)}; {result.reason}: {result.why}" if result.why else "; ".join(parts)


def _document(result: Result) -> dict[str, object]:
    entry = result.entry if result.status == "materialized" else None
    return {
        "asset": result.asset,
        "status": result.status,
        "reason": result.reason,
        "why": result.why,
        "seconds": round(result.seconds, 3),
        "rows": entry and entry.rows,
        "bytes": entry and entry.bytes,
        "quarantined": entry and entry.quarantined,
        "sequence": entry and entry.sequence,
        "correlation_id": entry and entry.correlation_id,
        "error": type(result.error).__name__ if result.error else None,
    }
