"""Shops that are backed up and restored, also by processes that are killed halfway."""

from __future__ import annotations

import functools
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import verify
from catalunya.io.environment import Settings, load_settings
from catalunya.ops.backup.make import back_up
from catalunya.ops.backup.restore import Restored, restore
from catalunya.ops.backup.store import Backup, Store, prune, record_path
from small import lakes
from small.killing import KEYS, TrapdoorLake
from small.lakes import contents
from small.shops import Rows, declare, some

BAD = {"codi": "B1", "ciutat": "nowhere", "telefon": "933 000 000"}
ROWS = [*some(5), {"codi": "V1", "ciutat": "Vic"}, BAD]
_numbers = itertools.count(1)


class Shop:
    """Shops whose source the test writes, with their lake and its backups."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.source, self.declared = declare(folder)

    @property
    def project(self) -> Project:
        return Project(self.settings, self.declared)

    @property
    def store(self) -> Store:
        return Store.of(self.settings)

    def make(self, rows: Rows | None = None, *keys: str, force: bool = False) -> list[str]:
        """Write the source's rows and materialize the assets; returns their statuses."""
        if rows is not None:
            self.source.write(rows)
        request = Request(accept_change=True, force=force)
        return [materialize(self.project, key, request).status for key in keys or KEYS]

    def back_up(self) -> Backup:
        return back_up(self.project, f"backup-{next(_numbers):06}")

    def restore(
        self, *keys: str, backup: Backup | None = None, replace: bool = False, dry: bool = False
    ) -> dict[str, str]:
        """The outcome of each asset."""
        return {each.asset: each.outcome for each in self.restored(*keys, backup=backup, replace=replace, dry=dry)}

    def restored(
        self, *keys: str, backup: Backup | None = None, replace: bool = False, dry: bool = False
    ) -> list[Restored]:
        project, store = self.project, self.store
        assets = [project.graph[key] for key in keys] or None
        backup = backup or store.find("local")
        return restore(project, store, backup, "restore", assets=assets, replace_newer=replace, dry_run=dry)

    def elsewhere(self, lake: str | Path) -> Shop:
        """The same shops and backups with another lake."""
        return Shop(self.settings.model_copy(update={"lake": str(lake)}), self.folder)

    def kept(self) -> dict[str, bytes]:
        """The objects of the lake that belong in a backup."""
        found = contents(self.settings.lake)
        return {path: body for path, body in found.items() if not path.startswith(("_leases/", "landing/"))}

    def kinds(self) -> list[str]:
        return [finding.kind for finding in verify(self.project).findings]

    def stale(self) -> list[tuple[str, str]]:
        """What a run would do besides asking the source, and why."""
        return [
            (step.key, str(step.reason))
            for step in plan(self.project.state(), self.project.graph)
            if step.reason not in ("SOURCE", "UPSTREAM")
        ]

    def sequences(self, key: str) -> list[int]:
        return [entry.sequence for entry in self.project.ledger.history(key)]


def made_shop(settings: Settings, folder: Path) -> Shop:
    """Shops that were materialized twice, so that they have superseded and quarantined objects; the lake is a copy."""
    shop = Shop(settings, folder)
    shop.source.write(ROWS)
    if "://" not in settings.lake:
        Path(settings.lake).mkdir()
    before, code = _made()
    # A source in another folder has another code version.
    now = shop.project.graph[KEYS[0]].code_version.encode()
    lakes.restore(settings.lake, {path: body.replace(code, now) for path, body in before.items()})
    return shop


@functools.cache
def _made() -> tuple[dict[str, bytes], bytes]:
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(env="local", lake=f"{folder}/lake", cache=Path(folder, "cache"))
        shop = Shop(settings, Path(folder, "source"))
        shop.make([*some(4), *ROWS[5:]])
        shop.make(ROWS)
        code = shop.project.graph[KEYS[0]].code_version.encode()
        return {path: body for path, body in contents(settings.lake).items() if not path.startswith("_leases/")}, code


def back_up_all(settings: Settings, folder: Path, trapdoor: int | None = None) -> int:
    """Make a backup in this process. Returns how many writes and deletions the store saw."""
    lake = TrapdoorLake(settings.backup, trapdoor)
    back_up(Project(settings, declare(folder)[1]), f"backup-{next(_numbers):06}-{trapdoor}", store=Store(lake))
    return lake.writes


def prune_backups(settings: Settings, trapdoor: int | None = None) -> int:
    """Prune the backups in this process. Returns how many writes and deletions the store saw."""
    lake = TrapdoorLake(settings.backup, trapdoor)
    prune(Store(lake), settings, "prune")
    return lake.writes


def restore_all(settings: Settings, folder: Path, trapdoor: int | None = None, *, replace: bool = False) -> int:
    """Restore the newest backup in this process. Returns how many writes and deletions the lake saw."""
    project = Project(settings, declare(folder)[1])
    project.lake = lake = TrapdoorLake(settings.lake, trapdoor)
    store = Store.of(settings)
    restore(project, store, store.find("local"), "restore", replace_newer=replace)
    return lake.writes


def replace_all(settings: Settings, folder: Path, trapdoor: int | None = None) -> int:
    """The same into a lake that is ahead of the backup."""
    return restore_all(settings, folder, trapdoor, replace=True)


def destroy(lake: str | Path) -> None:
    """Lose the lake."""
    lakes.restore(lake, {})


def rewrite(store: Store, backup: Backup, **changes: object) -> None:
    """Change the record of a backup, for example its time."""
    store.lake.delete([record_path(backup.name)])
    store.add(replace(backup, **changes))  # type: ignore[arg-type]
