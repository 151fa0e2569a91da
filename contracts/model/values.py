"""Text as typed values: numbers, days and moments, each by a strict grammar. A text is read as exactly its value, or not at all.

Here: the grammars, and what counts as a plausible value. Not here: which columns are read how, and the rows that break a rule
(`check.py`).

In a column that the source declares as a number or a date, its texts follow JSON and ISO 8601. Any other column is text that people may
have typed: there `1.000` is one or a thousand, and is read only where the contract says how its source writes numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import polars as pl

ISO_DAY = "%Y-%m-%d"

NUMBER_KINDS = frozenset({"number", "money", "percent", "double"})
"""Types of a source whose values are JSON numbers, in quotes or not: Socrata's, and the values of JSON-stat."""
DATE_KINDS = frozenset({"calendar_date", "date", "floating_timestamp", "fixed_timestamp"})
"""Types of a source whose values are ISO 8601."""
FIRST_YEAR, LAST_YEAR = 1000, 2999
"""The years that are plausible where the contract sets no bound."""

_JSON_NUMBER = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
# Three digits after the only point may be decimals or thousands, unless there are more than three before it, or a leading zero.
_CERTAIN_NUMBER = r"^-?(?:[0-9]+(?:\.(?:[0-9]{1,2}|[0-9]{4,}))?|(?:0[0-9]*|[0-9]{4,})\.[0-9]{3})$"
_LOCAL_NUMBER = r"^-?(?:[0-9]{1,3}(?:[., '’][0-9]{3})+(?:[.,][0-9]+)?|[0-9]+,[0-9]+)$"
_MIDNIGHT = r"[T ]00:00(?::00(?:\.0+)?)?Z?$"
_MOMENT = r"^(.+)[T ]([0-2][0-9]:[0-5][0-9])(?::([0-5][0-9](?:\.[0-9]+)?))?(?:Z|([+-])(0[0-9]|1[0-4]):?([0-5][0-9]))?$"
_EXACT, _EXACT_DIGITS = 2**53, 15


@dataclass(frozen=True, slots=True)
class Locale:
    """How text that people typed writes numbers and days. Without `decimal` and `thousands`, only what is certain is a number."""

    decimal: str | None = None
    thousands: str | None = None
    date: str = ISO_DAY

    @property
    def is_declared(self) -> bool:
        """Whether it says how numbers are written."""
        return bool(self.decimal or self.thousands)

    def mistakes(self) -> list[str]:
        """What is wrong with it, to follow "expected"."""
        wrong = [f"decimal as . or , found {self.decimal!r}"] if self.decimal not in (None, ".", ",") else []
        if self.thousands not in (None, ".", ",", " ", "'"):
            wrong.append(f"thousands as . or , or a space or ', found {self.thousands!r}")
        if self.thousands and self.thousands == (self.decimal or "."):
            wrong.append(f"decimal and thousands to differ, found {self.thousands!r} for both")
        if date_pattern(self.date) is None:
            wrong.append(f"date with %d, %m and %Y once each and signs between them (%d/%m/%Y), found {self.date!r}")
        return wrong


def read(text: pl.Expr, dtype: pl.DataType, locale: Locale, kind: str | None) -> pl.Expr:
    """Text as a type, null where it is not a value of it. `kind`: the type that the source declares for the field, if any.

    A real number is the nearest double, as everywhere; one that is too large for the type, or too small to differ from zero, is null.
    """
    if dtype.is_integer():
        return _whole(text, dtype, locale, is_json=kind in NUMBER_KINDS)
    if dtype.is_float():
        return _real(text, dtype, locale, is_json=kind in NUMBER_KINDS)
    if dtype == pl.Date:
        return _day(text, locale, is_iso=kind in DATE_KINDS)
    if isinstance(dtype, pl.Datetime):
        return _moment(text, locale, is_iso=kind in DATE_KINDS)
    if dtype == pl.Boolean:
        return text.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    return text.cast(dtype, strict=False)


def advice(text: pl.Expr, contract: str, locale: Locale) -> pl.Expr:
    """What to declare so that a text that could not be read as a number can be; empty where that would not help."""
    if locale.is_declared:
        return pl.lit("")
    how = f': declare decimal="," and thousands=".", or decimal=".", in {contract}'
    return pl.when(text.str.contains(_LOCAL_NUMBER)).then(pl.lit(how)).otherwise(pl.lit(""))


def is_implausible(value: pl.Expr, dtype: pl.DataType, *, bounded_below: bool, bounded_above: bool) -> pl.Expr:
    """Whether a day or moment is outside the plausible years, on the sides where the contract sets no bound."""
    sides = [value < pl.lit(date(FIRST_YEAR, 1, 1)).cast(dtype)] if not bounded_below else []
    sides += [value >= pl.lit(date(LAST_YEAR + 1, 1, 1)).cast(dtype)] if not bounded_above else []
    return pl.any_horizontal(*sides, pl.lit(value=False)).fill_null(value=False)


def not_a_number(value: pl.Expr) -> pl.Expr:
    """What a float that is no number is called."""
    return (
        pl.when(value.is_nan())
        .then(pl.lit("NaN"))
        .otherwise(pl.when(value > 0).then(pl.lit("inf")).otherwise(pl.lit("-inf")))
    )


