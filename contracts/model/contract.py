"""What a contract is made of: a pandera model that carries everything declared about a table and its columns.

Here: the base classes, and the two functions that declare a column. Not here: applying a contract to rows (`check.py`), files
generated from contracts (`derive.py`), the contracts themselves (one module per source, and `marts.py`).
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import textwrap
import threading
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.columns import PROVENANCE, Column, LogicalType, RawField
from catalunya.contracts.model.values import ISO_DAY, Locale
from catalunya.io.errors import DeclarationError
from catalunya.io.safe_text import few, is_pattern

_PARSING = threading.Lock()
"""Python 3.11 tracks the depth of a syntax tree across threads: when two parse at once, both may fail."""

Drift = Literal["evolve", "freeze", "discard"]

LOGICAL_TYPES: dict[pl.DataType, LogicalType] = {
    pl.String(): "string",
    pl.Int32(): "integer",
    pl.Int64(): "bigint",
    pl.Float64(): "double",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    pl.Datetime("ms"): "timestamp",  # Hive keeps milliseconds; UTC, without a zone
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The table-level settings of a contract; shares are from 0 to 1.

    - `drift`: what happens when the source adds or retypes a field: `evolve` records it and warns, `freeze` fails, `discard` ignores it.
    - `tolerate`: the share of rows that may be quarantined before the materialization fails.
    - `max_shrink`: the share of the published rows (by key) that one materialization may remove.
    - `max_growth`: the rows it may add, as a share of the published ones (1.0: as many again).
    - `max_change`: for each column, the share of the rows that stay whose value it may change; a column may have its own.
    - `max_loss`: for each column, the share of its known values that may become unknown.
    - `latest_by`: of several rows with one key, the one with the greatest value of this column is right; without it, they contradict.
    - `decimal`, `thousands`, `date`: how the source's text writes numbers and days (`,`, `.`, `%d/%m/%Y`); without the first two, a text
      such as `1.000` is no number. Fields that the source declares as numbers or dates are not concerned.
    - `version`: raise it to declare a breaking change (`compatibility.py` has the rules).
    """

    drift: Drift = "evolve"
    tolerate: float = 0.0
    max_shrink: float = 0.2
    max_growth: float = 1.0
    max_change: float = 0.3
    max_loss: float = 0.2
    latest_by: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    date: str = ISO_DAY
    version: int = 1

    def __post_init__(self) -> None:
        shares = {name: getattr(self, name) for name in ("tolerate", "max_shrink", "max_change", "max_loss")}
        wrong = [f"{name} between 0 and 1, found {share}" for name, share in shares.items() if not 0 <= share <= 1]
        wrong += [f"max_growth of 0 or more, found {self.max_growth}"] if not self.max_growth >= 0 else []
        wrong += (
            [f"drift as one of {', '.join(get_args(Drift))}, found {self.drift!r}"]
            if self.drift not in get_args(Drift)
            else []
        )
        wrong += [f"version 1 or more, found {self.version}"] if self.version < 1 else []
        wrong += self.locale.mistakes()
        if wrong:
            raise DeclarationError(f"expected {'; '.join(wrong)}")

    @property
    def locale(self) -> Locale:
        """How the source's text writes numbers and days."""
        return Locale(self.decimal, self.thousands, self.date)


_TERMS = frozenset(field.name for field in fields(Terms))


