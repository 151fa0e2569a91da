"""`backup` and `restore`: back up what no source provides again, check and prune the backups, restore lake and Airflow.

Here: arguments, output and exit codes. Not here: the work (`ops/backup`), what to do after which disaster (docs/recovery.md).
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter

from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Select, selection

if TYPE_CHECKING:
    from catalunya.io.environment import Settings
    from catalunya.ops.backup.airflow import Imported
    from catalunya.ops.backup.restore import Restored
    from catalunya.ops.backup.store import Backup, Store

backup = App(name="backup", group_commands=Group("Commands", sort_key=0))


@backup.default
def make(*, as_json: AsJson = False) -> int:
    """Back up the lake's tables, superseded versions, quarantine and ledger, and Airflow's settings and database; only what is new is copied.

    Landing batches are not backed up: their sources provide them again. Exits with 1 if something could not be saved.
    """
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.backup.airflow import export_settings
    from catalunya.ops.backup.database import dumper
    from catalunya.ops.backup.make import back_up

    project = _quiet_project()
    settings = project.settings
    with _progress("backing up") as report:
        export = (lambda: export_settings(settings)) if settings.airflow_url else None
        made = back_up(project, new_run_id(datetime.now(UTC)), airflow=export, database=dumper(settings), report=report)
    if as_json:
        console.emit_json(made.summary())
    else:
        size = console.size(sum(item.bytes for item in made.items))
        console.say(
            f"backup {made.name}: {len(made.assets)} assets, {len(made.items):,} objects, {size}; "
            f"{made.new_objects:,} new, {console.size(made.new_bytes)}, in {made.seconds:.1f} s"
        )
        if not settings.airflow_url:
            console.say("Airflow's settings were not backed up: set CATALUNYA_AIRFLOW_URL to include them")
        for path, why in made.missing.items():
            console.warn(f"error: {path} was not backed up: {why}")
        if made.airflow_problem:
            console.warn(f"error: Airflow's settings were not backed up: {made.airflow_problem}")
        if made.database_problem:
            console.warn(f"error: Airflow's database was not backed up: {made.database_problem}")
    return int(not made.is_complete)


@backup.command(name="list")
def show(*, as_json: AsJson = False) -> None:
    """List the backups, newest first."""
    from catalunya.ops.backup.store import Store

    store = Store.of(Project().settings)
    found = [each.summary() for each in reversed(store.backups())]
    if as_json:
        console.emit_json({"store": store.lake.root, "backups": found})
        return
    if not found:
        console.say(f"no backups in {store.lake.root}; make one with `catalunya backup`")
        return
    heads = {"backup": "left", "env": "left", "age": "left", "assets": "right", "objects": "right", "size": "right"}
    rows = [
        (
            each["name"],
            each["env"],
            console.ago(each["began_at"]),
            len(each["assets"]),
            console.number(each["objects"]),
            console.size(each["bytes"]),
            console.size(each["new_bytes"]),
            "" if each["complete"] else "incomplete: see `catalunya backup check`",
        )
        for each in found
    ]
    console.table({**heads, "new": "right", "": "left"}, rows)


@backup.command
def check(
    name: Annotated[
        str | None, Parameter(help="The backup, by the beginning of its name; the newest by default.")
    ] = None,
    *,
    quick: Annotated[bool, FLAG, Parameter(help="Only compare sizes, instead of hashing every object.")] = False,
    as_json: AsJson = False,
) -> int:
    """Check that a backup can be restored, and that the newest is recent enough; exits with 1 if not."""
    from catalunya.ops.backup.store import Store, is_overdue
    from catalunya.ops.backup.store import check as check_backup

    settings = Project().settings
    store = Store.of(settings)
    chosen = store.find(settings.env, name)
    with _progress("checking") as report:
        report(chosen.name)
        found = check_backup(store, chosen, quick=quick)
    if name is None and is_overdue(_newest_complete(store, settings.env), settings.rpo_hours):
        found.problems.append(
            f"expected a complete backup from the last {settings.rpo_hours} hours, found {chosen.name} from "
            f"{console.ago(chosen.began_at)}; make one with `catalunya backup`, and see the log of ops.backup in Airflow"
        )
    if as_json:
        console.emit_json(asdict(found))
    else:
        for problem in found.problems:
            console.warn(f"error: {problem}")
        how = "sizes only" if quick else "all hashed"
        count = f"{len(found.problems) or 'no'} problem{'' if len(found.problems) == 1 else 's'}"
        console.say(f"backup {found.backup}: {count} ({found.objects:,} objects, {console.size(found.bytes)}, {how})")
    return int(bool(found.problems))


@backup.command
def prune(
    *,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete expired backups: kept are all of two days, then one a day, then one a week."""
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.backup.store import Store
    from catalunya.ops.backup.store import prune as prune_backups

    settings, now = _quiet_project().settings, datetime.now(UTC)
    done = prune_backups(Store.of(settings), settings, new_run_id(now), now=now, dry_run=dry_run)
    if as_json:
        console.emit_json({**asdict(done), "dry_run": dry_run})
        return
    if not done.backups and not done.objects:
        console.say("nothing to prune")
        return
    for name in done.backups:
        console.say(f"backup {name}")
    would = "would be deleted; run it without --dry-run to delete them" if dry_run else "deleted"
    console.say(f"{len(done.backups)} backups, {done.objects:,} objects, {console.size(done.bytes)} {would}")


