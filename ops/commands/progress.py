"""Progress bars on a terminal: one line per asset that is being made, in the order in which they begin."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from catalunya.ops import console

if TYPE_CHECKING:
    from catalunya.assets.making.request import ProgressEvent as Step
    from catalunya.ops.plan_run import Result

_MARKS = {"materialized": "✓", "skipped": "·", "deferred": "…", "failed": "✗", "stopped": "■"}


class Live:
    """The bars, on stderr, while the context lasts. Lines that are logged meanwhile appear above them."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._width = max(map(len, keys), default=0)
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console.console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def observe(self, step: Step) -> None:
        """Take one step of a materialization; called from the threads that make them."""
        task = self._task(step.asset)
        counts = {"completed": step.done, "total": step.total or None}
        what = "rows" if step.step == "producing" else "objects"
        note = f"{step.step} {step.done:,} of {step.total:,} {what}" if step.total else step.step
        self._progress.update(task, note=note, **counts)  # type: ignore[arg-type]

    def finish(self, result: Result) -> None:
        """Show what came of an asset; one that was up to date leaves no line."""
        if result.status == "skipped":
            with self._lock:
                known = self._tasks.pop(result.asset, None)
            if known is not None:
                self._progress.remove_task(known)
            return
        entry = result.entry
        note = f"{entry.rows:,} rows" if result.status == "materialized" and entry else result.status
        mark = _MARKS[result.status]
        task = self._task(result.asset)
        self._progress.update(task, description=self._described(result.asset, mark), note=note, completed=1, total=1)

    def _task(self, key: str) -> TaskID:
        with self._lock:
            if key not in self._tasks:
                self._tasks[key] = self._progress.add_task(self._described(key, " "), total=None, note="")
            return self._tasks[key]

    def _described(self, key: str, mark: str) -> str:
        return f"{mark} {key:<{self._width}}"
