"""What the checks of one materialization found: one list, whatever checked (the contract, a guard, a dbt test).

Here: one check's result as plain data, how it reads in one line, and collecting them while a table is made. Not here: the checks
themselves (`check.py`, `assets/making`), where the results are kept (`assets/record/ledger.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Annotated, Literal, TypedDict, Unpack

import msgspec

from catalunya.io.safe_text import NAME, legible, safe_text

Kind = Literal["contract", "reference", "guard", "test"]
Severity = Literal["error", "warning"]
MASKED = "•••"
"""In place of a value of a column with personal data."""
LONGEST_NAME = 200
MOST = 2_000
"""How many checks of one materialization are kept, those that failed first."""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check that ran, passed or not. `failed` is the number of rows that failed it (of fields, for a check of a source's fields), and
    `sample` one of the values that did. `column` is empty if the check is about rows or the whole table. A struct and not a dataclass:
    stored, a check that passed is its name and kind."""

    name: str
    kind: Kind
    severity: Severity = "error"
    failed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    column: str = ""
    sample: str = ""


def describe(check: Check) -> str:
    """A check and its result in one line: `population >= 0: 3 failed, for example -5`."""
    return f"{title(check)}: {result(check)}"


def title(check: Check) -> str:
    """What was checked: the name, after the column if the name does not say it."""
    return f"{check.column}: {check.name}" if check.column and check.column not in check.name else check.name


def result(check: Check) -> str:
    """The result alone: `passed`, or `3 failed (warning), for example -5`."""
    if not check.failed:
        return "passed"
    mark = " (warning)" if check.severity == "warning" else ""
    return f"{check.failed:,} failed{mark}" + (f", for example {check.sample}" if check.sample else "")


def failed(checks: Iterable[Check]) -> list[Check]:
    """Those that failed, errors first."""
    return sorted((check for check in checks if check.failed), key=lambda check: check.severity != "error")


def percent(share: float) -> str:
    """A share in the name of a check: `5 %`."""
    return f"{share * 100:.4g} %"


class _About(TypedDict, total=False):
    """What else there is to say of a check; `personal`: its sample is not shown."""

    column: str
    severity: Severity
    personal: bool


class CheckTally:
    """The checks of one materialization, as they run; `layer` is that of its table. Several threads may add to it."""

    def __init__(self, layer: str = "") -> None:
        self.layer = layer
        self._found: dict[tuple[str, str], Check] = {}
        self._lock = Lock()

    @property
    def results(self) -> tuple[Check, ...]:
        """All of them, by kind and name."""
        found = sorted(self._found.values(), key=lambda check: (check.kind, check.name, check.column))
        kept = found if len(found) <= MOST else [*failed(found), *(check for check in found if not check.failed)][:MOST]
        return tuple(kept)

    def count(self, name: str, kind: Kind, rows: int = 0, sample: object = "", **about: Unpack[_About]) -> None:
        """A check ran over some rows, of which `rows` failed: they are added to those before."""
        check = _check(name, kind, rows, sample, **about)
        place = check.name, check.column
        with self._lock:
            if before := self._found.get(place):
                # The smallest, so that it does not depend on which page was checked first.
                samples = sorted(filter(None, (before.sample, check.sample)))
                check = msgspec.structs.replace(
                    check, failed=before.failed + check.failed, sample=samples[0] if samples else ""
                )
            self._found[place] = check

    def put(self, name: str, kind: Kind, rows: int = 0, sample: object = "", **about: Unpack[_About]) -> None:
        """A check of the whole table ran; it replaces an earlier result."""
        check = _check(name, kind, rows, sample, **about)
        with self._lock:
            self._found[check.name, check.column] = check


def _check(
    name: str,
    kind: Kind,
    rows: int,
    sample: object,
    *,
    column: str = "",
    severity: Severity = "error",
    personal: bool = False,
) -> Check:
    shown = "" if not rows or sample is None or sample == "" else MASKED if personal else safe_text(sample, NAME)
    return Check(
        name=legible(name, LONGEST_NAME),
        kind=kind,
        severity=severity,
        failed=rows,
        column=legible(column, NAME),
        sample=shown,
    )
