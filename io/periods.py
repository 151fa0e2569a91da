"""Periods of time as sources and people write them: a year, a half-year, a quarter, a month, a day.

Here: parsing one period, the codes of a whole table read together, and the window between two periods. Not here: rows
(`contracts/model/check.py` selects those within a window).
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

from catalunya.io.errors import ContractError, UsageError
from catalunya.io.words import words

PeriodKind = Literal["half-year", "quarter", "month"]
"""What a number after a year may count."""

_YEAR = re.compile(r"(?:19|20)\d{2}", re.ASCII)
_KINDS: dict[str, PeriodKind] = {
    **dict.fromkeys(("S", "H", "SEM"), "half-year"),
    **dict.fromkeys(("T", "Q", "TR", "TRIM"), "quarter"),
    "M": "month",
}
_ROMAN = {
    numeral: at
    for at, numeral in enumerate(["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"], start=1)
}
_NUMERAL = re.compile(rf"\b(?:{'|'.join(_ROMAN)})\b")
_MONTHS: dict[PeriodKind, int] = {"month": 1, "quarter": 3, "half-year": 6}
_LETTERS = "|".join(_KINDS)
_ISO_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_IDS: dict[PeriodKind, str] = {"half-year": "{}-H{}", "quarter": "{}-Q{}", "month": "{}-{:02}"}
_EXPECTED = "a year (2014), a half-year (2014-H1), a quarter (2014-Q3), a month (2014-06) or a day (2014-06-30)"

_WORDS: dict[str, PeriodKind] = {
    "mes|mesos|mensual|month|months|monthly": "month",
    "trim.*|quarter.*": "quarter",
    "semestr.*|half|halfyear": "half-year",
}
_SHORT = re.compile(r"([shtqm])([0-9]{1,2})|([1-4])([shtq])")
_ORDINALS = {
    word: at
    for at, words_ in enumerate(
        ("i primer first", "ii segon segundo second", "iii tercer third", "iv quart cuarto fourth"), start=1
    )
    for word in words_.split()
}
_SMALL = {"de", "d", "del", "of"}
_MONTH_NAMES = (  # in Catalan, Spanish and English
    "gener enero january",
    "febrer febrero february",
    "marc marzo march",
    "abril april",
    "maig mayo may",
    "juny junio june",
    "juliol julio july",
    "agost agosto august",
    "setembre septiembre september",
    "octubre october",
    "novembre noviembre november",
    "desembre diciembre december",
)


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
    `2014S1`, `S1/2014`, `2014T3`, `1T 2014`, `2014M06`, `06/2014`, `201406`, `20140630`. Raises UsageError for anything else."""
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
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|(?:19|20)[0-9]{6}", code):
        return None
    day = date.fromisoformat(code)
    return Window(day, day)


def _within_a_year(code: str) -> Window | None:
    parts = _parts(code)
    if parts is None:
        return None
    year, number, kind = parts
    return Window(date(year, 1, 1), date(year, 12, 31)) if number is None else _days(year, number, kind or "month")


def _parts(code: str) -> tuple[int, int | None, PeriodKind | None] | None:
    """The year in a code, the number after or before it, if there is one, and what it counts, if the code says so."""
    found = _YEAR.search(code)
    if found is None:
        return None
    rest = re.sub(r"[-/ ]", "", code[: found.start()] + code[found.end() :])
    if not rest:
        return int(found[0]), None, None
    if number := re.fullmatch(rf"({_LETTERS})?([0-9]{{1,2}})", rest):
        return int(found[0]), int(number[2]), _KINDS.get(number[1])
    number = re.fullmatch(rf"([0-9]{{1,2}})({_LETTERS})", rest)
    return (int(found[0]), int(number[1]), _KINDS[number[2]]) if number else None


def _days(year: int, number: int, kind: PeriodKind) -> Window:
    """Raises ValueError if a year has no such period."""
    months = _MONTHS[kind]
    last = months * number
    return Window(date(year, last - months + 1, 1), date(year, last, calendar.monthrange(year, last)[1]))


# The codes of a table's time dimension


def read_periods(codes: Mapping[str, str], name: str, declared: PeriodKind | None = None) -> dict[str, str]:
    """Each code of a time dimension (code -> label) in one spelling: `2014`, `2014-H1`, `2014-Q3`, `2014-06`, `2014-06-30`.

    A bare number, as in `202104`, may be April or the fourth quarter. All codes of a table count the same, and what that is follows
    from what is `declared`; else from labels that name periods; else from the highest number, the `name` of the dimension (its id and
    label) and the steps from code to code, which must not contradict each other. `2021-04` is April unless labels, name and steps say that it
    is not. A code that is no period is read by its label; what neither reads is left out.
    Raises ContractError, with the readings, if this leaves several or none.
    """
    read: dict[str, str] = {}
    bare: dict[str, tuple[int, int]] = {}
    for code, label in codes.items():
        found = _found(code) or _found(label) or _said(code) or _said(label)
        if isinstance(found, str):
            read[code] = found
        elif found:
            bare[code] = found
    if bare and all(_ISO_MONTH.fullmatch(code) for code in bare) and not _is_no_month(bare, codes, name, declared):
        read |= {code: _IDS["month"].format(*found) for code, found in bare.items()}
    elif bare:
        kind = _kind_of(bare, codes, name, declared)
        read |= {code: _IDS[kind].format(*found) for code, found in bare.items()}
    return {code: read[code] for code in codes if code in read}


