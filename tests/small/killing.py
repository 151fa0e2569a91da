"""Processes that are killed while they work: a lake that kills its process at a given write, and runs on such a lake."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import BinaryIO

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import ProgressEvent, Request
from catalunya.assets.making.restoring import restore_version
from catalunya.assets.record.lease import lease
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import prune
from catalunya.io.environment import Settings
from catalunya.io.errors import BatchDamaged, LeaseLost
from catalunya.io.lake import Lake
from small.patience import patience
from small.shops import declare

KEYS = ("landing.shops", "staging.shops", "staging.cities")

# A fork server imports everything once, so that starting a child takes milliseconds: also what pandera imports at its first check.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "small.killing",
        "catalunya.assets.making.staging",
        "catalunya.assets.making.landing",
        "pandera.backends.polars.builtin_checks",
        "pandera.strategies.base_strategies",
    ]
)


class TrapdoorLake(Lake):
    """A lake that kills its process (SIGKILL) right before its n-th write or deletion; without a trapdoor, it only counts them."""

    def __init__(self, root: str, trapdoor: int | None) -> None:
        super().__init__(root)
        self.trapdoor = trapdoor
        self.writes = 0

    def step(self) -> None:
        self.writes += 1
        if self.writes == self.trapdoor:
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, path: str, body: bytes | Path) -> None:
        self.step()
        super().put(path, body)

    @contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        self.step()
        with super().writing(path) as file:
            yield file

    def create(self, path: str, body: bytes) -> bool:
        self.step()
        return super().create(path, body)

    def copy(self, path: str, to: str) -> bool:
        self.step()
        return super().copy(path, to)

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            self.step()
            super().delete([path])


def make_all(
    settings: Settings,
    folder: Path,
    trapdoor: int | None = None,
    *,
    keys: Sequence[str] = KEYS,
    force: bool = False,
) -> int:
    """Make the three assets in order, in this process; returns the number of writes and deletions."""
    _, declared = declare(folder)
    project = Project(settings, declared)
    lake = TrapdoorLake(settings.lake, trapdoor)
    project.lake = lake
    for key in keys:
        materialize(project, key, Request(force=force))
    return lake.writes


def heal(settings: Settings, folder: Path, trapdoor: int | None = None) -> int:
    """Make the three assets of a lake with a damaged batch in this process: what the damage stops is made once more, as the
    reconciliation would. Returns the number of writes and deletions."""
    project = Project(settings, declare(folder)[1])
    project.lake = lake = TrapdoorLake(settings.lake, trapdoor)
    for key in (*KEYS, *KEYS):
        try:
            materialize(project, key)
        except BatchDamaged:
            continue
    return lake.writes


def prune_all(settings: Settings, folder: Path, now: datetime, trapdoor: int | None = None) -> int:
    """Prune the three assets in this process; returns the number of writes and deletions."""
    project = Project(settings, declare(folder)[1])
    lake = TrapdoorLake(settings.lake, trapdoor)
    project.lake = lake
    prune(project, "prune", now=now)
    return lake.writes


def prune_all_elsewhere(settings: Settings, folder: Path, now: datetime, trapdoor: int) -> int | None:
    """The same in a child process; returns its exit code: -9 if it was killed."""
    return _code(elsewhere(prune_all, settings, folder, now, trapdoor))


def heal_elsewhere(settings: Settings, folder: Path, trapdoor: int) -> int | None:
    """The same in a child process; returns its exit code: -9 if it was killed."""
    return _code(elsewhere(heal, settings, folder, trapdoor))


def make_all_elsewhere(settings: Settings, folder: Path, trapdoor: int | None = None) -> int | None:
    """The same in a child process; returns its exit code: -9 if it was killed."""
    return _code(elsewhere(make_all, settings, folder, trapdoor))


def make_and_stop_before_publishing(settings: Settings, folder: Path, result: Path) -> None:
    """Make the landing asset, and stop the process (SIGSTOP, like a suspended machine) before it is published."""
    project = Project(settings, declare(folder)[1])

    def stop(progress: ProgressEvent) -> None:
        if progress.step == "produced":
            os.kill(os.getpid(), signal.SIGSTOP)

    try:
        materialize(project, KEYS[0], observer=stop)
    except LeaseLost:
        result.write_text("lost", encoding="utf-8")
    else:
        result.write_text("made", encoding="utf-8")


def hold_and_die(root: str) -> None:
    """Take the lease of the landing asset, and get killed while holding it."""
    with lease(Lake(root), KEYS[0], "the-dead", 600):
        os.kill(os.getpid(), signal.SIGKILL)


def elsewhere(function: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a child process that calls a function, and return it while it is running."""
    # The fork server may have started before the test set the environment that points to its AWS.
    aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    child = FORKS.Process(target=_call, args=(aws, function, arguments))
    child.start()
    return child


def _call(environment: dict[str, str], function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.environ.update(environment)
    function(*arguments)


def _code(child: BaseProcess) -> int | None:
    child.join(patience(60))
    return child.exitcode


def restore_shops(settings: Settings, folder: Path, trapdoor: int | None = None) -> int:
    """Restore the first table of the shops to the version before its current one, with the second one as a table that keeps history.

    Returns the number of writes and deletions.
    """
    project = with_history(settings, folder)
    lake = TrapdoorLake(settings.lake, trapdoor)
    project.lake = lake
    restore_version(project, "staging.shops", "the-restore")
    return lake.writes


def restore_shops_elsewhere(settings: Settings, folder: Path, trapdoor: int) -> int | None:
    """The same in a child process; returns its exit code: -9 if it was killed."""
    return _code(elsewhere(restore_shops, settings, folder, trapdoor))


def with_history(settings: Settings, folder: Path) -> Project:
    """The shops, of which the second table is one that keeps history."""
    project = Project(settings, declare(folder)[1])
    project.graph = AssetGraph(replace(asset, keeps_history=asset.key == "staging.cities") for asset in project.graph)
    return project
