"""`quarantine`, `acknowledge`, `verify` and `prune`: rejected rows, known failures, agreement of ledger and objects, expired objects.

Here: options and output. Not here: the work itself (`assets/record/failing.py`, `verify.py`, `retention.py`).
"""

from __future__ import annotations

import getpass
import os
import sys
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError
from catalunya.ops import console
from catalunya.ops.commands.looking import never_made
from catalunya.ops.commands.options import FLAG, AsJson, DryRun, Key, Select, selection
from catalunya.ops.quarantine import REASON, kind_of, quarantined_rows

if TYPE_CHECKING:
    import polars as pl

    from catalunya.assets.record.ledger import Entry
    from catalunya.assets.record.retention import Pruned
    from catalunya.assets.record.verify import Report


def quarantine(
    key: Key,
    *,
    replay: Annotated[
        bool, FLAG, Parameter(help="Pass the rows through the staging function and its contract again.")
    ] = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Number of rows shown.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the rows that broke the contract, and why; or replay them."""
    project = Project()
    asset = project.graph[key]
    if replay:
        _replay(project, key, as_json=as_json)
        return
    state = project.state()
    entry, attempt = state.latest(asset.key), state.last_attempt(asset.key)
    if attempt and attempt.status == "failed" and attempt.quarantine:
        entry = attempt
    if entry is None:
        raise UsageError(never_made(key))
    frame = quarantined_rows(project.lake, entry)
    if as_json:
        rows = frame.to_dicts() if frame is not None else []
        console.emit_json(
            {
                "asset": key,
                "status": entry.status,
                "sequence": entry.sequence,
                "quarantined": entry.quarantined,
                "object": entry.quarantine,
                "rows": rows,
            }
        )
        return
    if attempt and attempt.status == "failed":
        shown = "its rows" if entry is attempt else "no rows of it were kept; those of the published table"
        console.say(f"the last attempt (entry {attempt.sequence}) failed; {shown}:\n\n{attempt.error}\n")
    if frame is None:
        console.say(f"no rows of {key} are in quarantine")
    else:
        _show_quarantine(key, entry, frame, limit)


def acknowledge(
    key: Key,
    *,
    reason: Annotated[str, Parameter(help="Why it may wait.")] = "",
    undo: Annotated[
        bool, FLAG, Parameter(help="Withdraw the acknowledgement: the alarm counts the table again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Silence the alarm about a table that stands failed. A different failure, or one after the table was made again, is heard again."""
    from catalunya.assets.record import failing

    project = Project()
    asset = project.graph[key]
    if undo:
        was_there = failing.withdraw(project.lake, asset.key)
        if as_json:
            console.emit_json({"asset": key, "withdrawn": was_there})
        else:
            console.say(f"{key} is no longer acknowledged" if was_there else f"{key} was not acknowledged")
        return
    known = failing.acknowledge(project.state(), asset.key, by=_user(), reason=reason)
    if as_json:
        console.emit_json(known)
    else:
        console.say(f"acknowledged: {key}: {known.error}")
        console.say(f"`catalunya acknowledge {key} --undo` withdraws it")


def _user() -> str:
    """Who runs this; in a container, a number may be all that is known."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # Python 3.13 raises the second
        return f"user {os.getuid()}"


def verify(
    *select: Select,
    quick: Annotated[
        bool, FLAG, Parameter(help="Compare sizes only; by default every object is read and hashed.")
    ] = False,
    repair: Annotated[
        bool,
        FLAG,
        Parameter(
            help="Move damaged ledger entries, damaged batches and unknown objects to _aside; nothing is deleted."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Check that ledger and objects agree; exit with 1 if they do not."""
    from catalunya.assets.record.verify import repair as move_damaged
    from catalunya.assets.record.verify import verify as compare

    project = Project()
    assets = project.graph.select(selection(select)) if select else None
    with ExitStack() as stack:
        on_asset = None
        if sys.stderr.isatty():
            spinner = stack.enter_context(console.console(stderr=True).status("verifying"))
            on_asset = lambda key: spinner.update(f"verifying {key}")  # noqa: E731
        report = compare(project, assets, quick=quick, on_asset=on_asset)
    moved: dict[str, str] = {}
    if repair and report.findings:
        from catalunya.ops.logging import configure

        configure(project.settings)
        moved = move_damaged(project, report.findings)
    if as_json:
        console.emit_json({**asdict(report), "set_aside": moved})
    else:
        _show_report(report, moved, quick=quick)
    return int(bool(report.findings))


def prune(*select: Select, dry_run: DryRun = False, as_json: AsJson = False) -> int:
    """Delete what has expired: used batches, old superseded objects and quarantine, old ledger entries."""
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
        _show_pruned(pruned, dry_run=dry_run)
    return int(bool(pruned.failed))


def _show_quarantine(key: str, entry: Entry, frame: pl.DataFrame, limit: int) -> None:
    is_failed = entry.status == "failed"
    if is_failed:
        first = f"the first {frame.height:,} of " if frame.height < entry.quarantined else ""
        console.say(f"{first}{entry.quarantined:,} rejected rows of {key} are in {entry.quarantine}\n")
    else:
        total = entry.rows + entry.quarantined
        console.say(
            f"{entry.quarantined:,} of {total:,} rows of {key} ({entry.quarantined / total:.2%}) are in {entry.quarantine}\n"
        )
    kinds = Counter(kind_of(reason) for reason in frame[REASON].to_list())
    console.table({"rows": "right", "reason": "left"}, [(console.number(n), kind) for kind, n in kinds.most_common(20)])
    console.say()
    console.grid([name.removeprefix("_") for name in frame.columns], frame.head(limit).rows())
    if frame.height > limit:
        console.say(f"first {limit} rows; see --limit and --json for more", style="dim")
    fix = f"catalunya materialize {key}" if is_failed else f"catalunya quarantine {key} --replay"
    console.say(f"\nafter fixing the function or the contract: `{fix}`")


def _replay(project: Project, key: str, *, as_json: bool) -> None:
    from catalunya.assets.making.materialize import materialize
    from catalunya.assets.making.request import Request
    from catalunya.assets.record.ledger import new_run_id
    from catalunya.ops.logging import configure

    configure(project.settings, least="WARNING" if sys.stderr.isatty() else None)
    before = project.state().latest(key)
    outcome = materialize(project, key, Request(replay=True, run_id=new_run_id(datetime.now(UTC))))
    entry = outcome.entry
    if as_json:
        left = entry.quarantined if entry else 0
        console.emit_json({"asset": key, "status": outcome.status, "why": outcome.why, "quarantined": left})
    elif outcome.status != "materialized" or entry is None or before is None:
        console.say(f"{key}: {outcome.why}")
    else:
        console.say(
            f"{key}: {before.quarantined - entry.quarantined:,} rows moved into the table, {entry.quarantined:,} remain in quarantine"
        )
        if project.graph.downstream(key) and entry.data_version != before.data_version:
            console.say(f"downstream assets are now stale: `catalunya materialize {key}+`")


def _show_report(report: Report, moved: dict[str, str], *, quick: bool) -> None:
    if report.findings:
        console.table(["asset", "finding", "where"], [(f.asset or "(none)", f.what, f.where) for f in report.findings])
    for key in report.busy:
        console.say(f"{key} was skipped: another run is making it")
    counts = f"{console.counted(report.assets, 'asset')}, {console.counted(report.objects, 'object')}"
    checked = f"{counts}, {console.size(report.bytes)}, {'sizes only' if quick else 'all read'}"
    if not report.findings:
        console.say(f"ledger and objects agree ({checked})")
        return
    console.say(f"\n{console.counted(len(report.findings), 'finding')} ({checked})")
    if moved:
        console.say(f"moved {console.counted(len(moved), 'object')}:")
        for old, new in moved.items():
            console.say(f"  {old} -> {new}")
    is_repairable = any(finding.damaged or finding.numbers for finding in report.findings)
    steps = ["catalunya verify --repair"] if is_repairable and not moved else []
    steps += [finding.todo for finding in report.findings if finding.todo]
    steps += ["catalunya verify"] if moved else []
    console.say("\nTo fix it:")
    for step in dict.fromkeys(steps):
        console.say(f"  {step}")


def _show_pruned(pruned: Pruned, *, dry_run: bool) -> None:
    sizes: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for removal in pruned.removals:
        sizes[removal.asset, removal.kind, removal.why].append(removal.bytes)
    if sizes:
        rows = [
            (asset, kind, console.number(len(each)), console.size(sum(each)), why)
            for (asset, kind, why), each in sizes.items()
        ]
        console.table({"asset": "left", "kind": "left", "objects": "right", "size": "right", "why": "left"}, rows)
    for key in pruned.busy:
        console.say(f"{key} was skipped: another run is making it")
    for key, error in pruned.failed.items():
        console.warn(f"error: {key} was skipped: {error}")
    count, size = len(pruned.removals), console.size(sum(r.bytes for r in pruned.removals))
    if not count:
        console.say("nothing to prune")
    else:
        what = "would be deleted; run without --dry-run to delete" if dry_run else "deleted"
        console.say(f"{console.counted(count, 'object')}, {size}, {what}")
