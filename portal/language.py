"""One language of the site: its words (`words/{code}.toml`), and how it writes numbers, days and periods (babel, from Unicode's CLDR).

A word is found by section and name: `t("quality.fine")`. A word with several forms has one for each plural category of the language.
Here: words and formats. Not here: names of tables and figures (`assets/graph/titles.py`), translations of contracts (`translations.py`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path

from babel import Locale
from babel.dates import format_date
from babel.units import format_unit

WORDS = Path(__file__).parent / "words"
LOCALES = {"ca": "ca", "es": "es", "en": "en_GB"}
UNKNOWN = "–"
"""What stands for a value that is not known, beside the words for it."""
_QUARTER = re.compile(r"(\d{4})-Q([1-4])")
_HALF = re.compile(r"(\d{4})-H([12])")


@dataclass(frozen=True)
class Language:
    """One language: `code` as in HTML's `lang`."""

    code: str

    @property
    def locale(self) -> Locale:
        return _locale(self.code)

    @property
    def name(self) -> str:
        """What the language calls itself."""
        return self.t("common.language")

    @property
    def has_decimal_comma(self) -> bool:
        """Whether decimals follow a comma."""
        return bool(self.locale.number_symbols["latn"]["decimal"] == ",")

    def t(self, key: str, n: float | None = None, /, **values: object) -> str:
        """The word, with its values filled in; `n` chooses the plural form, and is `{n}` in it. Raises KeyError for no such word."""
        word = words(self.code)[key]
        if not isinstance(word, str):
            assert n is not None, f"{key} has plural forms: give the number"
            word = word.get(self.locale.plural_form(n)) or word["other"]
        if n is not None:
            values["n"] = self.number(n)
        return word.format(**values) if values else word

    def number(self, value: float | None, digits: int = 0) -> str:
        """A number as it is written in the language; a dash if it is not known."""
        return UNKNOWN if value is None else _decimal(self.code, value, digits)

    def percent(self, value: float | None, digits: int = 1, *, signed: bool = False) -> str:
        """A percentage, given in percent (12.3, not 0.123)."""
        if value is None:
            return UNKNOWN
        shown = (
            f"{_decimal(self.code, value, digits)}\u00a0%"
            if self.code != "en"
            else f"{_decimal(self.code, value, digits)}%"
        )
        return f"+{shown}" if signed and round(value, digits) > 0 else shown

    def signed(self, value: float | None, digits: int = 0) -> str:
        """A change, with its sign."""
        shown = self.number(value, digits)
        return f"+{shown}" if value is not None and round(value, digits) > 0 else shown

    def size(self, count: int) -> str:
        """A number of bytes in words: 12,3 kB."""
        for unit, of in (("gigabyte", 1e9), ("megabyte", 1e6), ("kilobyte", 1e3)):
            if count >= of:
                return str(
                    format_unit(count / of, f"digital-{unit}", length="short", format="#,##0.#", locale=self.locale)
                )
        return str(format_unit(count, "digital-byte", length="short", locale=self.locale))

    def day(self, at: date | datetime | None) -> str:
        """A day: 1 d’abril del 2026 is babel's Catalan; Idescat writes 1 d’abril de 2026, and so do we. A dash for None."""
        return UNKNOWN if at is None else _day(self.code, at.year, at.month, at.day)

    def moment(self, at: datetime | None) -> str:
        """A day and time, UTC."""
        return UNKNOWN if at is None else self.t("common.moment", at.hour, day=self.day(at), time=f"{at:%H:%M}")

    def period(self, text: str) -> str:
        """A period or a day, as tables have it (2025, 2025-Q3, 2025-H1, 2025-07, 2025-07-01), in words; other texts as they are."""
        return _period(self.code, text)

    def short_period(self, text: str) -> str:
        """The same in few characters, for the axis of a chart: 2025, T3 2025, 7/2025, 1/7/2025."""
        if found := _QUARTER.fullmatch(text):
            return self.t("common.short_quarter", quarter=found[2], year=found[1])
        if found := _HALF.fullmatch(text):
            return self.t("common.short_half", half=found[2], year=found[1])
        parts = text.split("-")
        return "/".join(str(int(part)) for part in reversed(parts)) if all(map(str.isdigit, parts)) else text


@cache
def words(code: str) -> Mapping[str, str | Mapping[str, str]]:
    """All words of a language, by `section.name`."""
    sections = tomllib.loads((WORDS / f"{code}.toml").read_text(encoding="utf-8"))
    return {f"{section}.{name}": word for section, content in sections.items() for name, word in content.items()}


@cache
def _locale(code: str) -> Locale:
    return Locale.parse(LOCALES[code])


# A page formats few values, the site millions, most of them again and again.
@lru_cache(100_000)
def _decimal(code: str, value: float, digits: int) -> str:
    return _plain(value, digits).translate(_separators(code))


@lru_cache(1_000)  # the pages of a place in each language, which are made one after the other, have the same values
def _plain(value: float, digits: int) -> str:
    """The number with commas and a point. As babel writes the pattern #,##0.0, which rounds half to even, in a tenth of the time; but for -0.0,
    which is 0.0 here: readers would take it for a fall, on the map it is no change."""
    exact = Decimal(str(value))
    if not exact.is_finite():
        return str(exact).replace("Infinity", "∞")
    return f"{exact.quantize(Decimal(1).scaleb(-digits)):z,f}"


@cache
def _separators(code: str) -> Mapping[int, str]:
    symbols = _locale(code).number_symbols["latn"]
    return str.maketrans({",": symbols["group"], ".": symbols["decimal"]})


@lru_cache(10_000)
def _day(code: str, year: int, month: int, day: int) -> str:
    pattern = {"ca": "d MMMM 'de' y", "es": "d 'de' MMMM 'de' y"}.get(code, "d MMMM y")
    return str(format_date(date(year, month, day), pattern, locale=_locale(code)))


@lru_cache(10_000)
def _period(code: str, text: str) -> str:
    language = Language(code)
    if found := _QUARTER.fullmatch(text):
        year, quarter = int(found[1]), int(found[2])
        pattern = {"ca": "QQQQ 'del' y", "es": "QQQQ 'de' y"}.get(code, "QQQQ y")
        return str(format_date(date(year, 3 * quarter - 2, 1), pattern, locale=_locale(code)))
    if found := _HALF.fullmatch(text):
        return language.t(f"common.half_{found[2]}", year=found[1])
    parts = text.split("-")
    if not all(part.isdigit() for part in parts):
        return text
    if len(parts) == 2:
        pattern = {"ca": "LLLL 'de' y", "es": "LLLL 'de' y"}.get(code, "LLLL y")
        return str(format_date(date(int(parts[0]), int(parts[1]), 1), pattern, locale=_locale(code)))
    return language.day(date.fromisoformat(text)) if len(parts) == 3 else text
