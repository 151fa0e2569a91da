"""`prune`: delete what retention says has had its time."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Select, selection

if TYPE_CHECKING:
    from catalunya.assets.record.retention import Pruned


def prune(
    *select: Select,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would go.")] = False,
    as_json: AsJson = False,
) -> int:
    """Delete what retention says has had its time: used batches, old superseded objects and quarantine, old ledger entries."""
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.assets.record.retention import prune as remove
    from catalunya.ops.logging import configure

    project, now = Project(), datetime.now(UTC)
    assets = project.graph.select(selection(select))
    configure(project.settings, least="WARNING" if sys.stderr.isatty() else None)
    pruned = remove(project, new_run_id(now), assets, now=now, dry_run=dry_run)
    if as_json:
        objects, size = len(pruned.removals), sum(r.bytes for r in pruned.removals)
        console.emit_json({**asdict(pruned), "objects": objects, "bytes": size, "dry_run": dry_run})
    else:
        _say(pruned, dry_run=dry_run)
    return int(bool(pruned.failed))


def _say(pruned: Pruned, *, dry_run: bool) -> None:
    sizes: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for removal in pruned.removals:
        sizes[removal.asset, removal.kind, removal.why].append(removal.bytes)
    if sizes:
        rows = [
            (asset, kind, console.number(len(each)), console.size(sum(each)), why)
            for (asset, kind, why), each in sizes.items()
        ]
        console.table({"asset": "left", "what": "left", "objects": "right", "size": "right", "why": "left"}, rows)
    for key in pruned.busy:
        console.say(f"{key} is being made by another run and was left alone")
    for key, error in pruned.failed.items():
        console.warn(f"error: {key} was left alone: {error}")
    count, size = len(pruned.removals), console.size(sum(r.bytes for r in pruned.removals))
    if not count:
        console.say("nothing has had its time")
    else:
        what, they = ("object", "it does") if count == 1 else ("objects", "they do")
        console.say(f"{count:,} {what}, {size}, {f'would go; without --dry-run {they}' if dry_run else 'went'}")
