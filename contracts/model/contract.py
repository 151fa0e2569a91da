"""The vocabulary of contracts: a pandera model that carries all that is known of a table and its columns.

Here: the base classes and the two ways to declare a column.
Not here: applying a contract to rows (`check.py`), what is derived for others (`derive.py`), the contracts
themselves (one module per source, `marts.py`).
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, get_args

import pandera.polars as pa
import polars as pl

from catalunya.contracts.model.columns import Column, LogicalType, RawField
from catalunya.io.errors import DeclarationError

_PARSING = threading.Lock()
"""Python 3.11 counts the depth of a syntax tree for all threads together: two that parse at once may both fail."""

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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract allows of the table as a whole.

    - `drift`: what a column the source adds or retypes leads to: `evolve` records and warns, `freeze` fails, `discard` is silent.
    - `tolerate`: the share of rows (0 to 1) that may be quarantined before the materialization fails.
    - `max_shrink`: the share of rows (0 to 1) the table may lose from one materialization to the next.
    - `version`: raised, it declares that a change which breaks readers is meant (`compatibility.py` says which do).
    """

    drift: Drift = "evolve"
    tolerate: float = 0.0
    max_shrink: float = 0.2
    version: int = 1


class Contract(pa.DataFrameModel):
    """The promise of one table. Its terms are class options: `class X(Contract, tolerate=0.02)`."""

    def __init_subclass__(
        cls,
        *,
        drift: Drift = "evolve",
        tolerate: float = 0.0,
        max_shrink: float = 0.2,
        version: int = 1,
        **kwargs: Any,
    ) -> None:
        if drift not in get_args(Drift) or not 0 <= tolerate <= 1 or not 0 <= max_shrink <= 1 or version < 1:
            raise DeclarationError(
                f"contract {cls.__name__}: drift is one of {', '.join(get_args(Drift))}, tolerate and max_shrink lie in 0..1, "
                f"version is 1 or more; found {drift!r}, {tolerate}, {max_shrink}, {version}"
            )
        cls._terms = Terms(drift, tolerate, max_shrink, version)
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]

    _terms: ClassVar[Terms] = Terms()

    @classmethod
    def terms(cls) -> Terms:
        """What is allowed of the table as a whole."""
        return cls._terms

    @classmethod
    @cache
    def columns(cls) -> tuple[Column, ...]:
        """The columns in declared order. Raises DeclarationError on a type no engine of ours has."""
        return tuple(_column(cls, name, column) for name, column in cls.to_schema().columns.items())

    @classmethod
    def key(cls) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(column.name for column in cls.columns() if column.key)

    @classmethod
    def period(cls) -> str | None:
        """The column that says which time a row is of, where there is one."""
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
    def version(cls) -> str:
        """A hash of the declaration; comments and layout do not count. (The number that a person raises is in the terms.)"""
        return source_hash(cls)


class LandingContract(Contract):
    """The raw fields a source promises. Values are text; the source's own type is checked where it is given."""

    @classmethod
    @cache
    def fields(cls) -> tuple[RawField, ...]:
        """The raw fields in declared order."""
        schema = cls.to_schema()
        return tuple(
            RawField(name, column.description or "", **(column.metadata or {}))
            for name, column in schema.columns.items()
        )


def raw(description: str, *, kind: str | None = None, required: bool = False, personal: bool = False) -> Any:
    """Declare a raw field of a landing contract. A required one that is missing at the source fails the extraction."""
    return pa.Field(
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
    **checks: Any,
) -> Any:
    """Declare a column; `checks` are pandera's (`ge=0`, `str_matches=…`, `isin=[…]`, `unique=True`).

    The digits (`\\d`) of a pattern are ASCII's: to polars those of every script are digits, and they look like a code's.
    """
    if "str_matches" in checks:
        checks["str_matches"] = checks["str_matches"].replace(r"\d", "[0-9]")
    metadata = {"source": source, "key": key, "unit": unit, "personal": personal, "references": references}
    metadata["period"] = period
    return pa.Field(description=description, nullable=nullable and not key, metadata=metadata, **checks)


def source_hash(declared: object) -> str:
    """SHA-256 (16 hex digits) of the syntax tree of a class, function or module, docstrings left out.

    The same under every Python: what makes a table and what looks whether it is up to date need not run on the same one.
    """
    with _PARSING:  # to find a class, inspect parses too
        tree = ast.parse(textwrap.dedent(inspect.getsource(declared)))  # type: ignore[arg-type]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(_syntax(tree).encode()).hexdigest()[:16]


def _syntax(node: object) -> str:
    """A syntax tree as text. Not `ast.dump`: what that says of empty fields, and which there are, changes with Python."""
    if isinstance(node, list):
        return f"[{','.join(map(_syntax, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    said = ((name, value) for name, value in ast.iter_fields(node) if value or not isinstance(value, list | None))
    return f"{type(node).__name__}({','.join(f'{name}={_syntax(value)}' for name, value in said)})"


def _column(contract: type[Contract], name: str, declared: Any) -> Column:
    dtype = declared.dtype.type if declared.dtype else None
    if dtype not in LOGICAL_TYPES:
        raise DeclarationError(
            f"contract {contract.__name__}: column {name} has type {dtype}; the types that every engine here has are "
            f"{', '.join(str(known) for known in LOGICAL_TYPES)}"
        )
    if not declared.description:
        raise DeclarationError(f"contract {contract.__name__}: column {name} has no description; say what it holds")
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
