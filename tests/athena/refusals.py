"""Athena's errors: the exceptions that end a query, and the position in the text as Athena writes it."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """A query that Athena would not run. The text is Athena's message."""


class StoppedError(RefusedError):
    """A query that was stopped because it scanned more than its work group allows: its state is cancelled, not failed."""


def at(node: Any) -> str:
    """`line 1:8: ` for a token or a node with a position, else an empty text."""
    meta = getattr(node, "meta", None) or {}
    line, column = meta.get("line"), meta.get("col")
    if line is None and hasattr(node, "token_type"):
        line, column = node.line, node.col - len(node.text)
    if line is None and hasattr(node, "find_all"):
        inner = next((found for found in node.walk() if found is not node and "line" in (found._meta or {})), None)
        if inner is not None:
            line, column = inner.meta["line"], inner.meta["col"]
    return f"line {line}:{max(1, (column or 0))}: " if line is not None else ""
