"""What is wrong with the public pages: they do not show the tables as they are.

A build that fails is a failed task (`airflow.py`); here is what follows from any failure, and from a build that never began. Not here: when pages
are built (`portal/making.py`), whether the tables are up to date (`tables.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from catalunya.assets.record.project import Project
from catalunya.assets.record.state import State
from catalunya.io.errors import CatalunyaError
from catalunya.ops.watching.findings import Kind, Seen, Severity
from catalunya.ops.watching.freshness import STALE_HOURS
from catalunya.portal.making import KEY, LATE, behind_since, lacking, read_built, read_last, unseen, waits_for
from catalunya.portal.site import read_site


def see_pages(project: Project, state: State) -> Iterator[Seen]:
    """Pages that are older than a table that they show, for longer than a build may wait. None of a project that has never built any."""
    try:
        built = read_built(project.settings)
        if built is None:
            return
        site = read_site(project, state=state)
        tables, last = unseen(site, built), read_last(project.lake)
        since = behind_since(site, built, tables)
        cause = (
            last.error
            if last and last.error
            else lacking() or waits_for(site, built) or "no run of ops.portal has built them since"
        )
    except CatalunyaError as error:
        yield Seen(
            kind=Kind.PAGES_OLD,
            subject=KEY,
            severity=Severity.ERROR,
            what="it cannot be seen whether the public pages are up to date",
            cause=str(error),
            remedy="`catalunya status portal` says whether it still is so",
        )
        return
    if since is None or state.now - since <= LATE:
        return
    hours = (state.now - since) / timedelta(hours=1)
    yield Seen(
        kind=Kind.PAGES_OLD,
        subject=KEY,
        severity=Severity.ERROR if hours > STALE_HOURS else Severity.WARNING,
        what=f"the public pages, last built at {built.built_at:%Y-%m-%d %H:%M} UTC, are older than {len(tables)} of the tables that they show",
        cause=f"{', '.join(tables)} changed since {since:%Y-%m-%d %H:%M} UTC; {cause}",
        remedy="look at the runs of ops.portal in Airflow, or `catalunya portal build`",
        since=since,
        measure=hours,
    )
