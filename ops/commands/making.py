"""`materialize` and `backfill`: make assets in this process, with progress bars or lines and a summary at the end.

Not here: making one asset (`assets/making/materialize.py`), the order of several (`ops/plan_run.py`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import Parameter

from catalunya.assets.making.plan import plan, plan_backfill
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason, Stale
from catalunya.io.errors import UsageError
from catalunya.io.periods import Window, window
from catalunya.ops import console
from catalunya.ops.commands.looking import show_steps
from catalunya.ops.commands.options import FLAG, AsJson, DryRun, Force, Select, Workers, selection
from catalunya.ops.plan_run import PlanRun, Result
from catalunya.ops.processes import Terminated, terminable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from catalunya.assets.making.request import ProgressEvent

KEPT_LOGS = 50
_PERIOD = "a year (2014), half-year (2014-H1), quarter (2014-Q3), month (2014-06) or day"
_MARKS = {"materialized": "✓", "skipped": "·", "deferred": "…", "failed": "✗", "stopped": "■"}
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


def materialize(
    *select: Select,
    force: Force = False,
    accept_change: Annotated[
        bool,
        FLAG,
        Parameter(
            ["--accept-change", "--accept-shrink"], help="Accept that a table changed more than its guards allow."
        ),
    ] = False,
    full_refresh: Annotated[bool, FLAG, Parameter(help="Build incremental marts from scratch.")] = False,
    dry_run: DryRun = False,
    workers: Workers = 4,
    as_json: AsJson = False,
) -> int:
    """Make stale assets in this process, without Airflow: all of them, or a selection."""
    project = Project()
    steps = plan(project.overview(), project.graph.select(selection(select)), force=force)
    if dry_run:
        show_steps(steps, as_json=as_json)
        return 0
    return make(
        project, steps, workers=workers, as_json=as_json, accept_change=accept_change, full_refresh=full_refresh
    )


def backfill(
    *select: Select,
    first: Annotated[
        str | None, Parameter("--from", help=f"The first period: {_PERIOD}; by default the source's first.")
    ] = None,
    last: Annotated[str | None, Parameter("--to", help="The last period; by default the source's last.")] = None,
    dry_run: DryRun = False,
    workers: Workers = 4,
    as_json: AsJson = False,
) -> int:
    """Read some periods of a source again: `catalunya backfill population --from 2014 --to 2020`. Other periods do not change."""
    periods = window(first, last)
    if not select or periods is None:
        raise UsageError(
            "backfill requires sources and periods, as in `catalunya backfill population --from 2014 --to 2020`; "
            "to read whole tables again: `catalunya materialize --force`"
        )
    project = Project()
    steps = plan_backfill(project.overview(), project.graph.select(selection(select)), periods)
    before = _required_before(project, steps, periods)
    if dry_run:
        show_steps([*before, *steps], as_json=as_json)
        return 0
    if before and (code := make(project, before, workers=workers, as_json=as_json)):
        return code
    return make(project, steps, workers=workers, as_json=as_json, window=periods)


def _required_before(project: Project, steps: list[Stale], periods: Window) -> list[Stale]:
    """Tables that must be made of whole batches before a batch of some periods may replace these."""
    state = project.overview()
    landing = [step.key for step in steps if step.reason is Reason.BACKFILL]
    tables = [project.graph[stale.key] for key in landing for stale in state.blocks_backfill(key, periods)]
    return plan(state, tables)


def make(
    project: Project,
    steps: Sequence[Stale],
    *,
    workers: int,
    as_json: bool,
    window: Window | None = None,
    **options: Any,
) -> int:
    """Make the planned assets; returns the exit code. `options` are fields of every asset's `Request`.

    `window` applies to steps with reason BACKFILL, and steps with reason FORCED are forced. Raises KeyboardInterrupt, after
    printing the summary, when it is interrupted.
    """
    from catalunya.assets.making.request import Request
    from catalunya.assets.record.ledger import new_run_id

    run_id = new_run_id(datetime.now(UTC))

    def request(step: Stale) -> Request:
        # Assets without upstream start a correlation id; the others inherit that of the data they read.
        is_root = not project.graph[step.key].upstream
        return Request(
            force=step.reason is Reason.FORCED,
            window=window if step.reason is Reason.BACKFILL else None,
            correlation_id=run_id if is_root else None,
            run_id=run_id,
            **options,
        )

    with ExitStack() as stack:
        log_file, bars = _configure_logs(project, run_id), None
        plan_run = PlanRun(project, steps, request=request, workers=workers)
        if sys.stderr.isatty():
            bars = stack.enter_context(ProgressBars([step.key for step in steps]))
            plan_run.listen(bars.observe, bars.finish)
        elif not as_json:
            plan_run.listen(finished=lambda result: console.say(_line(result)))
        stack.enter_context(terminable())
        try:
            plan_run.run()
        except KeyboardInterrupt as interrupt:
            stack.close()
            _summarize(run_id, plan_run, as_json=as_json, table=bars is not None, log_file=log_file)
            console.warn(
                "interrupted: recorded assets are kept, and no table is half written; run it again to continue"
            )
            if plan_run.stuck:
                console.warn(f"{', '.join(plan_run.stuck)} did not stop in time and was killed; this is safe")
                sys.stdout.flush()
                os._exit(143 if isinstance(interrupt, Terminated) else 130)
            raise
    _summarize(run_id, plan_run, as_json=as_json, table=bars is not None, log_file=log_file)
    return int(any(result.status == "failed" for result in plan_run.results.values()))


def _configure_logs(project: Project, run_id: str) -> Path | None:
    """Log to stderr; on a terminal, where bars are drawn, only from WARNING on, and everything to a file."""
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


def _summarize(run_id: str, plan_run: PlanRun, *, as_json: bool, table: bool, log_file: Path | None) -> None:
    """The end of a run: a JSON document, or a table on a terminal and one line."""
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
    skipped = sum(result.status == "skipped" for result in results)
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    parts += [f"{skipped} up to date"] if skipped else []
    console.say(", ".join(parts) + (f"; log: {log_file}" if log_file else ""))
    if counts["deferred"] and not counts["failed"]:
        first = next(result.asset for result in results if result.status == "deferred")
        console.say(f"deferred assets wait for an upstream; to make both: `catalunya materialize +{first}`")


def _row(result: Result) -> tuple[object, ...]:
    entry = result.entry if result.status == "materialized" else None
    return (
        result.asset,
        result.status,
        result.reason,
        console.number(entry.rows if entry else None),
        console.size(entry.bytes if entry else None),
        f"{result.seconds:.1f}",
        console.number((entry and entry.quarantined) or None),
        result.why,
    )


def _line(result: Result) -> str:
    """One asset on one plain line, where no bars can be drawn."""
    parts = [f"{result.status:<12} {result.asset}"]
    if result.entry and result.status == "materialized":
        parts.append(console.entry_facts(result.entry, result.seconds))
    return "; ".join([*parts, *([f"{result.reason}: {result.why}"] if result.why else [])])


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


class ProgressBars:
    """One bar per asset being made, on stderr, while the context lasts. Log lines appear above them."""

    def __init__(self, keys: Sequence[str]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._width = max(map(len, keys), default=0)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console.console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def observe(self, event: ProgressEvent) -> None:
        """Show one step of a materialization; called from the threads that make the assets."""
        what = "rows" if event.step == "producing" else "objects"
        note = f"{event.step} {event.done:,} of {event.total:,} {what}" if event.total else event.step
        # rich takes None as a bar without a known total; its types do not say so.
        total: Any = event.total or None
        self._bars.update(self._task(event.asset), note=note, completed=event.done, total=total)

    def finish(self, result: Result) -> None:
        """Show an asset's result; one that was up to date is removed."""
        if result.status == "skipped":
            with self._lock:
                task = self._tasks.pop(result.asset, None)
            if task is not None:
                self._bars.remove_task(task)
            return
        note = f"{result.entry.rows:,} rows" if result.status == "materialized" and result.entry else result.status
        description = self._description(result.asset, _MARKS[result.status])
        self._bars.update(self._task(result.asset), description=description, note=note, completed=1, total=1)

    def _task(self, key: str) -> TaskID:
        with self._lock:
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task(self._description(key, " "), total=None, note="")
            return self._tasks[key]

    def _description(self, key: str, mark: str) -> str:
        return f"{mark} {key:<{self._width}}"
