"""Why rows were set apart and updates refused, in a few kinds that every reader knows: a check's own words name columns and limits.

Here: the kind of a check (`words/*.toml` has `quality.reason_KIND` and `quality.refused_KIND`). Not here: what each check means (`table_checks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.contracts.model.results import Check
from catalunya.portal.table_checks import word_of

Meaning = Literal[
    "missing", "duplicate", "listed", "written", "limits", "rule", "contradiction", "unknown", "unreadable", "misfit", "unclassified", "other"
]  # fmt: skip
Refused = Literal["different", "fields", "many", "checks", "reading", "technical"]
_MEANINGS: dict[str, Meaning] = {
    "not_null": "missing",
    "key_unique": "duplicate",
    "unique": "duplicate",
    "one_of": "listed",
    "not_one_of": "listed",
    "type": "written",
    "form": "written",
    "partition": "written",
    "at_least": "limits",
    "above": "limits",
    "at_most": "limits",
    "below": "limits",
    "between": "limits",
    "rule": "rule",
    "reference": "unknown",
    "rows_readable": "unreadable",
    "rows_accepted": "misfit",
    "known_names": "unclassified",
}
_OF_ALL = ("fields_declared", "fields_present", "quarantine", "accounted")
"""Checks of the fields of a source or of the whole table: no row is set apart for them."""


def meaning(check: Check, asset: Asset) -> Meaning:
    """What it means that rows fail a check."""
    return "contradiction" if check.name.startswith("rows: ") else _MEANINGS.get(word_of(check.name, asset), "other")


def sets_apart(check: Check, asset: Asset) -> bool:
    """Whether rows that fail the check are set apart."""
    is_of_rows = check.kind in ("contract", "reference") and check.severity == "error"
    return is_of_rows and word_of(check.name, asset) not in _OF_ALL


def refused(checks: Iterable[Check], asset: Asset) -> Refused:
    """Why an attempt failed, by the checks that ran in it."""
    failed = [check for check in checks if check.failed and check.severity == "error"]
    found = {word_of(check.name, asset) for check in failed}
    if any(check.kind == "guard" for check in failed):
        return "different"
    if found & {"fields_declared", "fields_present"}:
        return "fields"
    if "quarantine" in found:
        return "many"
    return "checks" if failed else "reading" if asset.layer is Layer.LANDING else "technical"
