"""The pipeline's own work under the generated policies, enforced: nothing that it needs is missing, nothing is left over.

The functions, a mart, what Airflow does itself, watching, asking and mending run against moto behind `gate.py`, each in a session
of its role. What a row of the table grants, one of these runs has used, or its reason begins with `on its own word`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from catalunya.cdk.access import TABLE, grants, policy
from catalunya.cdk.policy import statement
from catalunya.cdk.vocabulary import PLACES
from integration.cdk.account import DEV, POLICIES
from integration.cdk.gate import Gate, used
from integration.cdk.iam import Request, allowed, matching
from integration.cdk.life import (
    airflow_logs,
    airflow_looks_after_things,
    airflow_makes_a_mart,
    an_engineer_mends,
    functions_make_tables,
    people_watch_and_ask,
    shops_open_and_close,
    tables_are_there_before_they_are_made,
)
from integration.cdk.world import NAMES, World, deployed


@pytest.fixture(scope="module")
def world(compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with deployed(compiled, tmp_path_factory.mktemp("access")) as found:
        yield found


@pytest.fixture(scope="module")
def runs(world: World) -> Gate:
    """A while in the life of the pipeline. A permission that is missing fails here, and says which."""
    functions_make_tables(world)
    tables_are_there_before_they_are_made(world)
    shops_open_and_close(world)
    airflow_makes_a_mart(world)
    airflow_looks_after_things(world)
    airflow_logs(world)
    people_watch_and_ask(world)
    an_engineer_mends(world)
    return world.gate


def left_over(seen: Sequence[tuple[str, Request]]) -> list[str]:
    """What rows of the table grant and no request came by, as `role action place`."""
    found = []
    for role, name in NAMES.items():
        asked = used(name, POLICIES[role], seen)
        for grant in grants(role):
            if grant.why.startswith("on its own word"):
                continue
            sid = statement(grant, PLACES, DEV)["Sid"]
            found += [
                f"{role} {action} {place}"
                for action in grant.verb.actions
                for place in grant.places
                if not any((sid, action, arn) in asked for arn in PLACES[place](DEV) if arn != DEV.catalog_arn)
            ]
    return found


def test_nothing_is_granted_that_no_run_needs(runs: Gate) -> None:
    left = left_over(runs.seen)
    assert not left, "\n".join(left)


def test_nothing_was_refused_but_mending_in_a_session_that_is_to_look(runs: Gate) -> None:
    assert {(who, request.action) for who, request in runs.refused} == {(DEV.engineer_role, "s3:PutObject")}


def test_without_any_row_that_runs_have_shown_something_that_came_would_be_refused(runs: Gate) -> None:
    asked = {(who, request.action, request.resource, str(request.context)): request for who, request in runs.seen}
    for role, name in NAMES.items():
        for row in (grant for grant in grants(role) if not grant.why.startswith("on its own word")):
            less = policy(role, DEV, [grant for grant in TABLE if grant is not row])
            of_it = {"Statement": [statement(row, PLACES, DEV)]}
            needed = [request for (who, *_), request in asked.items() if who == name and matching(of_it, request)]
            assert any(not allowed(request, [less]) for request in needed), row