def _found(code: str) -> str | tuple[int, int] | None:
    """A code in one spelling, or its year and number if it does not say what that counts; None if it is no period."""
    text = _NUMERAL.sub(lambda numeral: str(_ROMAN[numeral[0]]), code.strip().upper())
    try:
        if day := _day(text):
            return str(day.first)
        year, number, kind = _parts(text) or (0, None, None)
        if number is None:
            return str(year) if year else None
        _days(year, number, kind or "month")
    except ValueError:  # month 13, 30 February
        return None
    return _IDS[kind].format(year, number) if kind else (year, number)


def _is_no_month(
    bare: Mapping[str, tuple[int, int]], codes: Mapping[str, str], name: str, declared: PeriodKind | None
) -> bool:
    """Whether anything says that codes like `2021-04` are not the months that they are in ISO 8601."""
    if declared:
        return declared != "month"
    said = [(found, end) for code, found in bare.items() if codes[code] != code and (end := _end_of(codes[code]))]
    if said:
        return any(_days(*found, "month").last != end for found, end in said)
    return not _is_regular(bare.values(), "month") and any(_is_regular(bare.values(), kind) for kind in _hinted(name))


def _kind_of(
    bare: Mapping[str, tuple[int, int]], codes: Mapping[str, str], name: str, declared: PeriodKind | None
) -> PeriodKind:
    """What the numbers of these codes (code -> year, number) count."""
    most = max(number for _, number in bare.values())
    readings: list[PeriodKind] = [kind for kind, months in _MONTHS.items() if most <= 12 // months]
    regular = [kind for kind in readings if _is_regular(bare.values(), kind)]
    if declared:
        left = [kind for kind in readings if kind == declared]
    elif ends := {code: end for code in bare if codes[code] != code and (end := _end_of(codes[code]))}:
        left = [kind for kind in readings if all(_days(*bare[code], kind).last == end for code, end in ends.items())]
        if regular and all(_found(codes[code]) == bare[code] for code in ends):
            left = [kind for kind in left if kind in regular]  # "04/2021" says no more than 202104
    else:
        hinted = _hinted(name)
        left = [kind for kind in readings if kind in (hinted or readings) and kind in (regular or readings)]
    if len(left) == 1:
        return left[0]
    code, found = max(bare.items(), key=lambda item: item[1])
    label = f", labeled {codes[code]!r}," if codes[code] != code else ""
    named = " or ".join(f"{_IDS[kind].format(*found)} (a {kind})" for kind in readings)
    raise ContractError(
        f"time dimension {name}: expected codes that say whether they count months, quarters or half-years, "
        f"found {code!r}{label} which may be {named}"
    )


def _is_regular(bare: Iterable[tuple[int, int]], kind: PeriodKind) -> bool:
    """Whether the periods of at least three codes follow each other in equal steps."""
    places = sorted(year * 12 // _MONTHS[kind] + number for year, number in bare)
    return len(places) > 2 and len({after - before for before, after in pairwise(places)}) == 1


def _hinted(name: str) -> set[PeriodKind]:
    """What the name of a dimension says its periods are: "MONTH mes" months."""
    return {kind for word in words(name) for pattern, kind in _WORDS.items() if re.fullmatch(pattern, word)}


def _end_of(label: str) -> date | None:
    """The last day of the period that a label names."""
    said = _said(label)
    return period(said).last if said else None


def _said(label: str) -> str | None:
    """The period that a text names, in one spelling: "12/2020", "T4/2020", "4t trimestre de 2020", "desembre 2020", "31 de desembre de 2020"."""
    said = [word for word in words(label) if word not in _SMALL]
    years = [int(word) for word in said if _YEAR.fullmatch(word)]
    rest = [word for word in said if not _YEAR.fullmatch(word)]
    kinds = [kind for word in rest for pattern, kind in _WORDS.items() if re.fullmatch(pattern, word)]
    months = [month for word in rest if (month := _month(word))]
    numbers = [number for word in rest if (number := _number(word))]
    if len(years) != 1:
        return None
    try:
        if len(rest) == 1 and (found := _SHORT.fullmatch(rest[0])):
            return _id(years[0], int(found[2] or found[3]), _KINDS[(found[1] or found[4]).upper()])
        if len(rest) == 1 and (months or rest[0].isdecimal()):
            return _id(years[0], (months or numbers)[0], "month")
        if len(rest) == 2 and len(kinds) == len(numbers) == 1:
            return _id(years[0], numbers[0], kinds[0])
        if len(rest) == 2 and len(months) == 1 and rest[0].isdecimal():
            return str(date(years[0], months[0], int(rest[0])))
    except (ValueError, IndexError):  # month 13 or 0
        pass
    return None


def _id(year: int, number: int, kind: PeriodKind) -> str:
    """Raises ValueError if a year has no such period."""
    _days(year, number, kind)
    return _IDS[kind].format(year, number)


def _number(word: str) -> int:
    """The number that a word is: `4t`, `iv`, `quart`, `12`; 0 if it is none."""
    found = re.fullmatch(r"([0-9]{1,2})[a-z]{0,2}", word)
    return int(found[1]) if found else _ORDINALS.get(word, 0)


def _month(word: str) -> int | None:
    """The number of the month that a word of three letters or more begins, in Catalan, Spanish or English."""
    found = {
        at for at, names in enumerate(_MONTH_NAMES, start=1) if any(name.startswith(word) for name in names.split())
    }
    return found.pop() if len(word) > 2 and len(found) == 1 else None