class Contract(pa.DataFrameModel):
    """The contract of one table. Its terms are class options: `class X(Contract, tolerate=0.02)`; a subclass inherits none."""

    def __init_subclass__(cls, **options: Any) -> None:
        try:
            cls._terms = replace(Terms(), **{name: options.pop(name) for name in _TERMS & options.keys()})
        except DeclarationError as error:
            raise DeclarationError(f"contract {cls.__name__}: {error}") from None
        super().__init_subclass__(**options)  # type: ignore[no-untyped-call]

    _terms: ClassVar[Terms] = Terms()

    @classmethod
    def to_schema(cls) -> pa.DataFrameSchema:
        """pandera's schema. A moment has milliseconds: plain `datetime` means microseconds to pandera."""
        schema = super().to_schema()
        for declared in schema.columns.values():
            if (
                declared.dtype
                and isinstance(declared.dtype.type, pl.Datetime)
                and declared.dtype.type.time_zone is None
            ):
                declared.dtype = pl.Datetime("ms")
        return schema

    @classmethod
    def terms(cls) -> Terms:
        """The table-level settings."""
        return cls._terms

    @classmethod
    @cache
    def columns(cls) -> tuple[Column, ...]:
        """The columns in declared order. Raises DeclarationError on a type that not every engine has, and on a name that cannot be read."""
        found = tuple(_column(cls, name, column) for name, column in cls.to_schema().columns.items())
        if patterns := [name for column in found for name in (column.name, column.source) if name and is_pattern(name)]:
            raise DeclarationError(
                f"contract {cls.__name__}: expected columns and fields with names, found {few(patterns)}, which polars takes for a pattern of "
                "names; leave the field in landing, or give the columns of a file other names (`names=`)"
            )
        names = {column.name for column in found}
        if wrong := [c for c in found if (c.classifies not in names if c.classifies else c.otherwise)]:
            raise DeclarationError(
                f"contract {cls.__name__}: expected column {wrong[0].name} to classify another column, found {wrong[0].classifies}"
            )
        return found

    @classmethod
    def key(cls) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(column.name for column in cls.columns() if column.key)

    @classmethod
    def period(cls) -> str | None:
        """The column with the period a row belongs to, if the table has one."""
        return next((column.name for column in cls.columns() if column.period), None)

    @classmethod
    def polars_schema(cls) -> dict[str, pl.DataType]:
        """Column name -> polars type, in declared order."""
        types = {logical: dtype for dtype, logical in LOGICAL_TYPES.items()}
        return {column.name: types[column.type] for column in cls.columns()}

    @classmethod
    def description(cls) -> str:
        """The contract's docstring on one line."""
        return " ".join((cls.__doc__ or "").split())

    @classmethod
    @cache
    def version(cls) -> str:
        """A hash of the declaration, without comments and layout. (The version number that a person raises is in the terms.)"""
        return source_hash(cls)


class LandingContract(Contract):
    """The raw fields expected of a source. Values are text; the type that the source declares is checked where `kind` is given."""

    @classmethod
    @cache
    def fields(cls) -> tuple[RawField, ...]:
        """The raw fields in declared order."""
        schema = cls.to_schema()
        return tuple(
            RawField(name, column.description or "", **(column.metadata or {}))
            for name, column in schema.columns.items()
        )


def raw(
    description: str,
    *,
    kind: str | None = None,
    required: bool = False,
    personal: bool = False,
    alias: str | None = None,
) -> Any:
    """Declare a raw field of a landing contract. The extraction fails if the source lacks a required one.

    `alias`: the field's name at the source, where it cannot be the attribute's ("Nom Barri", "description").
    """
    return pa.Field(
        alias=alias,
        description=description,
        nullable=not required,
        metadata={"kind": kind, "required": required, "personal": personal},
    )