def restore(
    *select: Select,
    backup: Annotated[
        str | None,
        Parameter(
            "--from",
            help="The backup, by the beginning of its name (20261122: the last of that day); the newest by default.",
        ),
    ] = None,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would be restored.")] = False,
    replace: Annotated[
        bool,
        FLAG,
        Parameter(help="Where the lake has something else, publish the backup's table in its place, as a new entry."),
    ] = False,
    into: Annotated[str | None, Parameter(help="Restore into another lake: a folder, or s3://bucket[/prefix].")] = None,
    only: Annotated[
        Literal["lake", "airflow", "database"] | None,
        Parameter(
            help="Restore only this: the lake, Airflow's settings (airflow), or its whole database, with Airflow stopped. By default the lake "
            "and, if CATALUNYA_AIRFLOW_URL is set, Airflow's settings."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Restore the lake from a backup, all or a selection of assets, and Airflow's pools, variables and paused DAGs.

    Changes nothing if the lake has objects that the backup does not have, unless --replace is given. Exits with 1 if something could
    not be restored.
    """
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.backup.airflow import import_settings
    from catalunya.ops.backup.restore import restore as restore_lake
    from catalunya.ops.backup.store import Store

    project = _quiet_project()
    settings = project.settings
    if only in ("airflow", "database") and (select or into):
        raise UsageError(f"--only {only} cannot be combined with a selection or --into, which are about a lake")
    if into:
        project = Project(settings.model_copy(update={"lake": into}))
    store = Store.of(project.settings)
    chosen = store.find(settings.env, backup)
    if only == "database":
        return _restore_database(settings, store, chosen, replace=replace, dry_run=dry_run)
    restored: list[Restored] = []
    if only != "airflow":
        assets = project.graph.select(selection(select)) if select else None
        with _progress("restoring") as report:
            restored = restore_lake(
                project,
                store,
                chosen,
                new_run_id(datetime.now(UTC)),
                assets=assets,
                replace_newer=replace,
                dry_run=dry_run,
                catalog=into is None,
                report=report,
            )
    wants_airflow = only == "airflow" or (only is None and settings.airflow_url and not select and not into)
    imported = import_settings(settings, chosen, dry_run=dry_run) if wants_airflow else None
    if as_json:
        document = {"backup": chosen.name, "dry_run": dry_run, "assets": [each.summary() for each in restored]}
        console.emit_json({**document, "airflow": asdict(imported) if imported else None})
    else:
        _say_restored(chosen, restored, dry_run=dry_run, into=into)
        _say_imported(imported, would="would be " if dry_run else "")
    failed = any(each.outcome in ("failed", "conflict") for each in restored)
    return int(failed or bool(imported and imported.failed))


def _restore_database(settings: Settings, store: Store, chosen: Backup, *, replace: bool, dry_run: bool) -> int:
    from catalunya.ops.backup.database import restore_database

    restore_database(settings, store, chosen, replace=replace, dry_run=dry_run)
    what = f"Airflow's database {'would be ' if dry_run else ''}restored from backup {chosen.name}, {console.ago(chosen.began_at)}"
    console.say(what if dry_run else f"{what}; next: `catalunya serve migrate`, then start Airflow")
    return 0


def _say_restored(chosen: Backup, restored: Sequence[Restored], *, dry_run: bool, into: str | None) -> None:
    if not restored:
        return
    would = "would be " if dry_run else ""
    heads = {"asset": "left", "outcome": "left", "entry": "right", "rows": "right", "objects": "right", "size": "right"}
    rows = [
        (
            each["asset"],
            would + each["outcome"] if each["outcome"] in ("restored", "published") else each["outcome"],
            each["sequence"],
            console.number(each["rows"]),
            console.number(each["objects"] or None),
            console.size(each["bytes"] or None),
            each["why"],
        )
        for each in (found.summary() for found in restored)
    ]
    console.table({**heads, "why": "left"}, rows)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(each.outcome for each in restored).items())
    begun = "dry run" if dry_run else "done"
    console.say(f"{begun}: {counts}; from backup {chosen.name}, {console.ago(chosen.began_at)}")
    if not dry_run:
        lake = f"CATALUNYA_LAKE={shlex.quote(into)} " if into else ""
        console.say(f"next: `{lake}catalunya verify`, then `{lake}catalunya plan` to see what is stale")


def _say_imported(imported: Imported | None, *, would: str) -> None:
    if not imported:
        return
    for what in ("pools", "variables", "dags"):
        names = getattr(imported, what)
        if names:
            console.say(f"Airflow {'DAGs' if what == 'dags' else what} {would}restored: {', '.join(names)}")
    for name, why in imported.failed.items():
        console.warn(f"error: {name} was not restored: {why}")
    if imported.to_set:
        console.say("set these in Airflow yourself; backups contain no secrets:")
        for todo in imported.to_set:
            console.say(f"  {todo}")
    if not any(asdict(imported).values()):
        console.say("Airflow: nothing to restore")


def _newest_complete(store: Store, env: str) -> Backup | None:
    return next((each for each in reversed(store.backups()) if each.env == env and each.is_complete), None)


def _quiet_project() -> Project:
    """The project, with logs out of the way of a person who reads the output."""
    from catalunya.ops.logging import configure

    project = Project()
    configure(project.settings, least="WARNING" if sys.stderr.isatty() else None)
    return project


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str], None]]:
    """Shows what is being worked on, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with console.console(stderr=True).status(what) as shown:
        yield lambda key: shown.update(f"{what} {key}")
