"""Checks of a query before it runs: each rule refuses something that Athena refuses and DuckDB or a transpiler accepts.

Here: rules for tokens and for the typed tree. Not here: making DuckDB give Trino's result where both accept the query
(`translate.py`), what happens to tables (`engine.py`). The rules are evidence, not proof: an expression of unknown type passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.tokens import Token, TokenType

from athena.functions import ALLOWED, NO_CALL
from athena.refusals import RefusedError, at

T = exp.DataType.Type
TEXT = {T.VARCHAR, T.CHAR, T.TEXT}
WHOLE = {T.TINYINT, T.SMALLINT, T.INT, T.BIGINT}
FLOATING = {T.DOUBLE, T.FLOAT}
_FAMILIES: dict[str, set[Any]] = {
    "varchar": TEXT,
    "number": WHOLE | FLOATING | {T.DECIMAL},
    "time": {T.DATE, T.TIMESTAMP, T.TIMESTAMPNTZ},
    "boolean": {T.BOOLEAN},
    "interval": {T.INTERVAL},
}
_NAMES = {T.TEXT: "varchar", T.INT: "integer", T.TIMESTAMPNTZ: "timestamp", T.FLOAT: "real"}
_OPERATORS = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}
_TEXT_FUNCTIONS = (exp.Substring, exp.Pad, exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Replace, exp.StrPosition)
_DATE_FUNCTIONS = (exp.Year, exp.Month, exp.Quarter, exp.Day, exp.DayOfWeekIso, exp.DayOfYear, exp.Week)
_NUMBER_FUNCTIONS = (exp.Sum, exp.Avg, exp.Round, exp.Floor, exp.Ceil, exp.Abs, exp.Sqrt)


def check_words(sql: str) -> None:
    """Refuse syntax and functions that Trino does not have. Raises RefusedError."""
    try:
        tokens = sqlglot.tokenize(sql, read="duckdb")
    except SqlglotError:
        tokens = []
    for token in tokens:
        if token.token_type == TokenType.DCOLON:
            raise RefusedError(f"{at(token)}mismatched input ':'. Expecting: <expression>; Trino has cast(), no `::`")
        if token.token_type == TokenType.QUALIFY:
            raise RefusedError(f"{at(token)}mismatched input 'QUALIFY'. Expecting: <EOF>")
    if "`" in _outside_literals(sql):
        raise RefusedError("line 1:1: backquoted identifiers are not supported; use double quotes to quote identifiers")
    try:
        tokens = sqlglot.tokenize(sql, read="trino")
    except SqlglotError as error:
        raise RefusedError(f"line 1:1: {error}") from error
    for before, token, after in zip([None, *tokens], tokens, tokens[1:], strict=False):
        _check_call(before, token, after)


def _check_call(before: Token | None, token: Token, after: Token) -> None:
    if after.token_type != TokenType.L_PAREN or not token.text[:1].isalpha() or token.token_type == TokenType.STRING:
        return
    is_quoted = token.token_type == TokenType.IDENTIFIER
    is_name = before is not None and before.text.lower() in ("as", "into", "with", ".", "recursive")
    name = token.text.lower()
    if not is_quoted and not is_name and name not in ALLOWED and name not in NO_CALL:
        raise RefusedError(f"FUNCTION_NOT_FOUND: {at(token)}Function '{name}' not registered")


def _outside_literals(sql: str) -> str:
    """The text without comments and without quoted text of either kind."""
    tokens = sqlglot.tokenize(sql, read="duckdb") if "`" in sql and "'" not in sql else None
    if tokens is None:
        out, quote = [], ""
        for line in sql.splitlines():
            text = line if quote else line.partition("--")[0]
            for letter in text:
                if quote:
                    quote = "" if letter == quote else quote
                elif letter in "'\"":
                    quote = letter
                else:
                    out.append(letter)
        return "".join(out)
    return sql


def typed(tree: exp.Expression, schema: dict[str, Any], database: str) -> exp.Expression:
    """The tree with every column's table and every expression's type. Raises RefusedError for unknown names: an alias of the same
    SELECT is one, except in ORDER BY."""
    try:
        tree = qualify(
            tree, schema=schema, dialect="athena", catalog="awsdatacatalog", db=database, expand_alias_refs=False
        )
        tree = annotate_types(tree, schema=schema, dialect="athena")
    except SqlglotError as error:
        raise RefusedError(f"COLUMN_NOT_FOUND: {str(error).splitlines()[0]}") from error
    for having in tree.find_all(exp.Having):
        for column in having.find_all(exp.Column):
            if not column.table:
                raise RefusedError(f"COLUMN_NOT_FOUND: {at(column)}Column '{column.name}' cannot be resolved")
    return tree


def check_types(tree: exp.Expression) -> None:
    """Refuse expressions that Trino's types do not allow. Raises RefusedError."""
    for node in tree.walk():
        for kinds, rule in _RULES:
            if isinstance(node, kinds):
                rule(node)


