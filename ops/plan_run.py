"""Runs a plan: makes several assets in this process, in dependency order, independent ones in parallel.

Here: what is made, in which order, what becomes of the others when one fails, and stopping. Not here: making one asset
(`assets/making/materialize.py`), showing it (`commands/making.py`). Airflow does the same with one DAG per asset.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Literal

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.state import Reason, Stale
from catalunya.io.errors import one_line

if TYPE_CHECKING:
    from catalunya.assets.making.request import Observer, ProgressEvent, Request
    from catalunya.assets.record.ledger import Entry
    from catalunya.assets.record.project import Project

Status = Literal["materialized", "skipped", "deferred", "failed", "stopped"]
# How long Ctrl-C waits for running assets to reach a point where they can stop.
GRACE_S = 20.0
POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome for one asset. `error` is what it raised; `reason` is why it was in the plan."""

    asset: str
    status: Status
    reason: Reason
    why: str
    seconds: float = 0.0
    entry: Entry | None = None
    error: Exception | None = None


class Stopped(BaseException):
    """The run was interrupted. Raised inside the running assets, so that they release their lease and scratch files.

    Not an `Exception`, because it is not a failure.
    """


class PlanRun:
    """One run of a plan over several assets."""

    def __init__(
        self,
        project: Project,
        steps: Sequence[Stale],
        *,
        request: Callable[[Stale], Request],
        workers: int = 4,
    ) -> None:
        self.project = project
        self.steps = {step.key: step for step in steps}
        self.results: dict[str, Result] = {}
        self.stuck: list[str] = []
        self._request, self._workers = request, workers
        self._observer: Observer | None = None
        self._finished: Callable[[Result], None] | None = None
        self._stop = threading.Event()

    def listen(self, observer: Observer | None = None, finished: Callable[[Result], None] | None = None) -> None:
        """Register callbacks: `observer` for each step, called in the asset's thread; `finished` for each result, called in `run`'s."""
        self._observer, self._finished = observer, finished

    def interrupt(self) -> None:
        """Stop early; callable from any thread. `run` then raises KeyboardInterrupt."""
        self._stop.set()

    def run(self) -> list[Result]:
        """Make every asset of the plan and return the results in the plan's order. A failure only defers the assets that depend on it.

        On KeyboardInterrupt, each running asset stops at its next step, or finishes if it is already being published.
        The interrupt is raised again when all have stopped, or after GRACE_S (or a second interrupt); assets that are
        still running then are listed in `stuck`. An asset that is not in `results` was never started.
        """
        self._import_ahead()
        order = TopologicalSorter({key: self.project.graph.ancestors(key) & self.steps.keys() for key in self.steps})
        order.prepare()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="catalunya")
        running: dict[Future[Result], str] = {}
        try:
            while order.is_active():
                for key in order.get_ready():
                    running[pool.submit(self._make, self.steps[key])] = key
                for future in self._ended(running):
                    self._report(future.result())
                    order.done(running.pop(future))
        except KeyboardInterrupt:
            self.interrupt()
            pool.shutdown(wait=False, cancel_futures=True)
            with suppress(KeyboardInterrupt):  # a second one: do not wait
                wait(running, timeout=GRACE_S)
            for future, key in running.items():
                if not future.done():
                    self.stuck.append(key)
                elif not future.cancelled():
                    self._report(future.result())
            raise
        pool.shutdown()
        return [self.results[key] for key in self.steps]

    def _ended(self, running: Iterable[Future[Result]]) -> set[Future[Result]]:
        """Wait until at least one has ended, and return those that have. Raises KeyboardInterrupt when the run was interrupted."""
        # Wake up regularly: a signal delivered to another thread is handled only when this one runs.
        done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
        if self._stop.is_set():
            raise KeyboardInterrupt
        return done

    def _make(self, step: Stale) -> Result:
        from catalunya.assets.making.materialize import materialize

        started = time.monotonic()
        blank = Result(step.key, "stopped", step.reason, "interrupted before it was recorded")
        try:
            self._check()
            outcome = materialize(self.project, step.key, self._request(step), self._observe)
            result = replace(blank, status=outcome.status, why=outcome.why, entry=outcome.entry)
        except BaseException as error:  # a failure is this asset's result; the other assets continue
            if _is_stop(error):
                return replace(blank, seconds=time.monotonic() - started)
            if not isinstance(error, Exception):
                raise
            why = one_line(error)[0]
            result = replace(blank, status="failed", why=why, error=error)
        return replace(result, seconds=time.monotonic() - started)

    def _observe(self, progress: ProgressEvent) -> None:
        # Do not stop between publish and record: that would leave a table the ledger does not know.
        if progress.step in ("leased", "producing", "produced"):
            self._check()
        if self._observer:
            self._observer(progress)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _report(self, result: Result) -> None:
        self.results[result.asset] = result
        if self._finished:
            self._finished(result)

    def _import_ahead(self) -> None:
        """Import what the threads need before they start: threads that import one package concurrently can find it half initialized."""
        layers = {self.project.graph[key].layer for key in self.steps}
        for layer in layers:
            importlib.import_module(f"catalunya.assets.making.{layer}")
        if layers - {Layer.MARTS}:
            _ = self.project.declarations


def _is_stop(error: BaseException) -> bool:
    grouped = isinstance(error, BaseExceptionGroup) and error.subgroup(Stopped) is not None
    return grouped or isinstance(error, Stopped)
