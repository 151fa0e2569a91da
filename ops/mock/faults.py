"""Faults on demand: how they are written, and which of them apply to a request.

A fault is written `KIND[:DATASET][:NAME=VALUE]...`, for example `rate-limited:ivft-vegh:times=2:retry-after=1` or
`too-heavy:ep/9122/10002/mun:cells=9000`. Not here: what a fault does to an answer (`exchange.py`) or to a table
(`socrata.py`, `idescat.py`).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from typing import Literal

from catalunya.io.errors import UsageError

Kind = Literal["rows", "count", "metadata"]
"""What a request is for."""

ANSWER_KINDS = {
    "rate-limited": "429 with Retry-After, in seconds (retry-after=1)",
    "rate-limited-bare": "429 without Retry-After and with a body that is not JSON",
    "error-500": "500 with an HTML body",
    "error-503": "503 with an HTML body",
    "error-504": "504 with an HTML body",
    "slow": "waits before it answers (seconds=3)",
    "cut-off": "closes the connection in the middle of the body",
    "truncated": "a complete HTTP answer whose JSON ends in the middle",
    "wrong-json": "200 with HTML (body=html) or with one broken row in the array (body=array)",
}
TABLE_KINDS = {
    "new-column": "one more column, in data and metadata (column=nova_columna); IDESCAT: a dimension",
    "missing-column": "one column less (column=...); IDESCAT: a dimension, of which the total is left",
    "renamed-column": "a column under another name (column=..., to=...); IDESCAT: a dimension",
    "retyped-column": "a column of another type (column=..., to=text|number|json-number|calendar_date|point|checkbox); "
    "not for IDESCAT",
    "empty": "200 without rows, and a count of 0; IDESCAT: without places",
    "shrunken": "only the first rows of the table are left (keep=0.5); IDESCAT: the first places",
    "moving-rows": "publishes a new version after each page of rows",
}
STATISTICS_KINDS = {
    "error-in-200": "IDESCAT: an error's body with status 200 (id=05, 00 to 06)",
    "too-heavy": "IDESCAT: 504 if more than so many cells are requested (cells=10000)",
    "ignored-filter": "IDESCAT: the whole table whatever is requested, even beyond the limit of cells",
    "sparse": "IDESCAT: values as an object that leaves out the missing ones, instead of as an array",
}
FILE_KINDS = {
    "no-validators": "files: neither ETag nor Last-Modified, nor a part of the file on request",
}
PORTAL_FAULTS = frozenset(ANSWER_KINDS | TABLE_KINDS)
"""The kinds for Socrata's tables."""
STATISTICS_FAULTS = frozenset(ANSWER_KINDS | TABLE_KINDS | STATISTICS_KINDS) - {"retyped-column"}
"""The kinds for IDESCAT's tables: a column is a dimension there, rows are places."""
FILE_FAULTS = frozenset(ANSWER_KINDS | FILE_KINDS) | {"moving-rows"}
"""The kinds for files."""
DOCUMENT_FAULTS = frozenset(ANSWER_KINDS) | {"moving-rows"}
"""The kinds for JSON-stat at any URL."""
KINDS = ANSWER_KINDS | TABLE_KINDS | STATISTICS_KINDS | FILE_KINDS
_OF_ROWS = {"moving-rows", "too-heavy", "ignored-filter", "sparse"}
COMMON = {
    "times": "only this many requests, from the first that matches",
    "after": "let this many matching requests pass first",
    "share": "this share of the matching requests, 0 to 1",
    "on": "rows, count, metadata or any (the default); a fault of one alone leaves the table's dates as they are",
}
TYPES = ("text", "number", "json-number", "calendar_date", "point", "checkbox")
_OPTIONS = {
    "rate-limited": ("retry-after",),
    "slow": ("seconds",),
    "wrong-json": ("body",),
    "new-column": ("column",),
    "missing-column": ("column",),
    "renamed-column": ("column", "to"),
    "retyped-column": ("column", "to"),
    "shrunken": ("keep",),
    "error-in-200": ("id",),
    "too-heavy": ("cells",),
}
_CHOICES = {
    "on": ("rows", "count", "metadata", "any"),
    "body": ("html", "array"),
    "id": tuple(f"{number:02}" for number in range(7)),
}


