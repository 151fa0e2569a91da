"""What checks mean to readers: a few kinds in place of the names of rules, which name columns, values and functions.

Here: the kind of a check, by its name (`words/*.toml` has `quality.reason_KIND`). Not here: the names themselves (`contracts/model/rules.py`,
`assets/making`, dbt's tests).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from catalunya.contracts.model.results import (
    ACCEPTED,
    AS_DECLARED,
    PARTITION,
    READABLE,
    REQUIRED,
    TOO_MANY,
    UNIQUE_KEY,
    Check,
)

Meaning = Literal[
    "missing", "duplicate", "listed", "written", "limits", "rule", "contradiction", "unknown", "unreadable", "misfit", "unclassified", "other"
]  # fmt: skip
Refused = Literal["different", "fields", "many", "checks", "reading", "technical"]
_WHOLE: dict[str, Meaning] = {
    UNIQUE_KEY: "duplicate",
    READABLE: "unreadable",
    ACCEPTED: "misfit",
}
_OF_COLUMNS: dict[str, Meaning] = {
    "is not null": "missing",
    "is unique": "duplicate",
    "is one of ": "listed",
    "is not one of ": "listed",
    "is in ": "unknown",
    "is between ": "limits",
    "is a ": "written",
    "is an ": "written",
    "matches ": "written",
    "contains ": "written",
    "starts with ": "written",
    "ends with ": "written",
    PARTITION: "written",
    ">": "limits",
    "<": "limits",
    "= ": "limits",
    "!= ": "limits",
    "keeps ": "rule",
}
"""By how a rule's name goes on after the column's."""
_TESTS: dict[str, Meaning] = {
    "not_null_": "missing",
    "unique_": "duplicate",
    "accepted_values_": "listed",
    "relationships_": "unknown",
}


def meaning(check: Check) -> Meaning:
    """What it means that rows fail a check."""
    if check.kind == "reference":
        return "unknown"
    if check.kind == "test":
        return _by_start(check.name, _TESTS)
    if check.name.startswith("rows: "):
        return "contradiction"
    if check.column and check.name.startswith(f"{check.column}: its rules know every "):
        return "unclassified"
    if check.column and check.name.startswith(f"{check.column} "):
        return _by_start(check.name.removeprefix(f"{check.column} "), _OF_COLUMNS)
    return _WHOLE.get(check.name, "other")


def sets_apart(check: Check) -> bool:
    """Whether rows that fail the check are set apart: not for one of the whole table, or of the fields of a source."""
    is_of_rows = check.name not in (REQUIRED, AS_DECLARED) and not check.name.startswith(TOO_MANY)
    return is_of_rows and check.kind in ("contract", "reference") and check.severity == "error"


def refused(checks: Iterable[Check], *, is_landing: bool) -> Refused:
    """Why an attempt failed, by the checks that ran in it."""
    failed = [check for check in checks if check.failed and check.severity == "error"]
    if any(check.kind == "guard" for check in failed):
        return "different"
    if any(check.name in (REQUIRED, AS_DECLARED) for check in failed):
        return "fields"
    if any(check.name.startswith(TOO_MANY) for check in failed):
        return "many"
    return "checks" if failed else "reading" if is_landing else "technical"


def _by_start(text: str, known: dict[str, Meaning]) -> Meaning:
    return next((found for start, found in known.items() if text.startswith(start)), "other")
