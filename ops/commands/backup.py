"""`backup` and `restore`: keep what cannot be made again, prove that it can be had back, and give it back.

Here: what a person sees of it, and exit codes. Not here: the work (`ops/backup`), what to do after which disaster (docs/recovery.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson

if TYPE_CHECKING:
    from catalunya.ops.backup.records import Backup
    from catalunya.ops.backup.store import Store

backup = App(name="backup", group_commands=Group("Commands", sort_key=0))


@backup.default
def make(*, as_json: AsJson = False) -> int:
    """Back up the lake's tables, their past, quarantine and ledger, and Airflow's settings; only what is new is written.

    Landing batches are not kept: their sources give them again. Exit with 1 if something could not be saved.
    """
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.backup import airflow
    from catalunya.ops.backup.make import back_up

    project = quiet_project()
    settings = project.settings
    with live("backing up") as tell:
        export = (lambda: airflow.export(settings)) if settings.airflow_url else None
        made = back_up(project, new_run_id(datetime.now(UTC)), airflow=export, tell=tell)
    if as_json:
        console.emit_json({**asdict(made), "whole": made.is_whole})
    else:
        console.say(
            f"backup {made.name}: {len(made.assets)} assets, {made.objects:,} objects, {console.size(made.bytes)}; "
            f"{made.new_objects:,} new, {console.size(made.new_bytes)}, in {made.seconds:.1f} s"
        )
        if not settings.airflow_url:
            console.say("nothing of Airflow: CATALUNYA_AIRFLOW_URL does not say where it is")
        for path, why in made.missing.items():
            console.warn(f"error: {path} was not saved: {why}")
        if made.airflow_problem:
            console.warn(f"error: Airflow was not saved: {made.airflow_problem}")
    return int(not made.is_whole)


@backup.command(name="list")
def show(*, as_json: AsJson = False) -> None:
    """List the backups, newest first."""
    from catalunya.ops.backup.store import Store

    project = Project()
    store = Store.of(project.settings)
    found = store.backups()[::-1]
    if as_json:
        console.emit_json({"store": store.lake.root, "backups": [{**asdict(b), "whole": b.is_whole} for b in found]})
        return
    if not found:
        console.say(f"no backups in {store.lake.root}; `catalunya backup` makes one")
        return
    heads = {"backup": "left", "of": "left", "taken": "left", "assets": "right", "objects": "right", "size": "right"}
    rows = [
        (
            each.name,
            each.env,
            console.ago(each.began_at),
            len(each.assets),
            console.number(each.objects),
            console.size(each.bytes),
            console.size(each.new_bytes),
            "" if each.is_whole else "not whole: `catalunya backup check` says why",
        )
        for each in found
    ]
    console.table({**heads, "new": "right", "": "left"}, rows)


@backup.command
def check(
    name: Annotated[
        str | None, Parameter(help="The backup, by the beginning of its name; by default the newest.")
    ] = None,
    *,
    quick: Annotated[bool, FLAG, Parameter(help="Compare sizes only; by default every content is hashed.")] = False,
    as_json: AsJson = False,
) -> int:
    """Prove that a backup can be restored, and that the newest is young enough; exit with 1 if not."""
    from catalunya.ops.backup.check import check as prove
    from catalunya.ops.backup.check import is_late
    from catalunya.ops.backup.store import Store

    project = Project()
    settings = project.settings
    store = Store.of(settings)
    chosen = store.find(settings.env, name)
    with live("checking") as tell:
        found = prove(store, chosen, quick=quick, tell=tell)
    if name is None and is_late(_newest_whole(store, settings.env), settings.rpo_hours):
        found.wrong.append(
            f"expected a whole backup of the last {settings.rpo_hours} hours, found {chosen.name}, "
            f"{console.ago(chosen.began_at)}; `catalunya backup` makes one, ops.backup should have"
        )
    if as_json:
        console.emit_json(asdict(found))
    else:
        for wrong in found.wrong:
            console.warn(f"error: {wrong}")
        looked = f"{found.objects:,} contents, {console.size(found.bytes)}, {'sizes only' if quick else 'all read'}"
        said = f"{len(found.wrong)} things are wrong with" if found.wrong else "nothing is wrong with"
        console.say(f"{said} backup {found.backup} ({looked})")
    return int(bool(found.wrong))


@backup.command
def prune(
    *,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the backups that are not kept: all of two days are, then one a day, then one a week."""
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.backup.keep import tidy
    from catalunya.ops.backup.store import Store

    project = quiet_project()
    now = datetime.now(UTC)
    done = tidy(Store.of(project.settings), project.settings, new_run_id(now), now=now, dry_run=dry_run)
    if as_json:
        console.emit_json({**asdict(done), "dry_run": dry_run})
        return
    for name in done.backups:
        console.say(f"backup {name}")
    would = "would go; without --dry-run they do" if dry_run else "went"
    console.say(f"{len(done.backups)} backups, {done.objects:,} contents, {console.size(done.bytes)}, {would}")


def _newest_whole(store: Store, env: str) -> Backup | None:
    return next((each for each in reversed(store.backups()) if each.env == env and each.is_whole), None)


def quiet_project() -> Project:
    """The project, with logs where they do not disturb."""
    from catalunya.ops.logging import configure

    project = Project()
    configure(project.settings, least="WARNING" if sys.stderr.isatty() else None)
    return project


@contextmanager
def live(what: str) -> Iterator[Callable[[str], None]]:
    """Says what is under way, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with console.console(stderr=True).status(what) as shown:
        yield lambda key: shown.update(f"{what} {key}")
