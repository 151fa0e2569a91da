"""The part of SoQL that the mock understands, and how the portal refuses the rest: two shapes of error bodies.

From a query string to a Query; answering it is in pages.py. Of `$where` it understands a span of one text or number
column: `any >= '2014' and any <= '2020'`, either half alone, or `any between '2014' and '2020'`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from catalunya.ops.mock.tables import SYSTEM_FIELDS

DEFAULT_LIMIT = 1000
_FIELD = r"[:@a-z_][a-z0-9_:@]*"
_IGNORED = {"$$app_token", "$$exclude_system_fields", "$$read_from_nbe", "$$version"}
_LITERAL = r"'(?:[^']|'')*'|-?\d+(?:\.\d+)?"
_BOUND = rf"`?({_FIELD})`?\s*(>=|<=)\s*({_LITERAL})"
_BOUNDS = re.compile(rf"{_BOUND}(?:\s+and\s+{_BOUND})?", re.IGNORECASE)
_BETWEEN = re.compile(rf"`?({_FIELD})`?\s+between\s+({_LITERAL})\s+and\s+({_LITERAL})", re.IGNORECASE)
_COUNT = re.compile(r"count\s*\(\s*(?:\*|1)\s*\)(?:\s+as\s+`?([a-z_][a-z0-9_]*)`?)?", re.IGNORECASE)


class RefusedQueryError(Exception):
    """Not an error of ours: what the portal answers, with status 400, to a query that it cannot take."""

    def __init__(self, body: dict[str, object]) -> None:
        super().__init__(str(body.get("message")))
        self.body = body


@dataclass(frozen=True)
class Bound:
    """A column's value is at least (`>=`) or at most (`<=`) this: a number where `is_number`, else a text."""

    field: str
    operator: str
    value: str
    is_number: bool


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
    where: tuple[Bound, ...] = ()


def parse_query(params: Iterable[tuple[str, str]], fields: Mapping[str, str], dataset: str) -> Query:
    """Read the parameters of a request for rows; `fields` are the types of those that the dataset shows.

    Raises RefusedQueryError.
    """
    said: dict[str, str] = {}
    filters: list[tuple[str, str]] = []
    for name, value in params:
        if name in _IGNORED:
            continue
        if name.startswith("$"):
            if name not in ("$limit", "$offset", "$order", "$select", "$where"):
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
        where=_where(said["$where"], fields, dataset) if "$where" in said else (),
    )
    return _select(query, said.get("$select", "*"), fields, dataset)


def _whole_number(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,12}", text):
        raise _malformed(f"select * {name[1:]} {text}", text, f"Expected a non-negative integer, but got `{text}'")
    return int(text)


def _order(text: str, fields: Mapping[str, str], dataset: str) -> tuple[tuple[str, bool], ...]:
    order = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(rf"`?({_FIELD})`?(?:\s+(asc|desc))?", part, re.IGNORECASE)
        if not match:
            raise _malformed(f"select * order by {text}", part, f"Expected an expression, but got `{part}'")
        _known(match[1], fields, dataset)
        order.append((match[1], (match[2] or "").lower() == "desc"))
    return tuple(order)


def _where(text: str, fields: Mapping[str, str], dataset: str) -> tuple[Bound, ...]:
    query = f"select * where {text}"
    if match := _BETWEEN.fullmatch(text):
        said = [(match[1], ">=", match[2]), (match[1], "<=", match[3])]
    elif match := _BOUNDS.fullmatch(text):
        said = [(match[at], match[at + 1], match[at + 2]) for at in (1, 4) if match[at]]
    else:
        raise _malformed(query, text, f"Expected a span of one column, but got `{text}'")
    if len({field for field, _, _ in said}) > 1:
        raise _malformed(query, text, f"Expected bounds of one column, but got `{text}'")
    return tuple(_bound(query, bound, fields, dataset) for bound in said)


def _bound(query: str, said: tuple[str, str, str], fields: Mapping[str, str], dataset: str) -> Bound:
    field, operator, literal = said
    _known(field, fields, dataset)
    kind = fields.get(field, "text")  # those of the system are compared as they are written
    value = literal[1:-1].replace("''", "'") if literal.startswith("'") else literal
    fits = re.fullmatch(r"-?\d+(\.\d+)?", value) if kind == "number" else kind == "text" and literal.startswith("'")
    if not fits:
        raise _malformed(query, literal, f"Expected a literal of the type of {field}, {kind}, but got `{literal}'")
    return Bound(field, operator, value, kind == "number")


def _select(query: Query, text: str, fields: Mapping[str, str], dataset: str) -> Query:
    parts = [part.strip() for part in text.split(",")]
    if count := _COUNT.fullmatch(text):
        return Query(filters=query.filters, where=query.where, count=count[1] or "count")
    if set(parts) <= {"*", ":*"}:
        return replace(query, fields=None if "*" in parts else (), system=":*" in parts)
    chosen = tuple(part.strip("`") for part in parts)
    for part in chosen:
        if not re.fullmatch(_FIELD, part):
            raise _malformed(f"select {text}", part, f"Expected an expression, but got `{part}'")
        _known(part, fields, dataset)
    return replace(query, fields=chosen)


def _known(field: str, fields: Mapping[str, str], dataset: str) -> None:
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
