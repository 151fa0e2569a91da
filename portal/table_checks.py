"""What the checks of a table mean, in the words of each language: `quarter_id is not null` is "quarter_id is never empty".

The names of checks are stable (`contracts/model/rules.py`, `assets/making`, dbt's tests); one that is not known here is shown by its own name. Here:
those words, and what failed. Samples are left out: they are values of rows. Not here: the checks themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from catalunya.assets.graph.spec import Asset
from catalunya.assets.graph.titles import title_of
from catalunya.contracts.model.results import Check
from catalunya.portal.language import Language
from catalunya.portal.translations import ORIGINAL, translated

_VALUES = re.compile(r"\d[\d.]*")
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("key_unique", r"key is unique|unique_together_.*"),
    ("not_null", r"(?P<column>\w+) is not null|not_null_{table}_(?P<test>\w+)"),
    ("unique", r"(?P<column>\w+) is unique|unique_{table}_(?P<test>\w+)"),
    ("type", r"(?P<column>\w+) is an? (?P<type>string|integer|bigint|double|boolean|date|timestamp)"),
    ("at_least", r"(?P<column>\w+) >= (?P<value>.+)"),
    ("above", r"(?P<column>\w+) > (?P<value>.+)"),
    ("at_most", r"(?P<column>\w+) <= (?P<value>.+)"),
    ("below", r"(?P<column>\w+) < (?P<value>.+)"),
    ("between", r"(?P<column>\w+) is between (?P<value>.+) and (?P<value2>.+)"),
    ("not_one_of", r"(?P<column>\w+) is not one of .+"),
    ("one_of", r"(?P<column>\w+) is one of .+|accepted_values_{table}_(?P<test>\w+?)__\w+"),
    ("form", r"(?P<column>\w+) (?:matches|contains|starts with|ends with) .+"),
    ("rule", r"(?P<column>\w+) keeps (?P<value>\w+)"),
    ("reference", r"(?P<column>\w+) is in (?P<of>[a-z]+\.\w+)"),
    ("partition", r"(?P<column>\w+) can name a partition"),
    ("known_names", r"(?P<column>\w+): its rules know every (?P<value>\w+)"),
    ("quarantine", r"rows in quarantine at most (?P<share>[\d.e-]+) %"),
    ("rows_lost", r"guard: rows lost at most (?P<share>[\d.e-]+) %"),
    ("rows_added", r"guard: rows added at most (?P<share>[\d.e-]+) %"),
    ("values_changed", r"guard: (?:(?P<column>\w+): )?values changed at most (?P<share>[\d.e-]+) %"),
    ("values_lost", r"guard: (?:(?P<column>\w+): )?values lost at most (?P<share>[\d.e-]+) %"),
    ("accounted", r"every row is accounted for"),
    ("fields_declared", r"fields are as declared"),
    ("fields_present", r"required fields are present"),
    ("rows_accepted", r"rows are accepted by the staging function"),
    ("rows_readable", r"rows can be read"),
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check in words; `language` is that of the words. `failed`: rows that failed it. `stops`: the table is not published if any does."""

    text: str
    language: str
    failed: int
    stops: bool


def check_results(
    checks: tuple[Check, ...], asset: Asset, language: Language, rule: Callable[[str], str]
) -> list[CheckResult]:
    """The checks in words, those that failed first. `rule` gives the description of a rule about rows by its name, in English.

    Two that say the same, such as a contract's rule and dbt's test of it, are one.
    """
    found: dict[str, CheckResult] = {}
    for check in checks:
        result = _result(check, asset, language, rule)
        if before := found.get(result.text):
            result = replace(result, failed=max(result.failed, before.failed), stops=result.stops or before.stops)
        found[result.text] = result
    return sorted(found.values(), key=lambda each: (not each.failed, not each.stops))


def word_of(name: str, asset: Asset) -> str:
    """The word for a check of a table (`words/*.toml`, section check) by the check's name; "" if it has none."""
    return next((word for word, _ in _matches(name, asset.name)), "")


def _result(check: Check, asset: Asset, language: Language, rule: Callable[[str], str]) -> CheckResult:
    text, code = _words(check, asset, language, rule)
    return CheckResult(text, code, check.failed, check.severity == "error")


def _words(check: Check, asset: Asset, language: Language, rule: Callable[[str], str]) -> tuple[str, str]:
    if check.name.startswith("rows: ") and (meaning := rule(check.name.removeprefix("rows: "))):
        return translated(meaning, language.code)
    for word, values in _matches(check.name, asset.name):
        return language.t(f"check.{word}", **_in_words(values, check, language)), language.code
    return check.name.removeprefix("rows: ").replace("_", " "), ORIGINAL


def _matches(name: str, table: str) -> Iterator[tuple[str, dict[str, str]]]:
    for word, pattern in _PATTERNS:
        if found := re.fullmatch(pattern.replace("{table}", re.escape(table)), name):
            yield word, {key: value for key, value in found.groupdict().items() if value is not None}


def _in_words(values: dict[str, str], check: Check, language: Language) -> dict[str, str]:
    column = values.get("column") or values.get("test") or check.column
    found = {
        "column": column,
        **{name: _value(values[name], language) for name in ("value", "value2") if name in values},
    }
    if "type" in values:
        found["type"] = language.t(f"table.type_{values['type']}")
    if "of" in values:
        found["table"] = title_of(values["of"], language.code)
    if "share" in values:
        found["share"] = language.percent(float(values["share"]), 0 if float(values["share"]).is_integer() else 1)
    return found


def _value(text: str, language: Language) -> str:
    """A limit as the language writes it: years have no group separators."""
    if not _VALUES.fullmatch(text.removeprefix("-")):
        return text
    number = float(text)
    digits = 0 if number.is_integer() else len(text.partition(".")[2])
    return str(int(number)) if digits == 0 and 1900 <= number <= 2100 else language.number(number, digits)
