"""The commands that look at the graph and the ledger: `ls`, `lineage`, `plan`, `show`, `status` and `history`. Nothing is made.

Each imports what it needs when it is called: most of the time of a look is imports. Not here: querying tables (`query.py`), how tables and
lineage look on a terminal (`ops/console.py`, `ops/lineage_view.py`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.graph.spec import Asset, LandingDeclaration, Layer
from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Force, Key, Select, selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalunya.assets.record.failing import Acknowledgement
    from catalunya.assets.record.ledger import Entry
    from catalunya.assets.record.state import Stale, State
    from catalunya.ops.status import AssetStatus

PORTAL = "portal"
"""The key of the public pages in `status` and `plan`."""
_STATUS_HEADINGS = {
    "asset": "left",
    "state": "left",
    "rows": "right",
    "quarantined": "right",
    "last run": "left",
    "source updated": "left",
    "why": "left",
}
_HISTORY_HEADINGS = {
    "#": "right",
    "when (UTC)": "left",
    "status": "left",
    "reason": "left",
    "rows": "right",
    "size": "right",
    "quarantined": "right",
    "seconds": "right",
    "run": "left",
}


def ls(*select: Select, as_json: AsJson = False) -> None:
    """List the assets."""
    assets = Project().graph.select(selection(select))
    if as_json:
        console.emit_json([_described(asset) for asset in assets])
        return
    rows = [
        (a.key, _schedule(a), a.source if a.schedule else "", console.first_sentence(a.description)) for a in assets
    ]
    console.table(["asset", "schedule (UTC)", "source", "description"], rows)


def lineage(
    key: Annotated[
        str | None,
        Parameter(help="The key of one asset, such as staging.population, or a column: marts.dim_time.date_id."),
    ] = None,
    *,
    format: Annotated[Literal["text", "mermaid", "json"], Parameter(help="Output format.")] = "text",  # noqa: A002
    as_json: AsJson = False,
) -> None:
    """Show the lineage of all assets, or what is upstream and downstream of one asset or one column.

    Of a column: what it is made from, down to the fields of the sources, and which columns are made from it. Joins and filters are not
    followed: the columns that they use decide which rows a table has, and are listed as that.
    """
    from catalunya.assets.graph.column_lineage import load_lineage, parse_column
    from catalunya.ops import lineage_view

    graph = Project().graph
    if key is not None and (found := parse_column(key, graph)):
        lineage_view.show_column(load_lineage(graph), *found, "json" if as_json else format)
        return
    keys = (
        {asset.key for asset in graph}
        if key is None
        else {graph[key].key, *graph.ancestors(key), *graph.descendants(key)}
    )
    assets = [asset for asset in graph if asset.key in keys]
    edges = [
        lineage_view.Edge(up, asset.key, up in asset.optional)
        for asset in assets
        for up in asset.upstream
        if up in keys
    ]
    if as_json or format == "json":
        nodes = [{"key": a.key, "layer": a.layer, "description": a.description} for a in assets]
        drawn = [{"from": edge.up, "to": edge.down, "optional": edge.is_optional} for edge in edges]
        console.emit_json({"nodes": nodes, "edges": drawn})
    elif format == "mermaid":
        console.say(lineage_view.mermaid(assets, edges))
    else:
        lineage_view.draw(graph, assets, key)


def plan(*select: Select, force: Force = False, as_json: AsJson = False) -> None:
    """Show what materialize would make, and why. Nothing is changed, no source is called."""
    from catalunya.assets.making import plan as planning

    project = Project()
    state = project.overview()
    steps = planning.plan(state, project.graph.select(selection(select)), force=force)
    if not select and (pages := _pages_to_build(project, state, follows=bool(steps))):
        steps = [*steps, pages]
    show_steps(steps, as_json=as_json)


def _pages_to_build(project: Project, state: State, *, follows: bool) -> Stale | None:
    """The public pages as a last step, if they were built before: they are out of date, or will be after the other steps."""
    from catalunya.assets.record.state import Reason, Stale
    from catalunya.portal.making import brief_status

    found = brief_status(project, state)
    if found.built is None:
        return None
    if follows:
        return Stale(PORTAL, Reason.UPSTREAM, "the pages show these tables")
    return Stale(PORTAL, Reason.DATA, found.why) if found.state == "stale" else None


def show(
    key: Key,
    *,
    rows: Annotated[int, Parameter(validator=Number(gte=0, lte=1000), help="Rows in the preview.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show one asset: its declaration, contract, last materialization and first rows."""
    from catalunya.assets.graph.column_lineage import load_lineage
    from catalunya.ops import lineage_view

    project = Project()
    asset = project.graph[key]
    entry = project.state().latest(key)
    names, preview = first_rows(project, asset, entry, rows) if entry and rows else ([], [])
    declaration = _declaration(project, asset)
    made = load_lineage(project.graph)
    if as_json:
        console.emit_json(
            {
                "declaration": declaration,
                "columns": [
                    {**asdict(column), "made_from": lineage_view.described(made.made(key, column.name))}
                    for column in asset.columns
                ],
                "last": entry,
                "without": project.state().without(key),
                "preview": [dict(zip(names, row, strict=True)) for row in preview],
            }
        )
        return
    console.say(asset.key, style="bold")
    console.say(asset.description)
    console.say()
    for name, value in declaration.items():
        if name not in ("key", "description") and value not in (None, [], ""):
            console.say(f"{name.replace('_', ' '):<14} {', '.join(value) if isinstance(value, list) else value}")
    console.say()
    console.table(
        ["column", "type", "key", "null", "unit", "made from", "description"],
        [_column(column, lineage_view.in_short(made.made(key, column.name))) for column in asset.columns],
    )
    console.say()
    _show_last(project, asset, entry)
    _show_checks(project, key, entry)
    if preview:
        console.say()
        console.grid(names, preview)


