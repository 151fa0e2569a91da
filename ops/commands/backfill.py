"""`backfill`: read some periods of a source again, and make anew what follows from them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from catalunya.assets.making.plan import plan, plan_backfill
from catalunya.assets.record.project import Project
from catalunya.assets.record.state import Reason, Stale
from catalunya.io.errors import UsageError
from catalunya.io.periods import Window, window
from catalunya.ops.commands.listing import show_steps
from catalunya.ops.commands.options import FLAG, AsJson, Select, Workers, selection

_PERIOD = "a year (2014), half-year (2014-H1), quarter (2014-Q3), month (2014-06) or day"


def backfill(
    *select: Select,
    first: Annotated[
        str | None, Parameter("--from", help=f"The first period: {_PERIOD}; by default the source's first.")
    ] = None,
    last: Annotated[str | None, Parameter("--to", help="The last period; by default the source's last.")] = None,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would be done.")] = False,
    workers: Workers = 4,
    as_json: AsJson = False,
) -> int:
    """Read some periods of a source again: `catalunya backfill population --from 2014 --to 2020`. Others stay as they are."""
    asked = window(first, last)
    if not select or asked is None:
        raise UsageError(
            "a backfill is expected to name sources and periods, as in `catalunya backfill population --from 2014 --to 2020`; "
            "for whole tables: `catalunya materialize --force`"
        )
    project = Project()
    chosen = project.graph.select(selection(select))
    steps = plan_backfill(project.state(), chosen, asked)
    first_of_all = _first(project, steps, asked)
    if dry_run:
        show_steps([*first_of_all, *steps], as_json=as_json)
        return 0
    from catalunya.ops.commands.making import make

    if first_of_all and (code := make(project, first_of_all, workers=workers, as_json=as_json)):
        return code
    return make(project, steps, workers=workers, as_json=as_json, window=asked)


def _first(project: Project, steps: list[Stale], asked: Window) -> list[Stale]:
    """What has to be made of whole batches before a batch of some periods may come on top of them."""
    state = project.state()
    landing = [step.key for step in steps if step.reason is Reason.BACKFILL]
    tables = [project.graph[stale.key] for key in landing for stale in state.blocks_backfill(key, asked)]
    return plan(state, tables)
