"""`quarantine`: the rows that broke a contract and why, and taking them through it again."""

from __future__ import annotations

import re
import sys
from collections import Counter
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from catalunya.assets.record.project import Project
from catalunya.io.errors import UsageError
from catalunya.ops import console
from catalunya.ops.commands.options import FLAG, AsJson, Key

if TYPE_CHECKING:
    import polars as pl

    from catalunya.assets.record.ledger import Entry

_REASON = "_reason"


def quarantine(
    key: Key,
    *,
    replay: Annotated[
        bool, FLAG, Parameter(help="Take the rows through the staging function and its contract again.")
    ] = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="Rows shown.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the rows that broke a contract, or take them through it again."""
    project = Project()
    asset = project.graph[key]
    if replay:
        _replay(project, key, as_json=as_json)
        return
    entry = project.state().latest(asset.key)
    if entry is None:
        raise UsageError(f"{key} has never been made; `catalunya materialize +{key}` makes it and all it depends on")
    frame = _rows(project, entry)
    if as_json:
        rows = frame.to_dicts() if frame is not None else []
        console.emit_json({"asset": key, "quarantined": entry.quarantined, "object": entry.quarantine, "rows": rows})
    elif frame is None:
        console.say(f"no rows of {key} are in quarantine")
    else:
        _show(key, entry, frame, limit)


def _rows(project: Project, entry: Entry) -> pl.DataFrame | None:
    if not entry.quarantine:
        return None
    import polars as pl

    frame = pl.read_parquet(BytesIO(project.lake.get(entry.quarantine)))
    return frame.select(_REASON, pl.exclude(_REASON))


def _show(key: str, entry: Entry, frame: pl.DataFrame, limit: int) -> None:
    total = entry.rows + entry.quarantined
    console.say(
        f"{entry.quarantined:,} of {total:,} rows of {key} ({entry.quarantined / total:.2%}) are in {entry.quarantine}"
    )
    kinds = Counter(_kind(reason) for reason in frame[_REASON].to_list())
    console.table({"rows": "right", "reason": "left"}, [(console.number(n), kind) for kind, n in kinds.most_common(20)])
    console.grid([name.removeprefix("_") for name in frame.columns], frame.head(limit).rows())
    if frame.height > limit:
        console.say(f"the first {limit} rows; --limit or --json give more", style="dim")
    console.say(f"once the function or the contract is mended: `catalunya quarantine {key} --replay`")


def _kind(reason: str | None) -> str:
    """A reason without the values in it, so that rows of one kind are counted together."""
    parts = (reason or "no reason given").split("; ")
    return "; ".join(
        re.sub(r"(?s)^(\w+): .* fails ", r"\1: … fails ", part)
        if " fails " in part
        else re.sub(r"'[^']*'", "'…'", part)
        for part in parts
    )


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
            f"{key}: {before.quarantined - entry.quarantined:,} rows joined the table, {entry.quarantined:,} stay in quarantine"
        )
        if project.graph.downstream(key) and entry.data_version != before.data_version:
            console.say(f"what reads it is stale now: `catalunya materialize {key}+`")
