"""What is derived from the contracts: dbt's sources and models, and the data dictionary.

Here: the texts, derived from contracts alone; they are committed, and a test fails when they are out of date. Not here: writing the
files (`ops/generate.py`), the contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalunya.contracts.model.columns import PROVENANCE, Column
from catalunya.contracts.model.contract import Contract, LandingContract
from catalunya.io.project_folder import active
from catalunya.io.warehouse.relation import SQL_TYPES

SOURCES = "dbt/models/staging/_sources.yml"
MODELS = "dbt/models/marts/_models.yml"
DICTIONARY = "docs/data-dictionary.md"

_HEADER = "# Generated from the contracts by `make generate`. Do not edit: change the contract.\n"
_LAYERS = {
    "landing": "Raw fields, as the source sends them. Every field is text. Fields marked personal never leave this layer.",
    "staging": "Clean, typed tables, one per source.",
    "marts": "Dimensions, facts and aggregates.",
}

Contracts = Mapping[str, type[Contract]]


def render(contracts: Contracts) -> dict[str, str]:
    """Every derived file: path below the repository -> text. `contracts` are by asset key (`staging.municipalities`)."""
    return {
        SOURCES: dbt_sources_yaml(_of_layer(contracts, "staging")),
        MODELS: dbt_models_yaml(_of_layer(contracts, "marts")),
        DICTIONARY: data_dictionary(contracts),
    }


def dbt_sources_yaml(contracts: Contracts) -> str:
    """The staging tables as dbt sources, by name. On Athena they are in the Glue database of the environment."""
    source = {
        "name": "staging",
        "description": _LAYERS["staging"],
        "schema": f"{{{{ 'staging' if target.name == 'local' else '{active().identifier}_staging_' ~ target.name }}}}",
        "tables": [_table(name, contracts[name]) for name in sorted(contracts)],
    }
    return _yaml({"version": 2, "sources": [source]})


def dbt_models_yaml(contracts: Contracts) -> str:
    """The marts as dbt models, by name: columns, types, and the tests that follow from the contracts."""
    models = [_table(name, contracts[name]) for name in sorted(contracts)]
    return _yaml({"version": 2, "models": models})


def data_dictionary(contracts: Contracts) -> str:
    """All tables and columns, as a page in Markdown."""
    lines = [
        "<!-- Generated from the contracts by `make generate`. Do not edit: change the contract. -->",
        "# Data dictionary",
        "",
        f"Every table and column, by layer. `catalunya show {max(contracts, default='KEY')}` shows the same for one table, with its first rows.",
    ]
    for layer, about in _LAYERS.items():
        tables = _of_layer(contracts, layer)
        if tables:
            lines += ["", f"## {layer}", "", about]
        for name in sorted(tables):
            contract = tables[name]
            rows = _raw_rows(contract) if issubclass(contract, LandingContract) else _rows(contract)
            lines += ["", f"### {layer}.{name}", "", contract.description(), "", *rows]
    return "\n".join(lines) + "\n"


def _table(name: str, contract: type[Contract]) -> dict[str, Any]:
    table: dict[str, Any] = {"name": name, "description": contract.description()}
    key = contract.key()
    if len(key) > 1:
        table["data_tests"] = [{"unique_together": {"arguments": {"columns": list(key)}}}]
    table["columns"] = [_column(column, key) for column in contract.columns()]
    return table


def _column(column: Column, key: tuple[str, ...]) -> dict[str, Any]:
    """dbt's tests of a column. Not its `references`: the engine checks these, and quarantines the rows that break them."""
    declared: dict[str, Any] = {
        "name": column.name,
        "description": column.description,
        "data_type": SQL_TYPES[column.type],
    }
    tests: list[Any] = [] if column.nullable else ["not_null"]
    if column.unique or key == (column.name,):
        tests.append("unique")
    if column.accepted:
        tests.append({"accepted_values": {"arguments": {"values": list(column.accepted)}}})
    if tests:
        declared["data_tests"] = tests
    return declared


def _rows(contract: type[Contract]) -> list[str]:
    """A contract's columns as a Markdown table."""
    rows = ["| column | type | constraints | description | source field |", "| --- | --- | --- | --- | --- |"]
    for column in contract.columns():
        marks = [
            "key" if column.key else "",
            "nullable" if column.nullable else "",
            f"unit: {column.unit}" if column.unit else "",
            f"one of {', '.join(f'`{value}`' for value in column.accepted)}" if column.accepted else "",
            f"references `{column.references}`" if column.references else "",
            "personal" if column.personal else "",
        ]
        cells = [
            f"`{column.name}`",
            column.type,
            "; ".join(filter(None, marks)),
            column.description,
            _origin(column),
        ]
        rows.append(_row(cells))
    return rows


def _origin(column: Column) -> str:
    """The raw field that a column is read from."""
    if column.source == PROVENANCE:
        return "(the dataset that the row was read from)"
    return f"`{column.source}`" if column.source else ""


def _raw_rows(contract: type[LandingContract]) -> list[str]:
    """A source's raw fields as a Markdown table."""
    rows = ["| field | type at the source | constraints | description |", "| --- | --- | --- | --- |"]
    for field in contract.fields():
        marks = "; ".join(filter(None, ["required" if field.required else "", "personal" if field.personal else ""]))
        rows.append(_row([f"`{field.name}`", field.kind or "", marks, field.description]))
    return rows


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _of_layer(contracts: Contracts, layer: str) -> dict[str, type[Contract]]:
    """The contracts of one layer by bare name."""
    return {key.partition(".")[2]: contract for key, contract in contracts.items() if key.partition(".")[0] == layer}


def _yaml(content: dict[str, Any]) -> str:
    import yaml  # installed with dbt, and only needed to generate

    class Dumper(yaml.SafeDumper):
        """Indents lists, and quotes codes made of digits, so that every YAML reader takes them as text."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow, False)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "'" if value.isdigit() else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return _HEADER + yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