def is_decimal(node: exp.Expression | None) -> bool:
    """Whether an expression is a decimal in Trino: `1.5` is one, and so is arithmetic of decimals and whole numbers."""
    if isinstance(node, exp.Literal):
        return not node.is_string and "." in node.this and "e" not in node.this.lower()
    if isinstance(node, exp.Paren | exp.Neg):
        return is_decimal(node.this)
    if isinstance(node, exp.Cast):
        return bool(node.to.this == T.DECIMAL)
    if isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Mod):
        sides = (node.left, node.right)
        return any(map(is_decimal, sides)) and all(is_decimal(side) or kind(side) in WHOLE for side in sides)
    return node is not None and kind(node) == T.DECIMAL


def kind(node: exp.Expression) -> Any:
    """The type of a typed expression; None if it is unknown or null."""
    found = node.type.this if node.type else None
    return None if found in (T.UNKNOWN, T.NULL) else found


def family(node: exp.Expression) -> str | None:
    """The family of an expression's type. Types of one family can be compared and combined."""
    found = kind(node)
    return next((name for name, kinds in _FAMILIES.items() if found in kinds), None)


def _name(node: exp.Expression) -> str:
    found = kind(node)
    if isinstance(node, exp.Literal) and node.is_string:
        return f"varchar({len(node.this)})"
    return str(_NAMES.get(found, getattr(found, "value", "unknown"))).lower()


def _differ(one: exp.Expression, other: exp.Expression) -> bool:
    return family(one) is not None and family(other) is not None and family(one) != family(other)


def _compared(node: exp.Binary) -> None:
    if _differ(node.left, node.right):
        sign = _OPERATORS.get(type(node), "IS DISTINCT FROM")
        raise RefusedError(
            f"TYPE_MISMATCH: {at(node)}Cannot apply operator: {_name(node.left)} {sign} {_name(node.right)}"
        )


def _among(node: exp.Expression) -> None:
    given = node.expressions if isinstance(node, exp.In) else [node.args["low"], node.args["high"]]
    for value in given:
        if _differ(node.this, value):
            raise RefusedError(
                f"TYPE_MISMATCH: {at(node)}Cannot check if {_name(node.this)} is {node.key.upper()} {_name(value)}"
            )


def _computed(node: exp.Binary) -> None:
    sides, sign = (node.left, node.right), _ARITHMETIC[type(node)]
    if (
        isinstance(node, exp.Div)
        and any(map(is_decimal, sides))
        and all(kind(s) not in FLOATING or is_decimal(s) for s in sides)
    ):
        raise RefusedError(
            f"NOT_SUPPORTED: {at(node)}division of decimals rounds to their scale on Athena: cast to double first"
        )
    families = {family(side) for side in sides} - {None}
    times = families <= {"time", "interval"} and isinstance(node, exp.Add | exp.Sub)
    if not families or families == {"number"} or times or families == {"number", "interval"}:
        return
    raise RefusedError(f"TYPE_MISMATCH: {at(node)}Cannot apply operator: {_name(sides[0])} {sign} {_name(sides[1])}")


def _joined(node: exp.Expression) -> None:
    given = node.flatten() if isinstance(node, exp.DPipe) else node.expressions
    for value in given:
        if family(value) not in (None, "varchar"):
            raise RefusedError(f"TYPE_MISMATCH: {at(node)}Unexpected parameters ({_name(value)}) for function concat")


