"""`materialize`: make assets in this process, what is stale of a selection or what is forced."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from catalunya.assets.making.plan import plan
from catalunya.assets.record.project import Project
from catalunya.ops.commands.options import FLAG, AsJson, Force, Select, Workers, selection


def materialize(
    *select: Select,
    force: Force = False,
    accept_shrink: Annotated[
        bool, FLAG, Parameter(help="Accept that a table lost more rows than its guard allows.")
    ] = False,
    full_refresh: Annotated[bool, FLAG, Parameter(help="Build incremental marts from nothing.")] = False,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only show what would be done, as `plan` does.")] = False,
    workers: Workers = 4,
    as_json: AsJson = False,
) -> int:
    """Make assets here, without Airflow: everything, or a selection."""
    if dry_run:
        from catalunya.ops.commands.listing import plan as show_plan

        show_plan(*select, force=force, as_json=as_json)
        return 0
    from catalunya.ops.commands.making import make

    project = Project()
    steps = plan(project.state(), project.graph.select(selection(select)), force=force)
    return make(
        project, steps, workers=workers, as_json=as_json, accept_shrink=accept_shrink, full_refresh=full_refresh
    )
