"""A new mart: SQL that reads its inputs, the contract that follows from what DuckDB says of it, and a unit test, to be changed by a person.

Here: the skeleton, which can be built as it is. Not here: putting files in place (`files.py`), marts themselves (`io/warehouse`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.contracts.model.columns import Column
from catalunya.io.errors import UsageError
from catalunya.io.project_folder import active
from catalunya.io.warehouse.duckdb import connect
from catalunya.io.warehouse.relation import Relation
from catalunya.ops.scaffold import code, files
from catalunya.ops.scaffold.names import TABLE_LONGEST, attribute_names, class_name

CONTRACTS = "contracts/marts.py"
_PYTHON = {
    "VARCHAR": "str",
    "BIGINT": "int",
    "DOUBLE": "float",
    "BOOLEAN": "bool",
    "DATE": "date",
    "TIMESTAMP": "datetime",
}
_EXAMPLES: dict[str, Any] = {
    "str": "a",
    "int": 1,
    "float": 1.5,
    "bool": True,
    "date": "2024-01-01",
    "datetime": "2024-01-01 12:00:00",
}
_NEW_CONTRACTS = '''"""Contracts of the marts: one class per dbt model, named like the model."""

from __future__ import annotations

from catalunya.contracts.model.contract import Contract, column
'''
_NEW_ASSETS = '''"""The marts: each is one dbt model (`dbt/models/marts/…/<name>.sql`) and one contract of the same name."""

from __future__ import annotations

from catalunya.assets.graph.spec import Marts
from {package}.contracts import marts as contracts

marts = Marts(contracts)
'''


@dataclass(frozen=True, slots=True)
class Selected:
    """A column of the mart: where it comes from, and what DuckDB says it is."""

    table: Asset
    column: Column
    name: str
    is_joined: bool
    """Whether its table is joined, so that there may be no row of it."""
    type: str = ""

    @property
    def sql(self) -> str:
        source = f"{self.table.name}.{self.column.name}"
        if self.column.type == "integer":  # contracts have one type of whole numbers
            return f"cast({source} as bigint) as {self.name}"
        return source if self.name == self.column.name else f"{source} as {self.name}"


@dataclass(frozen=True, slots=True)
class NewMart:
    """What was written, and what a person has to do."""

    key: str
    files: Sequence[str]
    to_decide: Sequence[str]


def new_mart(name: str, reads: Sequence[str], graph: AssetGraph) -> NewMart:
    """Write the SQL, contract and unit test of a mart. Raises UsageError for a name or an input that cannot be, ConfigurationError if it
    cannot be generated from; then nothing is written."""
    folder = files.root()
    _check_name(name, graph)
    tables = [_input(key, graph) for key in dict.fromkeys(reads)]
    if not tables:
        raise UsageError(
            "expected tables to read, found none; name them with --reads staging.population,marts.dim_time"
        )
    joins = {table.key: _join(table, tables[0]) for table in tables[1:]}
    columns = _typed(_selected(tables, joins), tables, joins)
    base = f"dbt/models/marts/{Asset(key=f'marts.{name}', description='', columns=(), code_version='').prefix.split('/')[1]}/{name}"
    contracts = folder / CONTRACTS
    known = contracts.read_text(encoding="utf-8") if contracts.exists() else _NEW_CONTRACTS
    new = {
        f"{base}.sql": _sql(columns, tables, joins).encode(),
        f"{base}_unit_tests.yml": _unit_test(name, columns, tables, joins).encode(),
    }
    text = code.formatted(_with_contract(known, name, columns, tables)).encode()
    edited = {CONTRACTS: text} if contracts.exists() else {}
    if not contracts.exists():
        new[CONTRACTS] = text
        if not (folder / "assets/marts.py").exists():
            new["assets/marts.py"] = _NEW_ASSETS.format(package=active().package).encode()
    is_keyed = any(column.key for column in tables[0].columns)
    decide = [
        f"what one row of {name} is: {f'the key is that of {tables[0].key}' if is_keyed else f'{tables[0].key} has no key, declare one'}, and "
        "the description says nothing yet"
    ]
    decide += [
        f"how {key} is joined: it has no key whose columns are in {tables[0].key}"
        for key, on in joins.items()
        if not on
    ]
    return NewMart(f"marts.{name}", files.put(folder, new, edited), decide)


def _check_name(name: str, graph: AssetGraph) -> None:
    if not re.fullmatch(rf"(dim|fact|agg)_[a-z0-9_]{{1,{TABLE_LONGEST}}}", name):
        raise UsageError(f"expected a name like dim_…, fact_… or agg_…, in snake_case, found {name!r}; give another")
    if f"marts.{name}" in graph:
        raise UsageError(f"marts.{name} is declared already; give another name")


def _input(key: str, graph: AssetGraph) -> Asset:
    asset = graph[key]
    if asset.layer is Layer.LANDING:
        raise UsageError(f"{key} holds raw pages, which marts do not read; name staging.{asset.name}")
    return asset


def _join(table: Asset, first: Asset) -> tuple[str, ...]:
    """The columns to join by: the key of the table, if the first one has all of its columns."""
    names = {column.name for column in first.columns}
    return table.key_columns if table.key_columns and set(table.key_columns) <= names else ()


def _selected(tables: Sequence[Asset], joins: dict[str, tuple[str, ...]]) -> list[Selected]:
    """All columns of the inputs, each under a name of its own, without those that a join makes equal."""
    found: list[Selected] = []
    taken: set[str] = set()
    for table in tables:
        for column in table.columns:
            if column.name in joins.get(table.key, ()) or column.personal:
                continue
            name = column.name if column.name not in taken else f"{table.name}_{column.name}"
            if name not in taken:
                taken.add(name)
                found.append(Selected(table, column, name, is_joined=table.key in joins))
    return found


def _typed(columns: list[Selected], tables: Sequence[Asset], joins: dict[str, tuple[str, ...]]) -> list[Selected]:
    """The columns with the types that DuckDB says they have."""
    relations = [Relation(str(t.layer), t.name, {c.name: c.type for c in t.columns}, files=()) for t in tables]
    connection = connect(relations)
    try:
        query = _select(columns, tables, joins, {table.key: table.key for table in tables})
        rows = connection.execute(f"describe {query}").fetchall()
    finally:
        connection.close()
    types = {row[0]: row[1] for row in rows}
    return [Selected(each.table, each.column, each.name, each.is_joined, _PYTHON[types[each.name]]) for each in columns]


def _sql(columns: Sequence[Selected], tables: Sequence[Asset], joins: dict[str, tuple[str, ...]]) -> str:
    """The model: dbt's own calls for the inputs."""
    calls = {table.key: f"{{{{ {_call(table)} }}}}" for table in tables}
    return _select(columns, tables, joins, calls) + "\n"


