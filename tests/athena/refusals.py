"""What Athena refuses, in its words: an error that ends a query, and how its place in the text is told."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """A query that Athena would not run. The text is what Athena gives as the reason."""


class StoppedError(RefusedError):
    """A query that was stopped because it scanned more than its work group lets it: cancelled, and not failed."""


def at(node: Any) -> str:
    """`line 1:8: ` for a token or a node that knows its place, else nothing."""
    meta = getattr(node, "meta", None) or {}
    line, column = meta.get("line"), meta.get("col")
    if line is None and hasattr(node, "token_type"):
        line, column = node.line, node.col - len(node.text)
    if line is None and hasattr(node, "find_all"):
        inner = next((found for found in node.walk() if found is not node and "line" in (found._meta or {})), None)
        if inner is not None:
            line, column = inner.meta["line"], inner.meta["col"]
    return f"line {line}:{max(1, (column or 0))}: " if line is not None else ""
