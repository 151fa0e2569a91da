"""The part of SoQL that the mock understands, and how the portal refuses the rest: two shapes of error bodies.

Here: from a query string, or the body of a question to version 3, to a Query. Not here: answering it (`socrata.py`). Of `$where` it
understands bounds of one text or number column: `any >= '2014' and any <= '2020'`, either half alone, or `any between '2014' and '2020'`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import msgspec

from catalunya.io.json_text import json_decoder

SYSTEM_FIELDS = (":id", ":version", ":created_at", ":updated_at")
DEFAULT_LIMIT = 1000
_FIELD = r"[:@a-z_][a-z0-9_:@]*"
_IGNORED = {"$$app_token", "$$exclude_system_fields", "$$read_from_nbe", "$$version"}
_UNDERSTOOD = ("$limit", "$offset", "$order", "$select", "$where")
_LITERAL = r"'(?:[^']|'')*'|-?\d+(?:\.\d+)?"
_BOUND = rf"`?({_FIELD})`?\s*(>=|<=)\s*({_LITERAL})"
_BOUNDS = re.compile(rf"{_BOUND}(?:\s+and\s+{_BOUND})?", re.IGNORECASE)
_BETWEEN = re.compile(rf"`?({_FIELD})`?\s+between\s+({_LITERAL})\s+and\s+({_LITERAL})", re.IGNORECASE)
_SELECT = re.compile(
    r"select\s+(?P<select>.+?)(?:\s+where\s+(?P<where>.+?))?(?:\s+order\s+by\s+(?P<order>.+))?", re.IGNORECASE
)
_COUNT = re.compile(r"count\s*\(\s*(?:\*|1)\s*\)(?:\s+as\s+`?([a-z_][a-z0-9_]*)`?)?", re.IGNORECASE)


class RefusedQueryError(Exception):
    """Not an error of ours: what the portal answers, with status 400, to a query that it cannot run."""

    def __init__(self, body: dict[str, object]) -> None:
        super().__init__(str(body.get("message")))
        self.body = body


@dataclass(frozen=True)
class Bound:
    """A column's value is at least (`>=`) or at most (`<=`) this: a number if `is_number`, else a text."""

    field: str
    operator: str
    value: str
    is_number: bool


@dataclass(frozen=True)
class Query:
    """What a request asks for. `fields`: None for all of the dataset's columns. `count`: the column of a count."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    order: tuple[tuple[str, bool], ...] = ()
    fields: tuple[str, ...] | None = None
    system: bool = False
    count: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    where: tuple[Bound, ...] = ()


class _Page(msgspec.Struct, rename="camel"):
    page_number: Annotated[int, msgspec.Meta(ge=1)] = 1
    page_size: Annotated[int, msgspec.Meta(ge=1)] = DEFAULT_LIMIT


class _Question(msgspec.Struct, rename="camel"):
    """The body of a request to version 3, with its defaults: the system's fields come unless they are declined."""

    query: str = "SELECT *"
    page: _Page | None = None
    include_system: bool = True
    ordering_specifier: Literal["total", "discard"] = "total"


def parse_question(body: bytes) -> list[tuple[str, str]]:
    """The parameters of version 2 that ask what the body of a question to version 3 asks. Raises RefusedQueryError."""
    try:
        question = json_decoder(_Question).decode(body)
    except msgspec.DecodeError as error:
        raise _malformed(body.decode(errors="replace"), "{", str(error)) from error
    clauses = _SELECT.fullmatch(question.query)
    if clauses is None:
        raise _malformed(question.query, question.query, f"Expected SELECT, but got `{question.query}'")
    select, order, page = clauses["select"], clauses["order"], question.page
    if page and question.ordering_specifier == "total" and not is_count(select):
        order = order or ":id"
    if question.include_system and select == "*":
        select = ":*,*"
    parameters = {"$select": select, "$where": clauses["where"], "$order": order}
    if page:
        parameters |= {"$limit": str(page.page_size), "$offset": str((page.page_number - 1) * page.page_size)}
    return [(name, text) for name, text in parameters.items() if text]


