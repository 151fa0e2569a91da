"""Guards as checks: what each is called, and what a candidate that was compared found, in the list of its checks.

Here: names and results. Not here: comparing (`guards.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from catalunya.assets.making.maker import Context
from catalunya.contracts.model.contract import Contract
from catalunya.contracts.model.results import percent

Guard = Literal["shrink", "growth", "change", "loss"]
GUARDS: dict[Guard, str] = {
    "shrink": "guard: rows lost at most",
    "growth": "guard: rows added at most",
    "change": "guard: values changed at most",
    "loss": "guard: values lost at most",
}
"""What the check of each guard is called, before its limit."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One guard that a candidate breaks, by how many rows or values, and some of them. `shrink` and `growth` are about rows, the others
    about a column."""

    guard: Guard
    what: str
    failed: int
    column: str = ""
    sample: str = ""


def count_guards(
    context: Context,
    contract: type[Contract],
    found: Sequence[Breach],
    ran: Sequence[Guard],
    *,
    is_accepted: bool = False,
) -> None:
    """Count these guards as run, those without a limit excepted. One that a column broke counts for that column."""
    terms, columns = contract.terms(), {column.name: column for column in context.asset.columns}
    limits = {
        "shrink": terms.max_shrink,
        "growth": terms.max_growth,
        "change": terms.max_change,
        "loss": terms.max_loss,
    }
    broken = {breach.guard for breach in found}
    for guard in ran:
        if guard not in broken and (limits[guard] < 1 or guard == "growth"):
            context.checks.put(f"{GUARDS[guard]} {percent(limits[guard])}", "guard")
    is_key_personal = any(column.personal for column in columns.values() if column.key)
    for breach in found:
        column = columns.get(breach.column)
        own = column.max_change if column and breach.guard == "change" else None
        context.checks.put(
            f"{GUARDS[breach.guard]} {percent(limits[breach.guard] if own is None else own)}",
            "guard",
            breach.failed,
            breach.sample,
            column=breach.column,
            severity="warning" if is_accepted else "error",
            personal=is_key_personal or bool(column and column.personal),
        )
