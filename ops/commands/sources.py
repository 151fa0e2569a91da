"""`catalunya sources`: where each landing table is read from, whether its sources are as declared, and reading it from another one.

Here: the commands and how their results look. Not here: the check (`assets/making/source_check.py`), editing the project's file
(`ops/source_switch.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from catalunya.assets.graph.alternatives import FIRST, unknown
from catalunya.assets.graph.spec import LandingDeclaration, Layer
from catalunya.assets.record.project import Project
from catalunya.assets.record.source_checks import SourceCheck, keep
from catalunya.io.environment import NO_MOCK, load_settings
from catalunya.io.errors import LakeError, UsageError
from catalunya.io.project_folder import FILE, active
from catalunya.io.safe_text import legible
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Select, selection

sources = App(name="sources", group_commands=Group("Commands", sort_key=0))


@sources.default
def show(*, as_json: AsJson = False) -> None:
    """Show which source each landing table is read from, and which others it could be read from."""
    project = Project()
    found: list[dict[str, Any]] = []
    for key, declared in project.declarations.items():
        if isinstance(declared, LandingDeclaration):
            others = {name: declared.using(_as_name(name)).source.describe() for name in declared.asset.standbys}
            in_use = declared.in_use or (FIRST if others else "")
            found.append({"asset": key, "source": declared.source.describe(), "in_use": in_use, "standby": others})
    if as_json:
        console.emit_json(found)
        return
    rows = []
    for each in found:
        standby = "; ".join(f"{name}: {text}" for name, text in each["standby"].items())
        rows.append((each["asset"], each["source"], each["in_use"], standby))
    console.table(["landing table", "read from", "in use", "alternatives"], rows)


@sources.command
def switch(
    table: Annotated[str, Parameter(help="A landing table: population.")],
    to: Annotated[str | None, Parameter(help="The name of the alternative source: pmh.")] = None,
    *,
    back: Annotated[bool, FLAG, Parameter(help="Read the table from its first source again.")] = False,
    live: Annotated[bool, FLAG, Parameter(help="Ask the real portal, also in the local environment.")] = False,
    as_json: AsJson = False,
) -> int:
    """Read a landing table from another of its sources: asks that source first, then changes `assets/project.toml`.

    Nothing is made: review the change and deploy it like code. Exits with 1, and changes nothing, when the source does not answer or match.
    """
    from catalunya.assets.making.source_check import check_source
    from catalunya.ops.source_switch import read, switched, write

    project = Project(load_settings(mock_url=NO_MOCK) if live else None)
    key = project.graph[f"{Layer.LANDING}.{table.removeprefix(f'{Layer.LANDING}.')}"].key
    declared = project.declarations[key]
    assert isinstance(declared, LandingDeclaration)
    if back == bool(to):
        raise UsageError(
            f"expected the name of an alternative of {key} or --back, found {'both' if back else 'neither'}"
        )
    name = _as_name(to or FIRST)
    if name and name not in declared.alternatives:
        raise UsageError(unknown(key, declared.alternatives, name))
    other = declared.using(name)
    before, now = declared.source.describe(), other.source.describe()
    if name == declared.in_use:
        console.say(f"{key} is read from {now} already: nothing to switch")
        return 0
    found = check_source(project, other)
    steps = [asset.key for asset in project.graph.select(f"{key}+")]
    if found.matches:
        path = active().folder / FILE
        text = read(path)
        write(path, switched(text, declared.name, name), before=text)
    if as_json:
        made = steps if found.matches else []
        console.emit_json(
            {
                "asset": key,
                "from": before,
                "to": now,
                "switched": found.matches,
                "remade": made,
                "problems": list(found.problems),
            }
        )
    elif found.matches:
        console.say(f"{key}: {before} -> {now} ({FILE})", style="bold")
        console.say(f"  remade   {', '.join(steps)}")
        console.say("  next     review the change of the file; `make generate`; commit and deploy it, then")
        console.say(f"           catalunya materialize {key}+ --accept-change")
    else:
        _show(found)
        console.say(f"{key} is still read from {before}: nothing was changed")
    return int(not found.matches)


def _as_name(name: str) -> str:
    """The name of an alternative as its declaration has it: its first source has none."""
    return "" if name == FIRST else name


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
    """Check that the sources answer and are as declared: ids, fields, dimensions. Alternatives too. Nothing is landed.

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
        standby = sum(bool(each.standby) for each in found)
        console.say(
            f"{console.counted(len(found), 'source')} checked"
            + (f" ({standby} not in use)" if standby else "")
            + f", {wrong} not as declared"
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
    note = f"  ({found.standby}: not in use)" if found.standby else ""
    console.say(f"{found.asset}  {found.source}{note}", style="bold")
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
