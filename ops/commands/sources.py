"""`catalunya sources check`: ask the sources for their metadata, and compare them with what is declared.

Here: the command and how its result looks. Not here: the check (`assets/making/source_check.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import SourceCheck, keep
from catalunya.io.environment import NO_MOCK, load_settings
from catalunya.io.errors import LakeError, UsageError
from catalunya.io.safe_text import legible
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Select, selection

sources = App(name="sources", group_commands=Group("Commands", sort_key=0))


@sources.command
def check(
    *select: Select,
    live: Annotated[bool, FLAG, Parameter(help="Ask the real portals, also in the local environment.")] = False,
    record: Annotated[
        Path | None,
        Parameter(
            help="A folder in which to keep all answers, one .har file a source; `catalunya mock --real` serves it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check that the sources answer and are as declared: ids, fields, dimensions. Nothing is landed.

    Sends one or two requests for metadata for each dataset. Exits with 1 when a source does not answer or does not match. The result is
    kept in the lake, and `catalunya status` shows it.
    """
    from catalunya.assets.making.source_check import check_sources

    project = Project(load_settings(mock_url=NO_MOCK) if live else None)
    chosen = [asset.key for asset in project.graph.select(selection(select)) if asset.layer is Layer.LANDING]
    if not chosen:
        raise UsageError("expected a landing table, found none in the selection; `catalunya ls 'landing.*'` lists them")
    found = []
    for each in check_sources(project, chosen, record):
        found.append(each)
        if not as_json:
            _show(each)
    # The local lake is made from the mock: what the real portals say does not belong in its status.
    if not (live and project.settings.env == "local"):
        _keep(project, found)
    if as_json:
        console.emit_json([{**_as_data(each), "matches": each.matches} for each in found])
    else:
        wrong = sum(not each.matches for each in found)
        console.say(
            f"{console.counted(len(found), 'source')} checked, {wrong} not as declared"
            + (f"; answers in {record}" if record else "")
        )
    return int(not all(each.matches for each in found))


def _keep(project: Project, found: list[SourceCheck]) -> None:
    for each in found:
        try:
            keep(project.lake, each)
        except LakeError as error:
            console.warn(f"{each.asset}: the result is not kept for `catalunya status`: {error}")


def _as_data(found: SourceCheck) -> dict[str, object]:
    return {name: getattr(found, name) for name in SourceCheck.__dataclass_fields__}


def _show(found: SourceCheck) -> None:
    console.say(f"{found.asset}  {found.source}", style="bold")
    for dataset in found.datasets:
        updated = f"{dataset.updated_at:%Y-%m-%d %H:%M} UTC" if dataset.updated_at else "unknown"
        unit = "cells" if dataset.cells_at_most else "rows"
        counted = f"{unit} not counted" if dataset.rows is None else f"{console.number(dataset.rows)} {unit}"
        limit = f" (at most {dataset.cells_at_most:,} in one answer)" if dataset.cells_at_most else ""
        console.say(f"  found    {dataset.id}  {legible(dataset.title, 200)}")
        console.say(f"           updated {updated}, {counted}{limit}, licence {dataset.licence or 'not given'}")
    rows = {
        "bound": ", ".join(f"{name} ({kind})" if kind else name for name, kind in found.bound.items()),
        "missing": ", ".join(found.missing),
        "new": ", ".join(f"{name} ({kind})" if kind else name for name, kind in found.new.items()),
    }
    for name, text in rows.items():
        if text:
            console.say(f"  {name:<8} {text}")
    for problem in found.problems:
        console.say(f"  problem  {problem}", style="red")
    if found.matches:
        console.say("  matches", style="green")