@dataclass(frozen=True)
class Fault:
    """One fault; an empty `dataset` means every dataset, an empty `column` the dataset's default."""

    kind: str
    dataset: str = ""
    times: int | None = None
    after: int = 0
    share: float = 1.0
    on: str = "any"
    retry_after: int = 1
    seconds: float = 3.0
    body: str = "html"
    column: str = ""
    to: str = ""
    keep: float = 0.5
    id: str = "05"
    cells: int = 10_000

    @property
    def spec(self) -> str:
        """The fault as it is written."""
        parts = [self.kind] + ([self.dataset] if self.dataset else [])
        for item in fields(self)[2:]:
            value = getattr(self, item.name)
            if value != item.default:
                parts.append(f"{item.name.replace('_', '-')}={value}")
        return ":".join(parts)


def parse_fault(spec: str) -> Fault:
    """Read `KIND[:DATASET][:NAME=VALUE]...`. Raises UsageError, naming the part that cannot be read."""
    kind, *parts = spec.strip().split(":")
    if kind not in KINDS:
        raise UsageError(f"Fault {spec!r}: expected one of {', '.join(KINDS)}; found {kind!r}.")
    allowed = (*COMMON, *_OPTIONS.get(kind, ()))
    values: dict[str, object] = {"kind": kind}
    if parts and parts[0] and "=" not in parts[0]:
        values["dataset"] = parts.pop(0)
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in allowed:
            raise UsageError(
                f"Fault {spec!r}: expected NAME=VALUE with a name of {', '.join(allowed)}; found {part!r}."
            )
        values[name.replace("-", "_")] = _value(spec, name, value)
    return Fault(**values)  # type: ignore[arg-type]


def _value(spec: str, name: str, text: str) -> int | float | str:
    choices = TYPES if spec.startswith("retyped-column") and name == "to" else _CHOICES.get(name)
    if choices and text not in choices:
        raise UsageError(f"Fault {spec!r}: expected {name} to be one of {', '.join(choices)}; found {text!r}.")
    if name in ("times", "after", "retry-after", "cells"):
        number: type[int | float] = int
    elif name in ("share", "seconds", "keep"):
        number = float
    else:
        return text
    most = 1 if name in ("share", "keep") else 10**9
    try:
        value = number(text)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise UsageError(f"Fault {spec!r}: expected {name} to be a number from 0 to {most}; found {text!r}.")
    return value


@dataclass
class _Counted:
    fault: Fault
    seen: int = 0
    applied: int = 0


@dataclass
class FaultPlan:
    """The faults in force, and how many requests each has seen. Safe to use from several threads."""

    seed: int = 0
    _counted: list[_Counted] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def replace(self, specs: Iterable[str]) -> None:
        """Put these in force instead of the present ones and start counting at 0. On UsageError nothing changes."""
        counted = [_Counted(parse_fault(spec)) for spec in specs]
        with self._lock:
            self._counted = counted

    def admit(self, dataset: str, kind: Kind, kinds: Collection[str]) -> list[Fault]:
        """Count one request and return the faults that apply to it, in the order they were given."""
        with self._lock:
            known = [each for each in self._counted if each.fault.kind in kinds]
            return [each.fault for each in known if self._applies(each, dataset, kind)]

    def describe(self) -> list[dict[str, object]]:
        """Each fault with the number of requests it has seen and the number it was applied to."""
        with self._lock:
            return [{"fault": c.fault.spec, "seen": c.seen, "applied": c.applied} for c in self._counted]

    def _applies(self, counted: _Counted, dataset: str, kind: Kind) -> bool:
        fault = counted.fault
        on = "rows" if fault.kind in _OF_ROWS else fault.on
        if fault.dataset not in ("", dataset) or on not in ("any", kind):
            return False
        counted.seen += 1
        if counted.seen <= fault.after or (fault.times is not None and counted.applied >= fault.times):
            return False
        chance = random.Random(f"{self.seed} {counted.seen}").random()  # noqa: S311 - no secret hangs on it
        if chance >= fault.share:
            return False
        counted.applied += 1
        return True
