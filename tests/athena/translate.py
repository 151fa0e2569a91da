"""A typed query for Athena as SQL for DuckDB that gives Trino's result, where both accept the same text with different results.

Here: the corrections (each has a test) that sqlglot's transpiler does not make. Not here: refusals (`strict.py`).
"""

from __future__ import annotations

from sqlglot import exp

from athena.strict import FLOATING, WHOLE, T, kind


def to_duckdb(tree: exp.Expression) -> str:
    """The SQL for DuckDB of a typed query. Changes the tree."""
    root = exp.Paren(this=tree)
    for node in reversed(list(root.this.walk())):  # innermost first: a correction uses corrected operands
        corrected = _correct(node)
        if corrected is not node:
            corrected.type = node.type
            node.replace(corrected)
    return str(root.this.sql(dialect="duckdb"))


def _correct(node: exp.Expression) -> exp.Expression:  # noqa: PLR0911  one case per correction
    match node:
        case exp.Window() if isinstance(node.this, exp.Sum) and kind(node.this.this) in WHOLE:
            return exp.cast(node.copy(), T.BIGINT)  # DuckDB sums to HUGEINT
        case exp.Sum() if kind(node.this) in WHOLE and not isinstance(node.parent, exp.Window):
            return exp.cast(node.copy(), T.BIGINT)
        case exp.DateAdd() if kind(node.this) == T.DATE:
            return exp.cast(node.copy(), T.DATE)  # DuckDB makes a timestamp of a date and an interval
        case exp.DateDiff():
            # Trino counts whole units, DuckDB's date_diff counts boundaries; its date_sub counts whole units.
            unit = exp.Literal.string(node.text("unit").lower() or "day")
            return exp.Anonymous(this="date_sub", expressions=[unit, node.expression.copy(), node.this.copy()])
        case exp.Cast() if (
            kind(node.this) in FLOATING and node.to.this in WHOLE and not isinstance(node.this, exp.Round)
        ):
            # Trino rounds halves away from zero, DuckDB's cast rounds them to even.
            return type(node)(this=exp.Round(this=node.this.copy()), to=node.to.copy())
        case exp.Div() | exp.Mod() if kind(node.left) in WHOLE and kind(node.right) in WHOLE:
            return _guarded(node)
        case exp.Normalize() if node.text("form").upper() in ("", "NFC"):
            return exp.Anonymous(this="nfc_normalize", expressions=[node.this.copy()])
        case exp.Anonymous(this=name) if str(name).lower() == "to_milliseconds":
            return _milliseconds(node)
    return node


def _guarded(node: exp.Expression) -> exp.Expression:
    """Division by zero is an error in Trino and null in DuckDB."""
    divisor = node.right
    if isinstance(divisor, exp.Literal | exp.Case | exp.Nullif) or (
        isinstance(divisor, exp.Paren) and isinstance(divisor.this, exp.Literal)
    ):
        return node
    failing = exp.cast(exp.Anonymous(this="error", expressions=[exp.Literal.string("DIVISION_BY_ZERO")]), T.BIGINT)
    checked = exp.Case(
        ifs=[exp.If(this=exp.EQ(this=divisor.copy(), expression=exp.Literal.number(0)), true=failing)],
        default=divisor.copy(),
    )
    checked.type = divisor.type
    node.set("expression", checked)
    return node


def _milliseconds(node: exp.Expression) -> exp.Expression:
    """`date - date` is an interval in Trino, a number of days in DuckDB."""
    difference = node.expressions[0].unnest()
    if isinstance(difference, exp.Sub):
        sides = [exp.cast(side.copy(), T.TIMESTAMP) for side in (difference.right, difference.left)]
        return exp.Anonymous(this="date_sub", expressions=[exp.Literal.string("millisecond"), *sides])
    return node
