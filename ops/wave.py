"""A wave: several assets made in this process, in dependency order, independent ones side by side.

Here: what is made, in which order, what becomes of the others when one fails, and stopping. Not here: making one asset
(`assets/making/materialize.py`), showing it (`commands/materialize.py`). Airflow does the same with one DAG per asset.
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
# How long a Ctrl-C waits for the assets under way to come to a point where they can stop.
GRACE_S = 20.0
LISTEN_S = 0.25


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one asset. `error` is what it raised; `reason` is why it was in the plan."""

    asset: str
    status: Status
    reason: Reason
    why: str
    seconds: float = 0.0
    entry: Entry | None = None
    error: Exception | None = None


class Stopped(BaseException):
    """The wave was interrupted; raised within the assets under way, so that they let go of lease and scratch.

    No failure, so no `Exception`; no KeyboardInterrupt either, which asyncio would report as a task's lost error.
    """


class Wave:
    """One run over several assets."""

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
        """Hear of each step, from the thread that makes the asset, and of each result, from the one that calls `run`."""
        self._observer, self._finished = observer, finished

    def interrupt(self) -> None:
        """End it early, from any thread: `run` then raises KeyboardInterrupt."""
        self._stop.set()

    def run(self) -> list[Result]:
        """Make them all. A failure stops nothing but what the gate holds back; the results are in the order of the steps.

        KeyboardInterrupt ends it early: what is under way stops at its next step, or is finished if it is being
        published. It is raised again once that has happened, or after GRACE_S (or another interrupt) with what is still
        running in `stuck`. What `results` does not tell of was not begun.
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
                    self._tell(future.result())
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
                    self._tell(future.result())
            raise
        pool.shutdown()
        return [self.results[key] for key in self.steps]

    def _ended(self, running: Iterable[Future[Result]]) -> set[Future[Result]]:
        """Those that have ended, as soon as one has. Raises KeyboardInterrupt when the wave is to end."""
        # Not for ever: a signal that another thread was given is seen only when this one runs again.
        done, _ = wait(running, timeout=LISTEN_S, return_when=FIRST_COMPLETED)
        if self._stop.is_set():
            raise KeyboardInterrupt
        return done

    def _make(self, step: Stale) -> Result:
        import structlog

        from catalunya.assets.making.materialize import materialize

        started = time.monotonic()
        blank = Result(step.key, "stopped", step.reason, "interrupted before it was recorded")
        try:
            self._check()
            outcome = materialize(self.project, step.key, self._request(step), self._observe)
            result = replace(blank, status=outcome.status, why=outcome.why, entry=outcome.entry)
        except BaseException as error:  # one asset's failure is its result; the others go on
            if _is_stop(error):
                return replace(blank, seconds=time.monotonic() - started)
            if not isinstance(error, Exception):
                raise
            why, is_bug = one_line(error)
            if is_bug:
                structlog.get_logger(__name__).exception("materialization_crashed", asset=step.key)
            result = replace(blank, status="failed", why=why, error=error)
        return replace(result, seconds=time.monotonic() - started)

    def _observe(self, progress: ProgressEvent) -> None:
        # What is being published is soon recorded: stopping then would leave a table that the ledger does not know.
        if progress.step in ("leased", "producing", "produced"):
            self._check()
        if self._observer:
            self._observer(progress)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _tell(self, result: Result) -> None:
        self.results[result.asset] = result
        if self._finished:
            self._finished(result)

    def _import_ahead(self) -> None:
        """Import here what the threads will: several that import one package at once can find it half made."""
        layers = {self.project.graph[key].layer for key in self.steps}
        for layer in layers:
            importlib.import_module(f"catalunya.assets.making.{layer}")
        if layers - {Layer.MARTS}:
            _ = self.project.declarations


def _is_stop(error: BaseException) -> bool:
    grouped = isinstance(error, BaseExceptionGroup) and error.subgroup(Stopped) is not None
    return grouped or isinstance(error, Stopped)
