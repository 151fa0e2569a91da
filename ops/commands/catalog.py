"""`catalog check` and `catalog sync`: compare Glue and Athena's work group with the ledger and the declarations, and update them.

Here: comparing and updating everything at once. Not here: the entry of one table (`io/warehouse/glue.py`), which `materialize` keeps
up to date; these commands are for changes made by hand, and for saved queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cyclopts import App, Group

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record import catalog_tables
from catalunya.assets.record.project import Project
from catalunya.io.errors import CatalunyaError
from catalunya.io.warehouse.glue import Glue
from catalunya.ops import console
from catalunya.ops.commands.options import AsJson
from catalunya.ops.named_queries import for_work_group

if TYPE_CHECKING:
    from catalunya.io.warehouse.athena import Athena

catalog = App(name="catalog", group_commands=Group("Commands", sort_key=0))
_SYNC = "catalunya catalog sync"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference from the record or the declarations, and the command that fixes it."""

    where: str
    what: str
    expected: str
    found: str
    todo: str = _SYNC


@catalog.command
def check(*, as_json: AsJson = False) -> int:
    """Compare Glue and the saved queries with the ledger and the declarations; exit with 1 if they differ."""
    project = Project()
    glue = _glue(project)
    if glue is None:
        return _no_catalog(project, as_json=as_json)
    tables, unreadable = catalog_tables.tables(project), _unreadable(project)
    found = [
        Drift(str(table), each.what, each.expected, each.found) for table in tables for each in glue.compare(table)
    ]
    found += [
        Drift(f"{schema}.{name}", "table", "none: no asset of this name is recorded", "a table")
        for schema, name in glue.unknown([*map(str, tables), *unreadable])
    ]
    found += [Drift(key, "ledger", "readable", why, "catalunya verify --repair") for key, why in unreadable.items()]
    found += _query_drift(_athena(project))
    if as_json:
        console.emit_json({"tables": len(tables), "drift": [asdict(each) for each in found]})
    else:
        _print(found, len(tables))
    return int(bool(found))


@catalog.command
def sync(*, as_json: AsJson = False) -> int:
    """Update Glue and the saved queries to the ledger and the declarations; what is up to date is not written.

    Tables whose asset no longer exists are removed from Glue; their objects stay. Exit with 1 if something could not be updated.
    """
    from catalunya.ops.logging import configure

    project = Project()
    configure(project.settings, least="WARNING")
    glue = _glue(project)
    if glue is None:
        return _no_catalog(project, as_json=as_json)
    written: list[str] = []
    tables, unreadable = catalog_tables.tables(project), _unreadable(project)
    failed = dict(unreadable)
    for table in tables:
        try:
            written += [str(table)] if glue.repair(table) else []
        except CatalunyaError as error:
            failed[str(table)] = str(error)
    gone = glue.unknown([*map(str, tables), *unreadable])
    for schema, name in gone:
        glue.remove(schema, name)
    queries: list[str] = []
    try:
        athena = _athena(project)
        queries = athena.save(for_work_group(athena))
    except CatalunyaError as error:
        failed["saved queries"] = str(error)
    removed = [f"{schema}.{name}" for schema, name in gone]
    if as_json:
        console.emit_json({"written": written, "removed": removed, "queries": queries, "failed": failed})
    else:
        rows = [
            *((name, "updated") for name in written),
            *((name, "removed") for name in removed),
            *((f"query {name}", "saved") for name in queries),
        ]
        if rows:
            console.table(["what", "done"], rows)
        elif not failed:
            console.say(f"everything is up to date ({len(tables)} tables)")
        for name, why in failed.items():
            console.warn(f"error: {name} was not updated: {why}")
    return int(bool(failed))


def _unreadable(project: Project) -> dict[str, str]:
    """The tables whose ledger cannot be read, and why: their entries in Glue stay as they are."""
    state, tables = project.state(), (asset.key for asset in project.graph if asset.layer is not Layer.LANDING)
    return {key: why for key in tables if (why := state.unreadable(key))}


def _glue(project: Project) -> Glue | None:
    return project.catalog if isinstance(project.catalog, Glue) else None


def _no_catalog(project: Project, *, as_json: bool) -> int:
    """Report that this environment has no catalog, so nothing can differ."""
    if as_json:
        console.emit_json({"tables": 0, "drift": []})
    else:
        console.say(
            f"{project.settings.lake} has no catalog: {project.settings.engine} reads its objects; "
            "use `--env dev` or `--env prod`"
        )
    return 0


def _athena(project: Project) -> Athena:
    from catalunya.io.warehouse.athena import Athena

    tables = [asset.key for asset in project.graph if asset.layer is not Layer.LANDING]
    return Athena(project.settings, tables, for_readers=True)


def _query_drift(athena: Athena) -> list[Drift]:
    try:
        saved = athena.named_queries()
    except CatalunyaError as error:
        return [Drift("saved queries", f"work group {athena.group}", "readable", str(error), "fix the error shown")]
    found = []
    for query in for_work_group(athena):
        _, known = saved.get(query.name, ("", None))
        if known is None:
            found.append(Drift(f"query {query.name}", "named query", f"in work group {athena.group}", "none"))
        elif known != query:
            found.append(Drift(f"query {query.name}", "named query", query.sql, known.sql))
    return found


def _print(found: Sequence[Drift], tables: int) -> None:
    if not found:
        console.say(f"Glue and the saved queries are up to date ({tables} tables)")
        return
    rows = [(each.where, each.what, f"expected {_brief(each.expected)}, found {_brief(each.found)}") for each in found]
    console.table(["where", "what", "difference"], rows)
    console.say("to fix it:")
    for todo in dict.fromkeys(each.todo for each in found):
        console.say(f"  {todo}")


def _brief(text: str) -> str:
    line = " ".join(text.split()) or "nothing"
    return line if len(line) <= console.CELL_WIDTH * 3 else f"{line[: console.CELL_WIDTH * 3]}…"
