"""Periods of time as sources and people write them: a year, a half-year, a quarter, a month, a day.

Here: parsing a period, and the window between two. Not here: rows (`contracts/model/check.py` selects those within a window).
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date

from catalunya.io.errors import UsageError

_YEAR = re.compile(r"(?:19|20)\d{2}")
_MONTHS = {"S": 6, "H": 6, "T": 3, "Q": 3, "M": 1, "": 1}
_EXPECTED = "a year (2014), a half-year (2014-H1), a quarter (2014-Q3), a month (2014-06) or a day (2014-06-30)"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A span of days, including both ends."""

    first: date
    last: date

    def __str__(self) -> str:
        ends = [f"from {self.first}"] if self.first > date.min else []
        ends += [f"to {self.last}"] if self.last < date.max else []
        return " ".join(ends)

    def covers(self, other: Window) -> bool:
        """Whether the other lies entirely in this one."""
        return self.first <= other.first and other.last <= self.last


def period(text: str) -> Window:
    """The days of one period: `2014`, `2014-H1`, `2014-Q3`, `2014-06`, `2014-06-30`, and the notations of IDESCAT's tables:
    `2014S1`, `S1/2014`, `2014T3`, `2014M06`, `06/2014`, `201406`. Raises UsageError for anything else."""
    code = text.strip().upper()
    try:
        found = _day(code) or _within_a_year(code)
    except ValueError:  # month 13, 30 February
        found = None
    if found is None:
        raise UsageError(f"expected a period as {_EXPECTED}, found {text!r}")
    return found


def window(first: str | None, last: str | None) -> Window | None:
    """The window from the first day of one period to the last day of another; without one of them it is open at that end.

    None if neither is given. Raises UsageError if it ends before it begins.
    """
    if not first and not last:
        return None
    begins = period(first).first if first else date.min
    ends = period(last).last if last else date.max
    if begins > ends:
        raise UsageError(f"the window must begin before it ends, found {first} to {last}; swap them")
    return Window(begins, ends)


def _day(code: str) -> Window | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", code):
        return None
    day = date.fromisoformat(code)
    return Window(day, day)


def _within_a_year(code: str) -> Window | None:
    found = _YEAR.search(code)
    if found is None:
        return None
    year, rest = int(found[0]), re.sub(r"[-/ ]", "", code[: found.start()] + code[found.end() :])
    if not rest:
        return Window(date(year, 1, 1), date(year, 12, 31))
    number = re.fullmatch(r"([SHTQM]?)(\d{1,2})", rest)
    if number is None:
        return None
    months = _MONTHS[number[1]]
    last = months * int(number[2])
    return Window(date(year, last - months + 1, 1), date(year, last, calendar.monthrange(year, last)[1]))
