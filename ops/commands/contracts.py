"""`contracts diff`: which changes since an earlier commit break those who read the tables.

Here: the earlier graph, and showing the differences. Not here: what breaks (`contracts/model/compatibility.py`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

from catalunya.assets.graph.document import SNAPSHOT
from catalunya.io.environment import load_settings
from catalunya.io.errors import UsageError
from catalunya.ops import console, git
from catalunya.ops.commands.options import AsJson

if TYPE_CHECKING:
    from catalunya.contracts.model.compatibility import Change

BEFORE = "HEAD~1"

contracts = App(name="contracts", group_commands=Group("Commands", sort_key=0))


@contracts.command
def diff(
    *,
    base: Annotated[
        str | None,
        Parameter(
            help="The commit to compare with, as git names it. Without: the one before the last, if there is one."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show how the graph differs from a commit's, and which changes break readers.

    Exit with 1 if one does and is not declared, by raising its contract's version: `class Gdp(Contract, version=2)`.
    """
    from catalunya.contracts.model.compatibility import compare, undeclared
    from catalunya.ops.generate import graph_now

    revision = BEFORE if base is None else base
    try:
        was = _graph_at(revision)
    except UsageError as error:
        if base is not None:
            raise
        return _nothing_to_compare(str(error), as_json=as_json)
    now = graph_now(load_settings())
    changes = compare(was, now)
    breaking = undeclared(changes)
    if as_json:
        rows = [asdict(change) | {"verdict": change.verdict} for change in changes]
        console.emit_json({"base": revision, "undeclared": len(breaking), "changes": rows})
    elif not changes:
        console.say(f"the graph is that of {revision}")
    else:
        _show(changes)
        for line in _advice(breaking, was, now):
            console.say(line)
    return int(bool(breaking))


def _graph_at(revision: str) -> dict[str, Any]:
    """The snapshot that a commit holds. Raises UsageError, one line, when there is none to be had."""
    stored = git.file_at(revision, SNAPSHOT)
    try:
        found = json.loads(stored)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("assets"), dict):
        raise UsageError(
            f"{SNAPSHOT} in {revision!r} is no snapshot of the graph, expected JSON with `assets`; choose another base"
        )
    return found


def _nothing_to_compare(why: str, *, as_json: bool) -> int:
    if as_json:
        console.emit_json({"base": None, "undeclared": 0, "changes": [], "why": why})
    else:
        console.say(f"contracts not compared: {why}")
    return 0


def _show(changes: list[Change]) -> None:
    rows = [
        (
            change.verdict,
            change.asset,
            change.column,
            change.what,
            _value(change.was),
            _value(change.now),
            change.breaks,
        )
        for change in changes
    ]
    console.table(["verdict", "asset", "column", "change", "was", "is", "why it breaks"], rows)


def _advice(breaking: list[Change], was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What to do about changes that break readers and are not declared, a line each table."""
    keys = dict.fromkeys(change.asset for change in breaking)
    said = [f"{len(breaking)} breaking changes are not declared. Undo them, or where they are meant:"] if keys else []
    for key in keys:
        if key in now["assets"]:
            contract, version = now["assets"][key]["contract"], was["assets"][key].get("version", 1) + 1
            said.append(f"  {key}: raise its contract's version: `class {contract}(…, version={version})`")
        else:
            said.append(f"  {key}: name it in contracts/retired.py, with what its readers do instead")
    return said


def _value(value: Any) -> str | None:
    """A value as a cell of the table; a long one is cut, the whole of it is in the JSON."""
    match value:
        case None | str():
            text = value
        case list():
            text = ", ".join(map(str, value))
        case _:
            text = json.dumps(value, ensure_ascii=False)
    return text if text is None or len(text) <= console.CELL_WIDTH else f"{text[: console.CELL_WIDTH - 1]}…"