def status(
    *select: Select,
    check: Annotated[
        bool,
        FLAG,
        Parameter(
            help="Exit with 1 if any asset is stale, missing, unreadable, overdue, or failed and not acknowledged; for monitoring."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show which assets are fresh, stale, failed or overdue, with their rows and last runs."""
    from catalunya.ops.status import site_row, statuses
    from catalunya.ops.watching.findings import read_board

    project = Project()
    board, state = read_board(project.lake), project.overview()
    tables = tuple(term for term in select if term != PORTAL)
    chosen = project.graph.select(selection(tables)) if tables or not select else []
    found = statuses(state, chosen, board)
    if len(tables) < len(select) or not select:
        found.append(site_row(project, state, board))
    if as_json:
        console.emit_json(found)
    else:
        console.table(_STATUS_HEADINGS, [_status_row(one) for one in found])
        if board.open:
            urgent = sum(each.is_urgent for each in board.open)
            seen = f"{console.counted(len(board.open), 'finding')} {console.ago(board.at)}, {urgent} urgent"
            console.say(f"{seen}: `catalunya watch` shows what is wrong and what to do", style="yellow")
        if all(one.state == "missing" for one in found):
            _first_steps(project)
    # Pages that were never built are no failure: not every project has them.
    return int(check and not all(one.is_fine or (one.asset, one.state) == (PORTAL, "missing") for one in found))


def history(
    key: Key,
    *,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Number of entries, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the materializations of one asset, newest first."""
    project = Project()
    entries = project.ledger.history(project.graph[key].key)[::-1][:limit]
    known = _acknowledged(project, key) if entries and entries[0].status == "failed" else None
    if as_json:
        newest = entries[0].sequence if entries else 0
        console.emit_json(
            [{**asdict(entry), "acknowledged": known if entry.sequence == newest else None} for entry in entries]
        )
    elif not entries:
        console.say(never_made(key))
    else:
        state = project.state()
        console.table(_HISTORY_HEADINGS, [_history_row(entry, state.gaps(entry), known) for entry in entries])


def show_steps(steps: Sequence[Stale], *, as_json: bool) -> None:
    """A plan as a table, or as JSON."""
    if as_json:
        console.emit_json([{"asset": step.key, "reason": step.reason, "why": step.why} for step in steps])
    elif not steps:
        console.say("everything is up to date")
    else:
        console.table(["asset", "reason", "why"], [(step.key, step.reason, step.why) for step in steps])


def never_made(key: str) -> str:
    """What to say about an asset without a materialization."""
    return f"{key} has never been made; to make it and everything upstream: `catalunya materialize +{key}`"


def first_rows(project: Project, asset: Asset, entry: Entry, count: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names and first rows of a published table; of a landing asset, those of its raw page with personal fields masked."""
    if asset.layer is not Layer.LANDING:
        from catalunya.assets.record.paths import scan_table

        frame = scan_table(project.lake, asset, entry).head(count).collect() if entry.objects else None
        return (frame.columns, frame.rows()) if frame is not None else ([], [])
    if not entry.objects or not project.state().has_batch(entry):
        return [], []
    import polars as pl

    from catalunya.assets.record.batch import read_batch
    from catalunya.contracts.model.results import MASKED
    from catalunya.io.safe_text import is_pattern
    from catalunya.io.sources.pages import read_page

    batch = read_batch(project.lake, entry.batch or "", entry)
    page = batch.manifest.pages[0]
    names = [column.name for column in asset.columns if not is_pattern(column.name)]
    declared = project.declarations[asset.key]
    assert isinstance(declared, LandingDeclaration)
    declared = declared.of_dataset(batch.manifest.source)
    theirs = declared.reading.theirs(names)
    raw = read_page(batch.read(project.lake, page), page.name, theirs, declared.source, asset.key)
    read = declared.reading.named(raw).head(count).select(names)
    hidden = [
        pl.when(pl.col(c.name).is_not_null()).then(pl.lit(MASKED)).alias(c.name)
        for c in asset.columns
        if c.personal and c.name in names
    ]
    return names, read.with_columns(hidden).rows()


def _described(asset: Asset) -> dict[str, Any]:
    return {
        "key": asset.key,
        "layer": asset.layer,
        "description": asset.description,
        "uri": asset.uri,
        "source": asset.source,
        "alternatives": list(asset.alternatives),
        "in_use": asset.in_use,
        "schedule": asset.schedule,
        "upstream": list(asset.upstream),
        "optional": list(asset.optional),
        "partition_by": list(asset.partition_by),
        "columns": len(asset.columns),
        "code_version": asset.code_version,
        "declared_in": asset.module,
    }


def _declaration(project: Project, asset: Asset) -> dict[str, Any]:
    return {
        **_described(asset),
        "location": project.lake.url(asset.prefix),
        "clock": asset.clock,
        "freshness": console.hours(asset.freshness.hours) if asset.freshness else None,
        "downstream": [down.key for down in project.graph.downstream(asset.key)],
        "retention": f"{asset.keep_days} d",
    }


def _schedule(asset: Asset) -> str:
    if asset.schedule:
        return asset.schedule
    return ", ".join(
        [*(["on upstream change"] if asset.upstream else []), *([f"every {asset.clock}"] if asset.clock else [])]
    )


def _column(column: Any, made_from: str) -> tuple[object, ...]:
    personal = "personal data, stays in landing. " if column.personal else ""
    return (
        column.name,
        column.type,
        "key" if column.key else "",
        "null" if column.nullable else "",
        column.unit,
        made_from,
        personal + column.description,
    )


def _show_last(project: Project, asset: Asset, entry: Entry | None) -> None:
    if entry is None:
        console.say(never_made(asset.key))
        return
    facts = [
        console.counted(entry.rows, "row"),
        console.size(entry.bytes),
        console.counted(len(entry.objects), "object"),
        f"in {entry.seconds:.1f} s",
    ]
    if entry.quarantined:
        facts.append(
            f"{console.counted(entry.quarantined, 'row')} in quarantine (see `catalunya quarantine {asset.key}`)"
        )
    if entry.drift:
        facts.append(f"drift: {entry.drift}")
    console.say(
        f"last made {console.ago(entry.started_at)} ({entry.started_at:%Y-%m-%d %H:%M} UTC), {entry.reason}: {', '.join(facts)}"
    )
    if without := project.state().without(asset.key):
        console.say(f"made without {', '.join(without)}", style="yellow")
    for warning in entry.warnings:
        console.say(f"warning: {warning}", style="yellow")
    if entry.source_updated_at:
        console.say(f"source last updated {console.ago(entry.source_updated_at)}")
    stale = project.state().stale(asset.key)
    if stale:
        console.say(f"stale, {stale.reason}: {stale.why}", style="yellow")
    if asset.layer is Layer.LANDING and not project.state().has_batch(entry):
        console.say("no preview: the batch was deleted after staging used it")


def _show_checks(project: Project, key: str, made: Entry | None) -> None:
    """All checks of the last materialization, and those that a later attempt failed."""
    from catalunya.contracts.model.results import describe, failed, result, title

    if made and made.checks:
        broken = len(failed(made.checks))
        passed = len(made.checks) - broken
        console.say()
        console.say(f"{console.counted(passed, 'check')} passed, {broken} failed")
        console.table(
            ["check", "kind", "severity", "result"], [(title(c), c.kind, c.severity, result(c)) for c in made.checks]
        )
    last = project.ledger.last_attempt(key)
    if last and last.status == "failed" and last is not made:
        for check in failed(last.checks):
            console.say(f"failed in the last attempt: {describe(check)}", style="yellow")


def _status_row(one: AssetStatus) -> tuple[object, ...]:
    why = one.why
    if one.overdue_hours is not None:
        late = f"source is {console.hours(one.overdue_hours)} overdue (expected every {console.hours(one.freshness_hours or 0)})"
        why = f"{late}; {why}" if why else late
    known = one.acknowledged.text if one.acknowledged else ""
    gaps = f"made without {', '.join(one.without)}" if one.without else ""
    why = "; ".join(
        filter(
            None,
            [
                one.source_problem,
                why,
                f"read from its alternative source {one.in_use}" if one.in_use else "",
                gaps,
                known,
                *one.findings,
                *(f"warning: {warning}" for warning in one.warnings),
            ],
        )
    )
    state = "overdue" if one.state == "fresh" and one.overdue_hours is not None else one.state
    return (
        one.asset,
        state,
        console.number(one.rows),
        console.number(one.quarantined or None),
        console.ago(one.last_run_at),
        console.ago(one.source_updated_at),
        why,
    )


def _acknowledged(project: Project, key: str) -> Acknowledgement | None:
    """Who acknowledged the failure that stands."""
    from catalunya.assets.record.failing import acknowledged, failing

    found = failing(project.state(), key)
    return acknowledged(project.lake, found) if found else None


def _history_row(entry: Entry, without: Sequence[str], known: Acknowledgement | None = None) -> tuple[object, ...]:
    made = entry.status != "failed"
    gaps = ", ".join(without) if made else ""
    notes = [
        entry.run_id,
        "; ".join(filter(None, [entry.error, entry.drift and f"drift: {entry.drift}"])),
        f"only {entry.window}" if entry.window else "",
        f"without {gaps}" if gaps else "",
        f"{entry.duplicates:,} duplicates dropped" if entry.duplicates else "",
        known.text if known and entry.status == "failed" and entry.error == known.error else "",
        f"entry {entry.restored} again" if entry.restored else "change accepted" if entry.is_accepted else "",
    ]
    return (
        entry.sequence,
        f"{entry.started_at:%Y-%m-%d %H:%M}",
        entry.status,
        entry.reason,
        console.number(entry.rows if made else None),
        console.size(entry.bytes if made else None),
        console.number(entry.quarantined or None),
        f"{entry.seconds:.1f}",
        "; ".join(filter(None, notes)),
    )


def _first_steps(project: Project) -> None:
    steps = {
        "catalunya materialize": "make everything, in this process",
        "catalunya run": "make everything once on Airflow, mock APIs included",
    }
    if project.settings.env == "local":
        steps = {"catalunya mock": "serve the mock APIs (leave it running in another terminal)"} | steps
    console.say(f"\nNothing has been made yet in {project.lake.root}. To start:")
    console.aligned(steps)