def _call(table: Asset) -> str:
    return f"ref('{table.name}')" if table.layer is Layer.MARTS else f"source('staging', '{table.name}')"


def _select(
    columns: Sequence[Selected], tables: Sequence[Asset], joins: dict[str, tuple[str, ...]], calls: dict[str, str]
) -> str:
    first, *others = tables
    lines = ["select", ",\n".join(f"    {each.sql}" for each in columns), f"from {calls[first.key]} as {first.name}"]
    for table in others:
        on = [f"{first.name}.{name} = {table.name}.{name}" for name in joins[table.key]]
        lines += [
            f"left join {calls[table.key]} as {table.name}",
            f"    on {' and '.join(on) or 'false -- to decide: no key of it is in the first table'}",
        ]
    return "\n".join(lines)


def _with_contract(text: str, name: str, columns: Sequence[Selected], tables: Sequence[Asset]) -> str:
    """The module of contracts with one class more, and what that needs imported."""
    first = tables[0]
    lines = [f"class {class_name(name)}(Contract):", f'    """{_described(tables)}"""', ""]
    for each, attribute in zip(columns, attribute_names([each.name for each in columns], code.RESERVED), strict=True):
        is_key = each.table is first and each.column.key
        options = ["key=True"] if is_key else ["nullable=True"] if each.column.nullable or each.is_joined else []
        options += [f"unit={each.column.unit!r}"] if each.column.unit else []
        options += [f"alias={each.name!r}"] if attribute != each.name else []
        lines.append(
            f"    {attribute}: {each.type} = column({', '.join([code.text_literal(each.column.description), *options])})"
        )
    if wanted := {each.type for each in columns} & {"date", "datetime"}:
        text = _importing(text, wanted)
    return f"{text.rstrip()}\n\n\n" + "\n".join(lines) + "\n"


def _described(tables: Sequence[Asset]) -> str:
    first, *others = tables
    beside = f", with {', '.join(table.key for table in others)} beside it" if others else ""
    return f"To describe: one row per row of {first.key}{beside}."


def _importing(text: str, wanted: set[str]) -> str:
    """The module with these names of `datetime` imported."""
    found = re.search(r"^from datetime import ([\w, ]+)$", text, re.MULTILINE)
    if found:
        names = sorted({*re.split(r", *", found[1]), *wanted})
        return text[: found.start()] + f"from datetime import {', '.join(names)}" + text[found.end() :]
    line = "from __future__ import annotations\n"
    return text.replace(line, f"{line}\nfrom datetime import {', '.join(sorted(wanted))}\n", 1)


def _unit_test(
    name: str, columns: Sequence[Selected], tables: Sequence[Asset], joins: dict[str, tuple[str, ...]]
) -> str:
    """A unit test with one row in each input and the row that follows: an example to change, which passes."""

    def example(table: Asset, column: Column) -> Any:
        if table.key in joins and column.name in joins[table.key]:
            column = next(each for each in tables[0].columns if each.name == column.name)
        return _EXAMPLES[_logical(column)]

    given = [
        f"      - input: {_call(table)}\n        rows:\n          - {_row({c.name: example(table, c) for c in table.columns if not c.personal})}"
        for table in tables
    ]
    unjoined = {key for key, on in joins.items() if not on}
    expected = {each.name: None if each.table.key in unjoined else example(each.table, each.column) for each in columns}
    return "\n".join(
        [
            "version: 2",
            "",
            "unit_tests:",
            f"  - name: {name}_has_a_row_for_each_row_of_{tables[0].name}",
            f"    model: {name}",
            "    given:",
            *given,
            "    expect:",
            "      rows:",
            f"        - {_row(expected)}",
            "",
        ]
    )


def _logical(column: Column) -> str:
    return {
        "string": "str",
        "integer": "int",
        "bigint": "int",
        "double": "float",
        "boolean": "bool",
        "date": "date",
        "timestamp": "datetime",
    }[column.type]


def _row(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items()) + "}"
