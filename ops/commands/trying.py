"""`catalunya try`: make one table from its recorded sample, look at it, and leave nothing behind.

Here: the command and how its result looks. Not here: making the table (`ops/scaffold/trial.py`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.io.environment import load_settings
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Key

if TYPE_CHECKING:
    from catalunya.ops.scaffold.trial import Trial


def try_(
    key: Key,
    *,
    live: Annotated[bool, FLAG, Parameter(help="Read the whole tables from the real portals.")] = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Number of rows shown.")] = 10,
    as_json: AsJson = False,
) -> int:
    """Make a table and what it reads in a scratch lake, from the recorded samples, and show its rows, its quarantine and a profile.

    Nothing is kept: no ledger, table or catalog changes. Exits with 1 if the table breaks its contract.
    """
    from catalunya.ops.scaffold.trial import try_out

    trial = try_out(key, load_settings(), live=live, limit=limit)
    if as_json:
        rows = {"first": trial.first.to_dicts(), "quarantine": trial.quarantine.to_dicts()}
        document = {name: getattr(trial, name) for name in type(trial).__dataclass_fields__} | rows
        console.emit_json(document | {"columns": [asdict(each) for each in trial.columns], "made": dict(trial.made)})
    else:
        _show(trial)
    return int(bool(trial.error))


def _show(trial: Trial) -> None:
    before = ", ".join(f"{key} {rows:,}" for key, rows in trial.made.items())
    console.say(
        f"{trial.key}: {console.counted(trial.rows, 'row')}" + (f" (from {before})" if before else ""), style="bold"
    )
    if trial.columns:
        console.grid(
            trial.first.columns, trial.first.rows(), numeric=[e.name for e in trial.columns if e.type in _NUMBERS]
        )
        console.say()
        console.table(
            {
                "column": "left",
                "type": "left",
                "nulls": "right",
                "distinct": "right",
                "least": "left",
                "most": "left",
                "examples": "left",
            },
            [
                [
                    e.name,
                    e.type,
                    f"{e.nulls:,}",
                    f"{e.distinct:,}",
                    _short(e.low),
                    _short(e.high),
                    ", ".join(map(_short, e.examples)),
                ]
                for e in trial.columns
            ],
        )
        console.say()
    console.say(f"{console.counted(trial.quarantined, 'row')} in quarantine")
    if trial.quarantine.height:
        console.grid(trial.quarantine.columns, trial.quarantine.rows())
    for text in (*([f"drift: {trial.drift}"] if trial.drift else []), *trial.warnings):
        console.say(text)
    if trial.error:
        console.say(f"not made: {trial.error}", style="red")
    else:
        console.say(f"nothing was kept; `catalunya materialize +{trial.key}` makes the table")


_NUMBERS = frozenset({"integer", "bigint", "double"})


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
