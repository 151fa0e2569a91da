"""Periods of time as sources and people write them: a year, a half-year, a quarter, a month, a day.

Here: reading one, and the window between two. Not here: rows (`contracts/model/check.py` says which are within a window).
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
    """A span of days, both ends in it."""

    first: date
    last: date

    def __str__(self) -> str:
        ends = [f"from {self.first}"] if self.first > date.min else []
        ends += [f"to {self.last}"] if self.last < date.max else []
        return " ".join(ends)

    def covers(self, other: Window) -> bool:
        """Whether the other lies in this one whole."""
        return self.first <= other.first and other.last <= self.last


def period(text: str) -> Window:
    """The days of one period: `2014`, `2014-H1`, `2014-Q3`, `2014-06`, `2014-06-30`, and as IDESCAT's tables write them:
    `2014S1`, `S1/2014`, `2014T3`, `2014M06`, `06/2014`, `201406`. Raises UsageError on anything else."""
    said = text.strip().upper()
    try:
        found = _day(said) or _part_of_year(said)
    except ValueError:  # a month 13, a 30 February
        found = None
    if found is None:
        raise UsageError(f"a period is expected as {_EXPECTED}; found {text!r}")
    return found


def window(first: str | None, last: str | None) -> Window | None:
    """The span from the first day of one period to the last day of another; without one of them it is open at that end.

    None where neither is given. Raises UsageError when the span is empty.
    """
    if not first and not last:
        return None
    begins = period(first).first if first else date.min
    ends = period(last).last if last else date.max
    if begins > ends:
        raise UsageError(f"a span of time is expected to begin before it ends; found {first} to {last}")
    return Window(begins, ends)


def _day(said: str) -> Window | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", said):
        return None
    day = date.fromisoformat(said)
    return Window(day, day)


def _part_of_year(said: str) -> Window | None:
    found = _YEAR.search(said)
    if found is None:
        return None
    year, rest = int(found[0]), re.sub(r"[-/ ]", "", said[: found.start()] + said[found.end() :])
    if not rest:
        return Window(date(year, 1, 1), date(year, 12, 31))
    part = re.fullmatch(r"([SHTQM]?)(\d{1,2})", rest)
    if part is None:
        return None
    months = _MONTHS[part[1]]
    last = months * int(part[2])
    return Window(date(year, last - months + 1, 1), date(year, last, calendar.monthrange(year, last)[1]))