def is_count(select: str) -> bool:
    """Whether a `$select` asks for a count."""
    return "count(" in select.replace(" ", "").lower()


def parse_query(params: Iterable[tuple[str, str]], fields: Mapping[str, str], dataset: str) -> Query:
    """Read the parameters of a request for rows; `fields`: the types of the dataset's columns. Raises RefusedQueryError."""
    clauses: dict[str, str] = {}
    filters: list[tuple[str, str]] = []
    for name, value in params:
        if name in _IGNORED:
            continue
        if not name.startswith("$"):
            _known(name, fields, dataset)
            filters.append((name, value))
        elif name in _UNDERSTOOD:
            clauses[name] = value.strip()
        else:
            raise _malformed(f"select * {name[1:]} {value}", name, f"Unrecognized arguments [{name}]")
    query = Query(
        limit=_whole_number("$limit", clauses, DEFAULT_LIMIT),
        offset=_whole_number("$offset", clauses, 0),
        order=_order(clauses.get("$order", ""), fields, dataset),
        filters=tuple(filters),
        where=_where(clauses["$where"], fields, dataset) if "$where" in clauses else (),
    )
    return _select(query, clauses.get("$select", "*"), fields, dataset)


def _whole_number(name: str, clauses: Mapping[str, str], default: int) -> int:
    text = clauses.get(name, str(default))
    if not re.fullmatch(r"\d{1,12}", text):
        raise _malformed(f"select * {name[1:]} {text}", text, f"Expected a non-negative integer, but got `{text}'")
    return int(text)


def _order(text: str, fields: Mapping[str, str], dataset: str) -> tuple[tuple[str, bool], ...]:
    order = []
    for term in filter(None, (term.strip() for term in text.split(","))):
        match = re.fullmatch(rf"`?({_FIELD})`?(?:\s+(asc|desc))?", term, re.IGNORECASE)
        if not match:
            raise _malformed(f"select * order by {text}", term, f"Expected an expression, but got `{term}'")
        _known(match[1], fields, dataset)
        order.append((match[1], (match[2] or "").lower() == "desc"))
    return tuple(order)


def _where(text: str, fields: Mapping[str, str], dataset: str) -> tuple[Bound, ...]:
    query = f"select * where {text}"
    if match := _BETWEEN.fullmatch(text):
        bounds = [(match[1], ">=", match[2]), (match[1], "<=", match[3])]
    elif match := _BOUNDS.fullmatch(text):
        bounds = [(match[at], match[at + 1], match[at + 2]) for at in (1, 4) if match[at]]
    else:
        raise _malformed(query, text, f"Expected bounds of one column, but got `{text}'")
    if len({field for field, _, _ in bounds}) > 1:
        raise _malformed(query, text, f"Expected bounds of one column, but got `{text}'")
    return tuple(_bound(query, bound, fields, dataset) for bound in bounds)


def _bound(query: str, bound: tuple[str, str, str], fields: Mapping[str, str], dataset: str) -> Bound:
    field, operator, literal = bound
    _known(field, fields, dataset)
    kind = fields.get(field, "text")  # system fields are compared as text
    value = literal[1:-1].replace("''", "'") if literal.startswith("'") else literal
    fits = re.fullmatch(r"-?\d+(\.\d+)?", value) if kind == "number" else kind == "text" and literal.startswith("'")
    if not fits:
        raise _malformed(query, literal, f"Expected a literal of the type of {field}, {kind}, but got `{literal}'")
    return Bound(field, operator, value, kind == "number")


def _select(query: Query, text: str, fields: Mapping[str, str], dataset: str) -> Query:
    terms = [term.strip() for term in text.split(",")]
    if count := _COUNT.fullmatch(text):
        return Query(filters=query.filters, where=query.where, count=count[1] or "count")
    if set(terms) <= {"*", ":*"}:
        return replace(query, fields=None if "*" in terms else (), system=":*" in terms)
    chosen = tuple(term.strip("`") for term in terms)
    for term in chosen:
        if not re.fullmatch(_FIELD, term):
            raise _malformed(f"select {text}", term, f"Expected an expression, but got `{term}'")
        _known(term, fields, dataset)
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
