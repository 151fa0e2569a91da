"""`show`: all there is to say of one asset, on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import AsJson, Key

if TYPE_CHECKING:
    from catalunya.assets.record.ledger import Entry

_MASKED = "•••"


def show(
    key: Key,
    *,
    rows: Annotated[int, Parameter(validator=Number(gte=0, lte=1000), help="Rows of the preview.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show one asset: its declaration, contract, last materialization and first rows."""
    project = Project()
    asset = project.graph[key]
    entry = project.state().latest(key)
    names, preview = first_rows(project, asset, entry, rows) if entry and rows else ([], [])
    if as_json:
        console.emit_json(
            {
                "declaration": _declaration(project, asset),
                "columns": asset.columns,
                "last": entry,
                "preview": [dict(zip(names, row, strict=True)) for row in preview],
            }
        )
        return
    console.say(asset.key, style="bold")
    console.say(asset.description)
    console.say()
    for name, value in _declaration(project, asset).items():
        if name not in ("key", "description") and value not in (None, [], ""):
            console.say(f"{name.replace('_', ' '):<14} {', '.join(value) if isinstance(value, list) else value}")
    console.table(["column", "type", "key", "null", "unit", "description"], [_column(c) for c in asset.columns])
    _say_last(project, asset, entry)
    if preview:
        console.grid(names, preview)


def first_rows(project: Project, asset: Asset, entry: Entry, count: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and first rows of a table as published; of a landing asset, of its raw page, personal fields masked."""
    if asset.layer is not Layer.LANDING:
        from catalunya.assets.record.paths import scan_table

        frame = scan_table(project.lake, asset, entry).head(count).collect() if entry.objects else None
        return (frame.columns, frame.rows()) if frame is not None else ([], [])
    if not entry.objects or not project.state().has_batch(entry):
        return [], []
    import json

    page = json.loads(project.lake.get(entry.objects[0].path))
    if not isinstance(page, list):  # a document that is no list of rows, as IDESCAT's are
        return [entry.objects[0].path.rpartition("/")[2]], [(json.dumps(page, ensure_ascii=False)[:2000],)]
    raw = page[:count]
    names = list(dict.fromkeys(name for row in raw for name in row))
    hidden = {column.name for column in asset.columns if column.personal}
    return names, [tuple(_MASKED if n in hidden and n in row else row.get(n) for n in names) for row in raw]


def _declaration(project: Project, asset: Asset) -> dict[str, Any]:
    return {
        "key": asset.key,
        "description": asset.description,
        "layer": str(asset.layer),
        "uri": asset.uri,
        "place": project.lake.url(asset.prefix),
        "source": asset.source,
        "schedule": asset.schedule,
        "clock": asset.clock,
        "freshness": f"{console.hours(asset.freshness.hours)}" if asset.freshness else None,
        "upstream": list(asset.upstream),
        "downstream": [down.key for down in project.graph.downstream(asset.key)],
        "partition_by": list(asset.partition_by),
        "retention": f"{asset.keep_days} d",
        "code_version": asset.code_version,
        "declared_in": asset.module,
    }


def _column(column: Any) -> tuple[object, ...]:
    kind = "personal: stays in landing. " if column.personal else ""
    return (
        column.name,
        column.type,
        "key" if column.key else "",
        "null" if column.nullable else "",
        column.unit,
        kind + column.description,
    )


def _say_last(project: Project, asset: Asset, entry: Entry | None) -> None:
    if entry is None:
        console.say(f"never made: `catalunya materialize +{asset.key}` makes it and all it depends on")
        return
    facts = [
        f"{entry.rows:,} rows",
        console.size(entry.bytes),
        f"{len(entry.objects)} objects",
        f"in {entry.seconds:.1f} s",
    ]
    if entry.quarantined:
        facts.append(f"{entry.quarantined:,} rows in quarantine (`catalunya quarantine {asset.key}`)")
    if entry.drift:
        facts.append(f"drift: {entry.drift}")
    console.say(
        f"last made {console.ago(entry.started_at)} ({entry.started_at:%Y-%m-%d %H:%M} UTC), {entry.reason}: {', '.join(facts)}"
    )
    if entry.source_updated_at:
        console.say(f"its source was last updated {console.ago(entry.source_updated_at)}")
    stale = project.state().stale(asset.key)
    if stale:
        console.say(f"stale, {stale.reason}: {stale.why}", style="yellow")
    if asset.layer is Layer.LANDING and not project.state().has_batch(entry):
        console.say("its batch was used and deleted, as it should be: nothing to preview")
