"""A request's parameters, and the requests that the API refuses: its numbered errors.

What is known: a filter on a dimension that there is not is no error; `_LAST_` beside a filter on the time dimension is
error 06; more than 20,000 cells are error 05, with status 416. Not known, and chosen here: a `_LAST_` that is no number
from 1 on is error 06 too; metadata pay no attention to filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalunya.ops.mock.idescat.view import View
from catalunya.ops.mock.idescat.words import language

MOST_CELLS = 20_000
ERRORS = {
    "00": (500, "Error intern."),
    "01": (400, "Estadística inexistent."),
    "02": (400, "Node inexistent."),
    "03": (400, "Taula inexistent."),
    "04": (400, "Divisió territorial inexistent."),
    "05": (416, "Nombre màxim de dades superat."),
    "06": (400, "Paràmetre _LAST_ incorrecte."),
}


class RefusedRequestError(Exception):
    """Not an error of ours: what the API answers to what it cannot serve, by the number it has there."""

    def __init__(self, number: str) -> None:
        super().__init__(ERRORS[number][1])
        self.number = number


@dataclass(frozen=True)
class Asked:
    """What a request asks for: filters by name, whether of a dimension or not."""

    lang: str
    filters: dict[str, set[str]]
    last: str | None

    def of(self, view: View) -> View:
        """The part of a table that is asked for. Raises RefusedRequestError."""
        if self.last is None:
            return view.filtered(self.filters, None)
        is_timed = any(axis.dimension.role == "time" and axis.dimension.code in self.filters for axis in view.shown())
        if is_timed or not self.last.isdecimal() or int(self.last) < 1:
            raise RefusedRequestError("06")
        return view.filtered(self.filters, int(self.last))


def read(params: Iterable[tuple[str, str]]) -> Asked:
    """Read parameters; the values of a filter are joined by commas, and one that is given twice means both."""
    lang, last = None, None
    filters: dict[str, set[str]] = {}
    for name, value in params:
        if name == "lang":
            lang = value
        elif name == "_LAST_":
            last = value.strip()
        else:
            filters.setdefault(name, set()).update(code.strip() for code in value.split(","))
    return Asked(language(lang), filters, last)
