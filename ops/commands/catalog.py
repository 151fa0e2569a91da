"""`catalog check` and `catalog sync`: what Glue and Athena's work group say, held against the ledger and the declarations.

Here: comparing everything, and mending it. Not here: one table's entry (`io/warehouse/glue.py`), which `materialize` keeps up to date as
it goes: these are for what a person changed by hand, and for what is no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from cyclopts import App, Group

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record import catalog_tables as catalogd
from catalunya.assets.record.project import Project
from catalunya.io.errors import CatalunyaError
from catalunya.io.warehouse.glue import Glue
from catalunya.ops import console
from catalunya.ops.commands.options import AsJson
from catalunya.ops.named_queries import as_kept

if TYPE_CHECKING:
    from catalunya.io.warehouse.athena import Athena

catalog = App(name="catalog", group_commands=Group("Commands", sort_key=0))
_MEND = "catalunya catalog sync"


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as recorded or declared, and what mends it."""

    where: str
    what: str
    expected: str
    found: str
    todo: str = _MEND


@catalog.command
def check(*, as_json: AsJson = False) -> int:
    """Tell how Glue and the named queries differ from what was recorded and declared; exit with 1 if they do."""
    project = Project()
    glue = _glue(project)
    if glue is None:
        return _nothing(project, as_json=as_json)
    tables = catalogd.tables(project)
    found = [
        Drift(str(table), each.what, each.expected, each.found) for table in tables for each in glue.compare(table)
    ]
    found += [
        Drift(f"{schema}.{name}", "table", "none: no asset of this name was recorded", "a table")
        for schema, name in glue.unknown([str(table) for table in tables])
    ]
    found += _drift_of_queries(_athena(project))
    if as_json:
        console.emit_json({"tables": len(tables), "drift": [asdict(each) for each in found]})
    else:
        _say(found, len(tables))
    return int(bool(found))


@catalog.command
def sync(*, as_json: AsJson = False) -> int:
    """Make Glue and the named queries say what was recorded and declared; what is right already is left alone.

    Tables of ours that no asset stands behind are removed from Glue; their objects stay. Exit with 1 if something could not be
    mended.
    """
    from catalunya.ops.logging import configure

    project = Project()
    configure(project.settings, least="WARNING")
    glue = _glue(project)
    if glue is None:
        return _nothing(project, as_json=as_json)
    written: list[str] = []
    failed: dict[str, str] = {}
    tables = catalogd.tables(project)
    for table in tables:
        try:
            written += [str(table)] if glue.mend(table) else []
        except CatalunyaError as error:
            failed[str(table)] = str(error)
    gone = glue.unknown([str(table) for table in tables])
    for schema, name in gone:
        glue.remove(schema, name)
    queries: list[str] = []
    try:
        athena = _athena(project)
        queries = athena.save(as_kept(athena))
    except CatalunyaError as error:
        failed["named queries"] = str(error)
    removed = [f"{schema}.{name}" for schema, name in gone]
    if as_json:
        console.emit_json({"written": written, "removed": removed, "queries": queries, "failed": failed})
    else:
        rows = [
            *((name, "brought up to date") for name in written),
            *((name, "removed") for name in removed),
            *((f"query {name}", "saved") for name in queries),
        ]
        if rows:
            console.table(["what", "done"], rows)
        elif not failed:
            console.say(f"nothing to mend ({len(tables)} tables)")
        for name, why in failed.items():
            console.warn(f"error: {name} was left as it was: {why}")
    return int(bool(failed))


def _glue(project: Project) -> Glue | None:
    return project.catalog if isinstance(project.catalog, Glue) else None


def _nothing(project: Project, *, as_json: bool) -> int:
    """This environment has no catalog: nothing drifts."""
    if as_json:
        console.emit_json({"tables": 0, "drift": []})
    else:
        console.say(
            f"{project.settings.lake} has no catalog: {project.settings.engine} reads its objects; "
            "`--env dev` or `--env prod` has one"
        )
    return 0


def _athena(project: Project) -> Athena:
    from catalunya.io.warehouse.athena import Athena

    tables = [asset.key for asset in project.graph if asset.layer is not Layer.LANDING]
    return Athena(project.settings, tables, for_readers=True)


def _drift_of_queries(athena: Athena) -> list[Drift]:
    try:
        kept = athena.named_queries()
    except CatalunyaError as error:
        return [Drift("named queries", f"work group {athena.group}", "to be read", str(error), "see the reason")]
    found = []
    for query in as_kept(athena):
        _, known = kept.get(query.name, ("", None))
        if known is None:
            found.append(Drift(f"query {query.name}", "named query", f"in work group {athena.group}", "none"))
        elif known != query:
            found.append(Drift(f"query {query.name}", "named query", query.sql, known.sql))
    return found


def _say(found: Sequence[Drift], tables: int) -> None:
    if not found:
        console.say(f"Glue and the named queries are as recorded and declared ({tables} tables)")
        return
    rows = [(each.where, each.what, f"expected {_brief(each.expected)}, found {_brief(each.found)}") for each in found]
    console.table(["where", "what", "difference"], rows)
    console.say("what mends it:")
    for todo in dict.fromkeys(each.todo for each in found):
        console.say(f"  {todo}")


def _brief(text: str) -> str:
    line = " ".join(text.split()) or "nothing"
    return line if len(line) <= console.CELL_WIDTH * 3 else f"{line[: console.CELL_WIDTH * 3]}…"
