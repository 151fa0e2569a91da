"""The part of SoQL that the mock understands, and how the portal refuses the rest: two shapes of error bodies.

From a query string to a Query; answering it is in pages.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from catalunya.io.mock.tables import SYSTEM_FIELDS

DEFAULT_LIMIT = 1000
_FIELD = r"[:@a-z_][a-z0-9_:@]*"
_IGNORED = {"$$app_token", "$$exclude_system_fields", "$$read_from_nbe", "$$version"}
_COUNT = re.compile(r"count\s*\(\s*(?:\*|1)\s*\)(?:\s+as\s+`?([a-z_][a-z0-9_]*)`?)?", re.IGNORECASE)


class RefusedQueryError(Exception):
    """Not an error of ours: what the portal answers, with status 400, to a query that it cannot take."""

    def __init__(self, body: dict[str, object]) -> None:
        super().__init__(str(body.get("message")))
        self.body = body


@dataclass(frozen=True)
class Query:
    """What is asked for. `fields` is None for all of the dataset's columns; `count` names the column of a count."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    order: tuple[tuple[str, bool], ...] = ()
    fields: tuple[str, ...] | None = None
    system: bool = False
    count: str = ""
    filters: tuple[tuple[str, str], ...] = ()


def parse_query(params: Iterable[tuple[str, str]], fields: Collection[str], dataset: str) -> Query:
    """Read the parameters of a request for rows; `fields` are those the dataset shows. Raises RefusedQueryError."""
    said: dict[str, str] = {}
    filters: list[tuple[str, str]] = []
    for name, value in params:
        if name in _IGNORED:
            continue
        if name.startswith("$"):
            if name not in ("$limit", "$offset", "$order", "$select"):
                raise _malformed(f"select * {name[1:]} {value}", name, f"Unrecognized arguments [{name}]")
            said[name] = value.strip()
        else:
            _known(name, fields, dataset)
            filters.append((name, value))
    query = Query(
        limit=_whole_number("$limit", said.get("$limit"), DEFAULT_LIMIT),
        offset=_whole_number("$offset", said.get("$offset"), 0),
        order=_order(said.get("$order", ""), fields, dataset),
        filters=tuple(filters),
    )
    return _select(query, said.get("$select", "*"), fields, dataset)


def _whole_number(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,12}", text):
        raise _malformed(f"select * {name[1:]} {text}", text, f"Expected a non-negative integer, but got `{text}'")
    return int(text)


def _order(text: str, fields: Collection[str], dataset: str) -> tuple[tuple[str, bool], ...]:
    order = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(rf"`?({_FIELD})`?(?:\s+(asc|desc))?", part, re.IGNORECASE)
        if not match:
            raise _malformed(f"select * order by {text}", part, f"Expected an expression, but got `{part}'")
        _known(match[1], fields, dataset)
        order.append((match[1], (match[2] or "").lower() == "desc"))
    return tuple(order)


def _select(query: Query, text: str, fields: Collection[str], dataset: str) -> Query:
    parts = [part.strip() for part in text.split(",")]
    if count := _COUNT.fullmatch(text):
        return Query(filters=query.filters, count=count[1] or "count")
    if set(parts) <= {"*", ":*"}:
        return replace(query, fields=None if "*" in parts else (), system=":*" in parts)
    chosen = tuple(part.strip("`") for part in parts)
    for part in chosen:
        if not re.fullmatch(_FIELD, part):
            raise _malformed(f"select {text}", part, f"Expected an expression, but got `{part}'")
        _known(part, fields, dataset)
    return replace(query, fields=chosen)


def _known(field: str, fields: Collection[str], dataset: str) -> None:
    if field in fields or field in SYSTEM_FIELDS:
        return
    position = {"row": 1, "column": 8, "line": f"SELECT `{field}`"}
    raise RefusedQueryError(
        {
            "message": "Query coordinator error: query.soql.no-such-column; "
            f'No such column: {field}; position: Map(row -> 1, column -> 8, line -> "SELECT `{field}`")',
            "errorCode": "query.soql.no-such-column",
            "data": {"column": field, "dataset": f"mock.{dataset}", "position": position},
        }
    )


def _malformed(query: str, token: str, reason: str) -> RefusedQueryError:
    column = query.find(token) + 1 or 1
    return RefusedQueryError(
        {
            "code": "query.compiler.malformed",
            "error": True,
            "message": f'Could not parse SoQL query "{query}" at line 1 character {column}: {reason}',
            "data": {"query": query, "position": {"row": 1, "column": column, "line": query}},
        }
    )
