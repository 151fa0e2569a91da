"""Which raw fields, and which columns of other tables, each column of a staging table is made from, by polars' query plan.

Here: the plan of the staging function over frames without rows, followed name by name. Not here: the marts (`io/warehouse/sql_lineage.py`),
what is stored (`lineage_document.py`). The plan is read as polars' own engines read it (`LazyFrame._ldf.visit`), which no function has to
be written for. What the plan does not show (a Python function applied to values) is `unknown`, never left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import polars as pl

from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.contracts.model.check import REASON, ROW
from catalunya.contracts.model.columns import NESTED, PROVENANCE
from catalunya.io.log import get_logger
from catalunya.io.warehouse.sql_lineage import How, Leaf, Leaves, QueryLineage, add, without_constants

log = get_logger(__name__)

_TABLE = "table: "
_SHARED = "__POLARS"  # what several expressions have in common, polars makes once, under such a name
_UNKNOWN = Leaf("unknown")


def staging_lineage(declaration: StagingDeclaration) -> QueryLineage:
    """The lineage of a staging table's columns, in declared order; tables are asset keys.

    A field with `unpivot` is made from the fields that become rows. No row is read. Of a plan that polars does not show, what the contract
    says (`source=`), and `unknown` for the other columns.
    """
    try:
        return _planned(declaration)
    except (NotImplementedError, pl.exceptions.PolarsError) as error:
        log.warning("plan_not_followed", asset=declaration.key, error=str(error))
    landing, unpivoted = declaration.landing.key, _unpivoted(declaration)
    columns: dict[str, Leaves] = {
        column.name: {Leaf("column", landing, column.source) if column.source else _UNKNOWN: "identity"}
        for column in declaration.contract.columns()
    }
    return QueryLineage({name: _named(leaves, unpivoted) for name, leaves in columns.items()}, ())


def _planned(declaration: StagingDeclaration) -> QueryLineage:
    landing, fields = declaration.landing.key, _fields(declaration)
    raw = _frame(landing, fields).with_columns(
        *(pl.col(c.source).alias(c.name) for c in declaration.contract.columns() if c.source in fields),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW),
        pl.lit(None, pl.String).alias(REASON),
    )
    arguments = [_frame(read.key, read.contract.polars_schema()) for read in declaration.reads]
    if declaration.across:
        found = declaration.across(raw)
        arguments.append(found.select(name for name in found.collect_schema().names() if not name.startswith(_TABLE)))
    names = [column.name for column in declaration.contract.columns()]
    walk = _Walk(declaration.function(raw, *arguments).select(pl.col(names)))
    columns, rows = walk.node(walk.root)
    unpivoted = _unpivoted(declaration)
    return QueryLineage(
        columns={name: _named(columns.get(name, {_UNKNOWN: "computed"}), unpivoted) for name in names},
        rows=sorted(leaf for leaf in _named(dict.fromkeys(rows, "condition"), unpivoted) if leaf.kind == "column"),
    )


def _fields(declaration: StagingDeclaration) -> list[str]:
    """The raw fields that the staging function sees."""
    contract = declaration.landing.contract
    read = [field.name for field in contract.fields() if not field.personal and field.kind not in NESTED]
    read += [PROVENANCE] if declaration.has_provenance else []
    if declaration.unpivot is None:
        return read
    gone = declaration.unpivot.names(read)
    return [*(name for name in read if name not in gone), declaration.unpivot.names_to, declaration.unpivot.values_to]


def _unpivoted(declaration: StagingDeclaration) -> dict[Leaf, list[Leaf]]:
    """The fields that `unpivot` makes -> those that it makes them of; the one that the engine makes -> what it says."""
    landing = declaration.landing.key
    provenance = {Leaf("column", landing, PROVENANCE): [Leaf("provenance")]}
    if declaration.unpivot is None:
        return provenance
    made = (declaration.unpivot.names_to, declaration.unpivot.values_to)
    gone = declaration.unpivot.names(field.name for field in declaration.landing.contract.fields())
    return provenance | {Leaf("column", landing, name): [Leaf("column", landing, one) for one in gone] for name in made}


def _named(leaves: Leaves, unpivoted: dict[Leaf, list[Leaf]]) -> Leaves:
    found: Leaves = {}
    for leaf, how in leaves.items():
        add(found, dict.fromkeys(unpivoted.get(leaf, [leaf]), how), "computed" if leaf in unpivoted else "identity")
    return without_constants(found)


def _frame(table: str, columns: Collection[str]) -> pl.LazyFrame:
    """A frame without rows, which the plan shows by the name of its first column."""
    types = columns if isinstance(columns, dict) else dict.fromkeys(columns, pl.String)
    return pl.LazyFrame(schema={_TABLE + table: pl.Null, **types})


class _Walk:
    """One plan: its nodes by number, their columns, and what decides which rows there are."""

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._plan: Any = frame._ldf.visit()  # noqa: SLF001  the interface for other engines; it has no public name
        self.root: int = self._plan.get_node()

    def node(self, number: int) -> tuple[dict[str, Leaves], set[Leaf]]:
        """The columns of one node of the plan, and the leaves that decide its rows."""
        self._plan.set_node(number)
        node, inputs, names = self._plan.view_current_node(), self._plan.get_inputs(), list(self._plan.get_schema())
        expressions = {each.output_name: each.node for each in self._plan.get_exprs()}
        kind = type(node).__name__
        if kind == "DataFrameScan":
            return _scanned(node.df.columns(), names), set()
        read = [self.node(each) for each in inputs]
        rows = set[Leaf]().union(*(found for _, found in read))
        below = read[0][0] if read else {}
        self._plan.set_node(number)
        if kind == "Join":
            return self._joined(node, read, names)
        if kind in ("Select", "HStack", "GroupBy"):
            for key in node.keys if kind == "GroupBy" else ():
                rows |= self.value(key.node, below, "condition").keys()
            made: dict[str, Leaves] = {}
            for name in sorted(expressions, key=lambda name: not name.startswith(_SHARED)):
                made[name] = self.value(expressions[name], {**made, **below}, "identity")
            made = {**below, **made}
            return {name: made[name] for name in names if name in made}, rows
        if kind == "Filter":
            rows |= self.value(node.predicate.node, below, "condition").keys()
        elif kind in ("Union", "HConcat", "MergeSorted"):
            merged: dict[str, Leaves] = {}
            for columns, _ in read:
                for name, leaves in columns.items():
                    add(merged.setdefault(name, {}), leaves, "identity")
            below = merged
        elif kind not in ("Distinct", "Sort", "Slice", "Cache", "SimpleProjection"):
            everything: Leaves = {_UNKNOWN: "computed"}
            return {name: below.get(name, everything) for name in names}, rows
        return {name: below[name] for name in names if name in below}, rows

    def _joined(
        self, node: Any, read: list[tuple[dict[str, Leaves], set[Leaf]]], names: list[str]
    ) -> tuple[dict[str, Leaves], set[Leaf]]:
        """Values of the right table are found by the keys of both, and by what decides its rows; in an inner join these decide the rows too."""
        (left, left_rows), (right, right_rows) = read
        keys: Leaves = dict.fromkeys(right_rows, "condition")
        for side, columns in ((node.left_on, left), (node.right_on, right)):
            for each in side:
                add(keys, self.value(each.node, columns, "condition"), "condition")
        how, suffix = str(node.options[0]), str(node.options[3])
        found: dict[str, Leaves] = {}
        for name in names:
            if name in left:
                found[name] = left[name]
                continue
            origin = name if name in right else name.removesuffix(suffix)
            found[name] = dict(right.get(origin, {_UNKNOWN: "computed"}))
            add(found[name], keys, "condition")
        return found, left_rows if "Left" in how else left_rows | keys.keys()

    def value(self, number: int, columns: dict[str, Leaves], how: How) -> Leaves:
        """What an expression is made from, if it gets `how` into its column."""
        try:
            expression = self._plan.view_expression(number)
        except NotImplementedError:
            return {_UNKNOWN: "computed"}
        found: Leaves = {}
        kind = type(expression).__name__
        if kind == "Column":
            add(found, columns.get(expression.name, {_UNKNOWN: "computed"}), how)
        elif kind == "Literal":
            found[Leaf("constant")] = how
        elif kind == "Len":
            found[Leaf("row_count")] = how
        else:
            for part, step in _parts(kind, expression):
                add(found, self.value(part, columns, step), how)
        return found


def _scanned(columns: list[str], names: list[str]) -> dict[str, Leaves]:
    table = next((name.removeprefix(_TABLE) for name in columns if name.startswith(_TABLE)), "")
    return {name: {Leaf("column", table, name) if table else Leaf("constant"): "identity"} for name in names}


def _parts(kind: str, expression: Any) -> Iterator[tuple[int, How]]:
    """The parts of an expression, and how the value of each gets into it."""
    if kind == "Ternary":
        yield expression.predicate, "condition"
        yield from ((part, "computed") for part in (expression.truthy, expression.falsy))
    elif kind == "Window":
        yield expression.function, "identity"
        yield from ((part, "condition") for part in expression.partition_by)
    elif kind == "Filter":
        yield expression.input, "identity"
        yield expression.by, "condition"
    elif kind in ("SortBy", "Gather"):
        yield expression.expr, "identity"
        by = expression.by if kind == "SortBy" else [expression.idx]
        yield from ((part, "condition") for part in by)
    elif kind in ("Alias", "Cast", "Sort", "Explode", "Slice"):
        yield expression.expr if hasattr(expression, "expr") else expression.input, "identity"
    elif kind == "BinaryExpr":
        yield from ((part, "computed") for part in (expression.left, expression.right))
    elif kind == "Agg":
        yield from ((part, "aggregated") for part in expression.arguments)
    else:
        yield from ((part, "computed") for part in expression.input)
