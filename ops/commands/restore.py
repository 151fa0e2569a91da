"""`restore`: give the lake, and Airflow, back what a backup holds.

Here: what a person sees of it, and exit codes. Not here: the work (`ops/backup`), what to do after which disaster (docs/recovery.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError
from catalunya.ops import console
from catalunya.ops.commands.backup import live, quiet_project
from catalunya.ops.commands.options import FLAG, AsJson, Select, selection

if TYPE_CHECKING:
    from catalunya.ops.backup.records import Backup
    from catalunya.ops.backup.restore import Given
    from catalunya.ops.backup.set_again import SetAgain
    from catalunya.ops.backup.store import Store


def restore(
    *select: Select,
    backup: Annotated[
        str | None,
        Parameter(
            "--from",
            help="The backup, by the beginning of its name (20261122: the last of that day); by default the newest.",
        ),
    ] = None,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would be given back.")] = False,
    replace: Annotated[
        bool,
        FLAG,
        Parameter(
            help="Where the lake has something else, publish the backup's table again in its place, as a new entry."
        ),
    ] = False,
    into: Annotated[str | None, Parameter(help="Another lake: a folder, or s3://bucket[/prefix].")] = None,
    only: Annotated[
        Literal["lake", "airflow"] | None,
        Parameter(
            help="Only this part; by default the lake, and Airflow where CATALUNYA_AIRFLOW_URL says where it is."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Give the lake back what a backup holds, everything or a selection, and set Airflow's pools, variables and paused DAGs again.

    Refuses where the lake has something that is not in the backup, unless told to replace it. Exit with 1 if something could not be
    given back.
    """
    from catalunya.ops.backup.store import Store

    project = quiet_project()
    settings = project.settings
    if only == "airflow" and (select or into):
        raise UsageError("--only airflow: expected neither a selection nor --into, which are of a lake; leave them out")
    if into:
        project = Project(settings.model_copy(update={"lake": into}))
    store = Store.of(project.settings)
    chosen = store.find(settings.env, backup)
    given: list[Given] = []
    if only != "airflow":
        given = _lake(project, store, chosen, select, replace=replace, dry_run=dry_run, catalog=into is None)
    wants_airflow = only == "airflow" or (only is None and settings.airflow_url and not select and not into)
    done = _airflow(project, store, chosen, dry_run=dry_run) if wants_airflow else None
    if as_json:
        document = {"backup": chosen.name, "dry_run": dry_run, "assets": [asdict(each) for each in given]}
        console.emit_json({**document, "airflow": asdict(done) if done else None})
    else:
        _say(chosen, given, done, dry_run=dry_run, into=into)
    failed = any(each.done in ("failed", "in the way") for each in given)
    return int(failed or bool(done and done.failed))


def _lake(
    project: Project,
    store: Store,
    chosen: Backup,
    select: Sequence[str],
    *,
    replace: bool,
    dry_run: bool,
    catalog: bool,
) -> list[Given]:
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.backup.restore import restore as give_back

    assets = project.graph.select(selection(tuple(select))) if select else None
    with live("restoring") as tell:
        return give_back(
            project,
            store,
            chosen,
            new_run_id(datetime.now(UTC)),
            assets=assets,
            replace=replace,
            dry_run=dry_run,
            catalog=catalog,
            tell=tell,
        )


def _airflow(project: Project, store: Store, chosen: Backup, *, dry_run: bool) -> SetAgain:
    from catalunya.ops.backup.airflow import exported
    from catalunya.ops.backup.set_again import set_again

    return set_again(project.settings, exported(store, chosen), dry_run=dry_run)


def _say(chosen: Backup, given: Sequence[Given], done: SetAgain | None, *, dry_run: bool, into: str | None) -> None:
    would = "would be " if dry_run else ""
    if given:
        heads = {
            "asset": "left",
            "what": "left",
            "entry": "right",
            "rows": "right",
            "objects": "right",
            "size": "right",
        }
        rows = [
            (
                each.asset,
                each.done if each.done in ("there", "in the way", "failed") else would + each.done,
                each.sequence,
                console.number(each.rows),
                console.number(each.objects or None),
                console.size(each.bytes or None),
                each.why,
            )
            for each in given
        ]
        console.table({**heads, "why": "left"}, rows)
        counts = ", ".join(f"{count} {what}" for what, count in Counter(each.done for each in given).items())
        console.say(
            f"{'it would be' if dry_run else 'done'}: {counts}; from backup {chosen.name}, {console.ago(chosen.began_at)}"
        )
    if done:
        for what, names in (("pools", done.pools), ("variables", done.variables), ("DAGs", done.dags)):
            if names:
                console.say(f"Airflow: {what} {would}set again: {', '.join(names)}")
        for name, why in done.failed.items():
            console.warn(f"error: {name} was not set again: {why}")
        if done.to_set:
            console.say("what you have to set in Airflow, because no backup holds secrets:")
            for todo in done.to_set:
                console.say(f"  {todo}")
        if not any((done.pools, done.variables, done.dags, done.to_set, done.failed)):
            console.say("Airflow: nothing to set again")
    if given and not dry_run:
        lake = f"CATALUNYA_LAKE={into} " if into else ""
        console.say(f"next: `{lake}catalunya verify`, then `{lake}catalunya plan` for what is to be made anew")