def converted(value: pl.Expr, found: pl.DataType, dtype: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    """A number as another numeric type, null where that would change its value; and, there only, its text."""
    result = value.cast(dtype, strict=False)
    is_other = result.is_null()
    if not (found.is_decimal() and dtype.is_float()):  # the nearest double, as of text
        is_other |= (result.cast(found, strict=False) != value).fill_null(value=True)
    is_lost = is_other & value.is_not_null()
    return pl.when(~is_lost).then(result), pl.when(is_lost).then(value.cast(pl.String))


def as_utc(value: pl.Expr, found: pl.Datetime, dtype: pl.DataType) -> pl.Expr:
    """A moment with any zone and unit as UTC without a zone."""
    if found.time_zone:
        value = value.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return value.cast(dtype)


def date_pattern(form: str) -> tuple[str, str] | None:
    """The pattern of a day as `%d/%m/%Y` writes it, and what it becomes in ISO 8601; None if it is no such form.

    Only numbers: the names of months differ by language, and a year of two digits has no century.
    """
    if sorted(re.findall(r"%.?", form)) != ["%Y", "%d", "%m"] or re.search(r"[^\W_]|%", re.sub(r"%[dmY]", "", form)):
        return None
    pattern = re.escape(form).replace("%d", "(?<d>[0-9]{1,2})").replace("%m", "(?<m>[0-9]{1,2})")
    return f"^{pattern.replace('%Y', '(?<y>[0-9]{4})')}$", "${y}-${m}-${d}"


def _plain(text: pl.Expr, locale: Locale, *, is_json: bool) -> pl.Expr:
    """A number's text with a decimal point and nothing between the thousands; null if it is not certainly a number."""
    if is_json:
        return pl.when(text.str.contains(_JSON_NUMBER)).then(text)
    if not locale.is_declared:
        return pl.when(text.str.contains(_CERTAIN_NUMBER)).then(text)
    decimal, between = re.escape(locale.decimal or "."), "['’]" if locale.thousands == "'" else None
    between = between or (re.escape(locale.thousands) if locale.thousands else None)
    groups = f"|[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+" if between else ""
    is_number = text.str.contains(f"^-?(?:[0-9]+{groups})(?:{decimal}[0-9]+)?$")
    if between:
        text = text.str.replace_all(between, "")
    return pl.when(is_number).then(text.str.replace(decimal, "."))


def _whole(text: pl.Expr, dtype: pl.DataType, locale: Locale, *, is_json: bool) -> pl.Expr:
    plain = _plain(text, locale, is_json=is_json)
    whole = plain.str.replace(r"\.0+$", "").cast(dtype, strict=False)
    if not is_json:
        return whole
    # An exponent: only JSON numbers have one.
    real = plain.cast(pl.Float64, strict=False)
    is_exact = (real == real.round()) & (real.abs() < _EXACT) & (real != 0) & (plain.str.len_bytes() <= _EXACT_DIGITS)
    return pl.when(is_exact & plain.str.contains("[eE]")).then(real.cast(dtype, strict=False)).otherwise(whole)


def _real(text: pl.Expr, dtype: pl.DataType, locale: Locale, *, is_json: bool) -> pl.Expr:
    plain = _plain(text, locale, is_json=is_json)
    real = plain.cast(dtype, strict=False)
    is_lost = (real == 0) & plain.str.contains("^[^eE]*[1-9]")
    return pl.when(real.is_finite() & ~is_lost).then(real)


def _iso_day(text: pl.Expr, locale: Locale, *, is_iso: bool) -> pl.Expr:
    """A day as ISO 8601 writes it; null if it is written in another way."""
    found = None if is_iso or locale.date == ISO_DAY else date_pattern(locale.date)
    if found is None:
        return pl.when(text.str.contains("^[0-9]{4}-")).then(text)
    pattern, iso = found
    return pl.when(text.str.contains(pattern)).then(text.str.replace(pattern, iso))


def _day(text: pl.Expr, locale: Locale, *, is_iso: bool) -> pl.Expr:
    """A day; a time of midnight may follow it."""
    return _iso_day(text.str.replace(_MIDNIGHT, ""), locale, is_iso=is_iso).str.to_date("%Y-%m-%d", strict=False)


def _moment(text: pl.Expr, locale: Locale, *, is_iso: bool) -> pl.Expr:
    """A day with a time, as UTC: minutes at least, and an offset or none."""
    part = text.str.extract_groups(_MOMENT).struct
    seconds = pl.coalesce(part.field("3"), pl.lit("00"))
    local = pl.concat_str(
        _iso_day(part.field("1"), locale, is_iso=is_iso), pl.lit("T"), part.field("2"), pl.lit(":"), seconds
    ).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ms", strict=False)
    minutes = part.field("5").cast(pl.Int32) * 60 + part.field("6").cast(pl.Int32)
    offset = pl.when(part.field("4") == "-").then(-minutes).otherwise(minutes).fill_null(0)
    return local - pl.duration(minutes=offset, time_unit="ms")