def _one_type(node: exp.Expression) -> None:
    match node:
        case exp.Case():
            given = [branch.args["true"] for branch in node.args["ifs"]]
            given += [node.args["default"]] if node.args.get("default") else []
            tested = [branch.this for branch in node.args["ifs"]] if node.this else []
            what = "All CASE results"
            if any(_differ(node.this, value) for value in tested):
                raise RefusedError(f"TYPE_MISMATCH: {at(node)}CASE operand type does not match the types of WHEN")
        case exp.If():
            given, what = [node.args["true"], node.args.get("false") or exp.Null()], "All IF results"
        case _:
            given, what = [node.this, *node.expressions], f"All {node.key.upper()} operands"
    known = [value for value in given if family(value)]
    for value in known[1:]:
        if _differ(known[0], value):
            raise RefusedError(
                f"TYPE_MISMATCH: {at(node)}{what} must be the same type or coercible to a common type. "
                f"Cannot find common type between {_name(known[0])} and {_name(value)}"
            )


def _united(node: exp.SetOperation) -> None:
    sides = [node.left.unnest().selects, node.right.unnest().selects]
    if len(sides[0]) != len(sides[1]):
        raise RefusedError(f"TYPE_MISMATCH: {at(node)}UNION query has different number of fields")
    for number, (one, other) in enumerate(zip(*sides, strict=True), 1):
        if _differ(one, other):
            raise RefusedError(
                f"TYPE_MISMATCH: {at(node)}column {number} in UNION query has incompatible types: {_name(one)}, {_name(other)}"
            )


def _true_or_false(node: exp.Expression) -> None:
    condition = node.args.get("on") if isinstance(node, exp.Join) else node.this
    if condition is not None and family(condition) not in (None, "boolean"):
        raise RefusedError(
            f"TYPE_MISMATCH: {at(condition)}{node.key.upper()} clause must evaluate to a boolean: actual type {_name(condition)}"
        )


def _takes(wanted: str) -> Callable[[Any], None]:
    def rule(node: exp.Expression) -> None:
        value = node.args.get("expression") if isinstance(node, exp.Extract) else node.this
        if isinstance(value, exp.Expression) and family(value) not in (None, wanted, "interval"):
            raise RefusedError(
                f"FUNCTION_NOT_FOUND: {at(node)}Unexpected parameters ({_name(value)}) for function {node.sql_name().lower()}"
            )

    return rule


def _average(node: exp.Avg) -> None:
    if is_decimal(node.this):
        raise RefusedError(
            f"NOT_SUPPORTED: {at(node)}avg of decimals rounds to their scale on Athena: cast to double first"
        )


def _shifted(node: exp.Expression) -> None:
    if family(node.this) not in (None, "time"):
        raise RefusedError(
            f"FUNCTION_NOT_FOUND: {at(node)}Unexpected parameters ({_name(node.this)}) for function {node.sql_name().lower()}"
        )
    if isinstance(node, exp.DateDiff) and family(node.expression) not in (None, "time"):
        raise RefusedError(
            f"FUNCTION_NOT_FOUND: {at(node)}Unexpected parameters ({_name(node.expression)}) for function date_diff"
        )


def _shown(node: exp.Cast) -> None:
    shown = kind(node.this)
    if (
        node.to.this in TEXT
        and (shown in FLOATING or shown in (T.TIMESTAMP, T.TIMESTAMPNTZ))
        and not is_decimal(node.this)
    ):
        raise RefusedError(
            f"NOT_SUPPORTED: {at(node)}cast({_name(node.this)} as varchar) reads differently on Athena (1.0E0) and on DuckDB (1.0): "
            "a mart must not cast it to text"
        )


_Rules = Iterable[tuple[tuple[type[Any], ...], Callable[[Any], None]]]
_RULES: _Rules = (
    ((*_OPERATORS, exp.NullSafeEQ, exp.NullSafeNEQ), _compared),
    ((exp.In, exp.Between), _among),
    (tuple(_ARITHMETIC), _computed),
    ((exp.DPipe, exp.Concat), _joined),
    ((exp.Case, exp.Coalesce, exp.Greatest, exp.Least), _one_type),
    ((exp.SetOperation,), _united),
    ((exp.Where, exp.Having, exp.Join), _true_or_false),
    (_TEXT_FUNCTIONS, _takes("varchar")),
    ((*_DATE_FUNCTIONS, exp.Extract), _takes("time")),
    (_NUMBER_FUNCTIONS, _takes("number")),
    ((exp.DateAdd, exp.DateDiff), _shifted),
    ((exp.Avg,), _average),
    ((exp.Cast, exp.TryCast), _shown),
)