def column(
    description: str,
    *,
    source: str | None = None,
    key: bool = False,
    nullable: bool = False,
    unit: str | None = None,
    personal: bool = False,
    references: str | None = None,
    period: bool = False,
    max_change: float | None = None,
    classifies: str | None = None,
    otherwise: str | None = None,
    alias: str | None = None,
    **checks: Any,
) -> Any:
    """Declare a column. `references`: the `table.column` of the same layer that has its values; the table must read it, or be it.
    `max_change` is its own guard, in place of the contract's. `classifies` names the column it is derived from by rules that may not
    know every name, `otherwise` is the value for these. `alias`: the column's name, where a contract has an attribute of that name.
    A column with `source=PROVENANCE` says which dataset a row is from, and no row may change that unless someone accepts it (`max_change` 0).
    `checks` are pandera's (`ge=0`, `str_matches=…`, `isin=[…]`, `unique=True`).

    `\\d` in a pattern matches ASCII digits only: polars would accept the digits of every script, which look like valid codes.
    """
    if "str_matches" in checks:
        checks["str_matches"] = checks["str_matches"].replace(r"\d", "[0-9]")
    if source == PROVENANCE and max_change is None:
        max_change = 0.0
    metadata: dict[str, object] = {
        "source": source,
        "key": key,
        "unit": unit,
        "personal": personal,
        "references": references,
        "period": period,
        "max_change": max_change,
        "classifies": classifies,
        "otherwise": otherwise,
    }
    return pa.Field(alias=alias, description=description, nullable=nullable and not key, metadata=metadata, **checks)


def source_hash(declared: object) -> str:
    """SHA-256 (16 hex digits) of the syntax tree of a class, function or module, without docstrings.

    The same on every Python version: the process that makes a table and the one that checks whether it is stale may run different ones.
    """
    with _PARSING:
        return _syntax_hash(textwrap.dedent(_source(declared)))


def _source(declared: Any) -> str:
    """The text of a class, function or module. To find a class, inspect.getsource parses its whole file: six hundred times for a file of six
    hundred contracts, so a class that is declared once in its file is found here."""
    file = inspect.getsourcefile(declared) if isinstance(declared, type) else None
    if file:
        linecache.checkcache(file)
        lines = linecache.getlines(file)
        if len(places := _classes("".join(lines)).get(declared.__qualname__, [])) == 1:
            return "".join(lines[places[0]])
    return inspect.getsource(declared)


@cache
def _classes(source: str) -> dict[str, list[slice]]:
    """The lines of each class of a file, by its qualified name."""
    found: dict[str, list[slice]] = {}

    def look(node: ast.AST, within: str) -> None:
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.ClassDef):
                first = min([each.lineno, *(decorator.lineno for decorator in each.decorator_list)])
                found.setdefault(within + each.name, []).append(slice(first - 1, each.end_lineno))
            inner = f"{within}{each.name}." if isinstance(each, ast.ClassDef | ast.FunctionDef) else within
            look(each, f"{inner}<locals>." if isinstance(each, ast.FunctionDef) else inner)

    look(ast.parse(source), "")
    return found


@cache
def _syntax_hash(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(_syntax(tree).encode()).hexdigest()[:16]


def _syntax(node: object) -> str:
    """A syntax tree as text. Not `ast.dump`: its output for empty fields, and the fields themselves, differ between Python versions."""
    if isinstance(node, list):
        return f"[{','.join(map(_syntax, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value or not isinstance(value, list | None))
    return f"{type(node).__name__}({','.join(f'{name}={_syntax(value)}' for name, value in fields)})"


def _column(contract: type[Contract], name: str, declared: Any) -> Column:
    dtype = declared.dtype.type if declared.dtype else None
    if dtype not in LOGICAL_TYPES:
        raise DeclarationError(
            f"contract {contract.__name__}: column {name} has type {dtype}; use one of the types that every engine has: "
            f"{', '.join(str(known) for known in LOGICAL_TYPES)}"
        )
    if not declared.description:
        raise DeclarationError(f"contract {contract.__name__}: column {name} has no description; add one")
    accepted = next((check.statistics["allowed_values"] for check in declared.checks if check.name == "isin"), ())
    key = bool((declared.metadata or {}).get("key"))
    return Column(
        name=name,
        type=LOGICAL_TYPES[dtype],
        description=declared.description,
        nullable=declared.nullable,
        unique=declared.unique,
        accepted=tuple(sorted(map(str, accepted))),
        **{"key": key, **{k: v for k, v in (declared.metadata or {}).items() if k != "key"}},
    )
