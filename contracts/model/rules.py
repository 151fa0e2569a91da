"""The rules of a contract by name: what `check.py` checks of each row, as people read it.

Here: stable, readable names (`population >= 0`), and which of pandera's rules each one is. Not here: checking (`check.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract

NOT_NULL, UNIQUE = "not_nullable", "field_uniqueness"
"""What pandera calls its own rules."""
_OPERATORS = {
    "greater_than_or_equal_to": (">=", "min_value"),
    "greater_than": (">", "min_value"),
    "less_than_or_equal_to": ("<=", "max_value"),
    "less_than": ("<", "max_value"),
    "equal_to": ("=", "value"),
    "not_equal_to": ("!=", "value"),
    "str_matches": ("matches", "pattern"),
    "str_contains": ("contains", "pattern"),
    "str_startswith": ("starts with", "string"),
    "str_endswith": ("ends with", "string"),
}
_LIMITS = {
    "greater_than_or_equal_to": "at_least",
    "greater_than": "more_than",
    "less_than_or_equal_to": "at_most",
    "less_than": "less_than",
    "str_matches": "pattern",
}
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a contract. `pandera` is how failure cases refer to it, None for a rule that is ours; a rule without a column is about a row."""

    name: str
    column: Column | None
    pandera: str | None


@cache
def rules(contract: type[Contract]) -> tuple[Rule, ...]:
    """All rules that a row has to keep, references excepted."""
    schema, found = contract.to_schema(), []
    for column in contract.columns():
        declared = schema.columns[column.name]
        if column.type != "string":
            found.append(Rule(type_rule(column), column, None))
        if not column.nullable:
            found.append(Rule(f"{column.name} is not null", column, NOT_NULL))
        if declared.unique:
            found.append(Rule(f"{column.name} is unique", column, UNIQUE))
        found += [Rule(f"{column.name} {_said(check)}", column, _of(check)) for check in declared.checks]
    return (*found, *(Rule(f"rows: {check.name}", None, _of(check)) for check in schema.checks))


def type_rule(column: Column) -> str:
    """The rule that a value is one of the column's type."""
    article = "an" if column.type == "integer" else "a"
    return f"{column.name} is {article} {column.type}"


def reference_rule(column: Column, layer: str) -> str:
    """The rule that a value is in the table it references."""
    return f"{column.name} is in {layer}.{(column.references or '').partition('.')[0]}"


def _of(check: Any) -> str:
    return str(check.error or check.name)


def _said(check: Any) -> str:
    known = check.statistics or {}
    if check.name in _OPERATORS and (value := known.get(_OPERATORS[check.name][1])) is not None:
        return f"{_OPERATORS[check.name][0]} {value}"
    if check.name == "in_range":
        return f"is between {known['min_value']} and {known['max_value']}"
    if check.name in ("isin", "notin"):
        values = list(known.get("allowed_values") or known.get("forbidden_values") or ())
        more = f" and {len(values) - _LISTED} more" if len(values) > _LISTED else ""
        return f"is {'not ' * (check.name == 'notin')}one of {', '.join(map(str, values[:_LISTED]))}{more}"
    return f"keeps {check.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a contract allows the values of a column to be, as other standards can say it; None where it sets no limit."""

    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None
    pattern: str | None = None


@cache
def limits(contract: type[Contract]) -> dict[str, Limits]:
    """The limits of each column. Values that a column is one of are in `Column.accepted`."""
    columns = contract.to_schema().columns
    return {column.name: _limits(columns[column.name].checks) for column in contract.columns()}


def _limits(checks: Iterable[Any]) -> Limits:
    found: dict[str, Any] = {}
    for check in checks:
        known = check.statistics or {}
        if check.name == "in_range":
            lower, upper = known.get("include_min", True), known.get("include_max", True)
            found |= {"at_least" if lower else "more_than": known["min_value"]}
            found |= {"at_most" if upper else "less_than": known["max_value"]}
        elif name := _LIMITS.get(str(check.name)):
            found[name] = known[_OPERATORS[check.name][1]]
    return Limits(**found)


def table_rules(contract: type[Contract]) -> dict[str, str]:
    """The rules that are about whole rows: name -> what it says."""
    found = ((str(check.name), getattr(contract, str(check.name), None)) for check in contract.to_schema().checks)
    return {name: " ".join((inspect.getdoc(rule) or name.replace("_", " ")).split()) for name, rule in found}
