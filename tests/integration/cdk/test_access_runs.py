"""The pipeline's own work under the generated policies, enforced: no permission is missing and none is unused.

The functions, a mart, Airflow's own work, monitoring, queries and repairs run against moto behind `gate.py`, each in a session of
its role. One of these runs has used what a row of the table grants, or the row's reason begins with `untested`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from catalunya.cdk.access import TABLE, grants, policy
from catalunya.cdk.policy import PLACES, statement
from integration.cdk.account import DEV, POLICIES
from integration.cdk.gate import Gate, used
from integration.cdk.iam import Request, allowed, matching
from integration.cdk.life import (
    airflow_logs,
    airflow_maintains_the_lake,
    airflow_makes_a_mart,
    an_engineer_repairs,
    functions_make_tables,
    ops_watch_looks,
    people_monitor_and_query,
    shops_open_and_close,
    tables_exist_before_they_are_made,
    the_public_pages_are_published,
    the_sources_are_checked,
)
from integration.cdk.world import NAMES, World, deployed


@pytest.fixture(scope="module")
def world(compiled_for_athena: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with deployed(compiled_for_athena, tmp_path_factory.mktemp("access")) as found:
        yield found


@pytest.fixture(scope="module")
def runs(world: World) -> Gate:
    """A short life of the pipeline. A missing permission fails here, and the error names it."""
    functions_make_tables(world)
    tables_exist_before_they_are_made(world)
    shops_open_and_close(world)
    airflow_makes_a_mart(world)
    the_public_pages_are_published(world)
    airflow_maintains_the_lake(world)
    airflow_logs(world)
    people_monitor_and_query(world)
    the_sources_are_checked(world)
    ops_watch_looks(world)
    an_engineer_repairs(world)
    return world.gate


def unused(seen: Sequence[tuple[str, Request]]) -> list[str]:
    """What rows of the table grant and no request used, as `role action place`."""
    found = []
    for role, name in NAMES.items():
        needed = used(name, POLICIES[role], seen)
        for grant in grants(role):
            if not grant.is_tested:
                continue
            sid = statement(grant, PLACES, DEV)["Sid"]
            found += [
                f"{role} {action} {place}"
                for action in grant.actions
                for place in grant.places
                if not any((sid, action, arn) in needed for arn in PLACES[place](DEV) if arn != DEV.catalog_arn)
            ]
    return found


def test_every_granted_permission_is_used_by_some_run(runs: Gate) -> None:
    found = unused(runs.seen)
    assert not found, "\n".join(found)


def test_only_a_repair_in_a_view_session_was_refused(runs: Gate) -> None:
    assert {(who, request.action) for who, request in runs.refused} == {(DEV.role("engineer"), "s3:PutObject")}


def test_removing_any_tested_row_would_refuse_a_request_that_was_made(runs: Gate) -> None:
    distinct = {(who, request.action, request.resource, str(request.context)): request for who, request in runs.seen}
    for role, name in NAMES.items():
        for row in (grant for grant in grants(role) if grant.is_tested):
            less = policy(role, DEV, [grant for grant in TABLE if grant is not row])
            of_it = {"Statement": [statement(row, PLACES, DEV)]}
            needed = [request for (who, *_), request in distinct.items() if who == name and matching(of_it, request)]
            assert any(not allowed(request, [less]) for request in needed), row
