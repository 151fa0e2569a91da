"""Which columns of the tables that it reads each column of a SELECT is made from, by sqlglot.

Here: one compiled query, resolved name by name through its subqueries, and what decides which rows it has (joins, filters, groups).
Not here: compiling dbt's models (`dbt.py`), what the tables are as assets (`assets/graph/column_lineage.py`). sqlglot takes a third of a
second to import, so it is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from catalunya.io.errors import WarehouseError, one_line

How = Literal["identity", "computed", "aggregated", "condition"]
"""How a value gets into another: as it is (a cast included), in an expression, in an aggregate; or it only decides which value is taken
(CASE, the partition and order of a window)."""
HOWS: tuple[How, ...] = ("identity", "computed", "aggregated", "condition")

AS_OF = "1583-10-15"
"""The day to compile a model for, so that its place in the SQL is known: no model has this day as a constant."""

_READS_CLOCK = ("CurrentDate", "CurrentTime", "CurrentTimestamp", "CurrentDatetime")


@dataclass(frozen=True, slots=True, order=True)
class Leaf:
    """What a value comes from. `kind` is `column` (of the table `table`), or what is no column:

    - `constant`: written in the SQL; `reference`: VALUES; `clock`: the day of the run
    - `row_count`: a number of rows of `table`
    - `generated`: a series of numbers or days
    - `provenance`: the dataset that a row was read from
    - `unknown`: a name that was not found
    """

    kind: Literal["column", "constant", "reference", "clock", "row_count", "generated", "provenance", "unknown"]
    table: str = ""
    column: str = ""


Leaves = dict[Leaf, How]


@dataclass(frozen=True, slots=True)
class QueryLineage:
    """`columns`: by column of the query, what it is made from. `rows`: the columns that decide which rows there are."""

    columns: Mapping[str, Leaves]
    rows: Collection[Leaf]


def query_lineage(sql: str, tables: Mapping[str, Collection[str]]) -> QueryLineage:
    """The lineage of a query in DuckDB's SQL; `tables` are the columns of each `schema.table` that it may read.

    Raises WarehouseError when the SQL cannot be parsed or its names cannot be resolved.
    """
    from sqlglot import errors, exp, parse_one
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope
    from sqlglot.schema import MappingSchema

    schema: dict[str, Any] = {}
    for name, columns in tables.items():
        database, _, table = name.partition(".")
        schema.setdefault(database, {})[table] = dict.fromkeys(columns, "varchar")
    try:
        parsed = parse_one(sql, dialect="duckdb")
        for read in parsed.find_all(exp.Table):
            read.set("catalog", None)  # of the scratch file that dbt compiles for
        qualified = qualify(
            parsed,
            dialect="duckdb",
            schema=MappingSchema(schema, dialect="duckdb"),
            identify=False,
            quote_identifiers=False,
            validate_qualify_columns=False,
        )
        scope: Any = build_scope(qualified)
    except errors.SqlglotError as error:
        raise WarehouseError(f"cannot read the SQL: {one_line(error)[0]}") from error
    if scope is None:
        raise WarehouseError("cannot read the SQL: expected a SELECT")
    walk = _Walk({id(each.expression): each for each in scope.traverse()})
    return QueryLineage(
        columns={name: without_constants(walk.column(scope, name)) for name in scope.expression.named_selects},
        rows=sorted(leaf for leaf in walk.rows(scope) if leaf.kind == "column"),
    )


def strongest(one: How, other: How) -> How:
    """Of two ways to one column, the more direct."""
    return min(one, other, key=HOWS.index)


def through(one: How, other: How) -> How:
    """How a value gets through two steps."""
    return max(one, other, key=HOWS.index)


def without_constants(leaves: Leaves) -> Leaves:
    """A constant counts where there is nothing else: `100 * x` is made from x."""
    return {leaf: how for leaf, how in leaves.items() if leaf.kind != "constant"} or leaves


def add(to: Leaves, leaves: Leaves, how: How) -> None:
    """Add what a value is made from to that of another, into which it gets `how`."""
    for leaf, own in leaves.items():
        found = through(own, how)
        to[leaf] = strongest(to[leaf], found) if leaf in to else found


@dataclass
class _Walk:
    """One query: its scopes by their expressions. What was resolved is kept: the same subquery is read by many columns."""

    scopes: Mapping[int, Any]
    _known: dict[tuple[int, str], Leaves] = field(default_factory=dict)
    _rows: dict[int, set[Leaf]] = field(default_factory=dict)

    def column(self, scope: Any, name: str) -> Leaves:
        """What a column of a scope is made from."""
        scope = self.scopes.get(
            id(scope.expression), scope
        )  # a recursive query sees its first part without the tables of it
        key = (id(scope), name)
        if key not in self._known:
            self._known[key] = {}  # a recursive query reads itself: that adds nothing
            self._known[key] = self._column(scope, name)
        return self._known[key]

    def rows(self, scope: Any) -> set[Leaf]:
        """What decides which rows a scope has: its joins, filters and groups, and those of the subqueries that it reads."""
        if id(scope) in self._rows:
            return self._rows[id(scope)]
        found = self._rows[id(scope)] = set()
        for condition in _conditions(scope.expression):
            found |= self.value(scope, condition, "condition").keys()
        reads = [source for source in _selected(scope) if hasattr(source, "sources")]
        for other in (*reads, *scope.set_operation_scopes):
            found |= self.rows(other)
        return found

    def value(self, scope: Any, node: Any, how: How) -> Leaves:
        """What an expression in a scope is made from, if it gets `how` into its column."""
        from sqlglot import exp

        found: Leaves = {}
        if isinstance(node, exp.Column):
            add(found, self._resolve(scope, node), how)
        elif isinstance(node, exp.Query | exp.Subquery):
            inner = next((each for each in scope.subquery_scopes if each.expression is node.unnest()), None)
            for name in inner.expression.named_selects if inner else ():
                add(found, self.column(inner, name), through(how, "computed"))
            if inner:
                add(found, dict.fromkeys(self.rows(inner), "condition"), "condition")
        elif isinstance(node, exp.Count) and (node.this is None or isinstance(node.this, exp.Star)):
            found = dict.fromkeys((Leaf("row_count", table) for table in self._tables(scope)), "aggregated")
        elif isinstance(node, exp.Literal | exp.Boolean | exp.Null):
            is_clock = isinstance(node, exp.Literal) and node.this == AS_OF
            found[Leaf("clock" if is_clock else "constant")] = how
        elif type(node).__name__ in _READS_CLOCK:
            found[Leaf("clock")] = how
        else:
            for child, step in _parts(node):
                add(found, self.value(scope, child, through(how, step)), "identity")
        return found

    def _column(self, scope: Any, name: str) -> Leaves:
        from sqlglot import exp

        expression = scope.expression
        found: Leaves = {}
        if isinstance(expression, exp.SetOperation):
            at = expression.named_selects.index(name)
            for branch in scope.set_operation_scopes:
                add(found, self.column(branch, branch.expression.named_selects[at]), "identity")
        elif isinstance(expression, exp.Select):
            chosen = next((each for each in expression.selects if each.alias_or_name == name), None)
            found = self.value(scope, chosen, "identity") if chosen else {Leaf("unknown", column=name): "identity"}
        elif isinstance(expression, exp.Values):
            found[Leaf("reference")] = "identity"
        else:
            found[Leaf("generated")] = "identity"
        return found

    def _resolve(self, scope: Any, column: Any) -> Leaves:
        source = scope.sources.get(column.table)
        if source is None and len(selected := _selected(scope)) == 1:
            source = selected[0]  # a table function has no columns that a schema names
        if source is None:
            return {Leaf("unknown", column=column.sql()): "identity"}
        if hasattr(source, "sources"):
            return self.column(source, column.name)
        return {_leaf(source, column.name): "identity"}

    def _tables(self, scope: Any) -> Iterator[str]:
        """The tables whose rows a scope has."""
        for source in (*_selected(scope), *scope.set_operation_scopes):
            if hasattr(source, "sources"):
                yield from self._tables(source)
            elif (leaf := _leaf(source, "")).table:
                yield leaf.table


def _selected(scope: Any) -> list[Any]:
    """The tables and subqueries in FROM and JOIN."""
    return [source for _, source in scope.selected_sources.values()]


def _leaf(table: Any, column: str) -> Leaf:
    from sqlglot import exp

    if isinstance(table, exp.Table) and isinstance(table.this, exp.Identifier):
        return Leaf("column", ".".join(filter(None, (table.db, table.name))), column)
    return Leaf("generated")


def _conditions(query: Any) -> Iterator[Any]:
    """The parts of a query that decide which rows it has."""
    from sqlglot import exp

    for name in ("where", "group", "having", "qualify"):
        if part := query.args.get(name):
            yield part
    for join in query.args.get("joins") or ():
        if isinstance(join, exp.Join) and join.args.get("on"):
            yield join.args["on"]


def _parts(node: Any) -> Iterator[tuple[Any, How]]:
    """The parts of an expression, and how the value of each gets into it."""
    from sqlglot import exp

    if isinstance(node, exp.Case):
        yield from (
            (part, "condition") for part in (node.args.get("this"), *(each.this for each in node.args["ifs"])) if part
        )
        yield from ((each.args["true"], "computed") for each in node.args["ifs"])
        yield from ((part, "computed") for part in (node.args.get("default"),) if part)
    elif isinstance(node, exp.If):
        yield node.this, "condition"
        yield from ((part, "computed") for name in ("true", "false") if (part := node.args.get(name)))
    elif isinstance(node, exp.Window | exp.Filter | exp.WithinGroup):
        yield node.this, "identity"
        yield from ((child, "condition") for child in node.iter_expressions() if child is not node.this)
    elif isinstance(node, exp.Alias | exp.Paren | exp.Cast | exp.TryCast):
        yield node.this, "identity"
    else:
        step: How = "aggregated" if _aggregates(node) else "computed"
        yield from ((child, step) for child in node.iter_expressions())


def _aggregates(node: Any) -> bool:
    """Whether it makes one value of several rows; LEAD, LAG and ROW_NUMBER take a value of one row."""
    from sqlglot import exp

    ranks = (exp.RowNumber, exp.Lead, exp.Lag, exp.FirstValue, exp.LastValue, exp.NthValue)
    return isinstance(node, exp.AggFunc) and not isinstance(node, ranks)
