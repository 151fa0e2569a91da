"""Undoing a load that opened false versions: the dimension and the facts that keep history go back with the staging table, on dbt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.making.restoring import restore_version
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import verify
from catalunya.io.environment import load_settings
from catalunya.io.errors import ContractError
from catalunya.ops.mock import serve
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.server import MockServer

MUNICIPALITIES = "staging.municipalities"
DIMENSION = "marts.dim_municipalities"
CHAIN = ("landing.municipalities", MUNICIPALITIES, DIMENSION)


class Case:
    """A copy of the lake in which everything was made, and the mock whose municipalities the test changes."""

    def __init__(self, project: Project, mock: MockServer) -> None:
        self.project, self.mock = project, mock
        self.now = datetime.now(UTC)

    def rename(self, count: int) -> None:
        """From now on, the source has another name for the first municipalities."""
        self.mock.advance("9aju-tpwc")

        def reply(asked: Asked, answer: Answer) -> Answer:
            if asked.path != "/resource/9aju-tpwc.json" or b'"nom"' not in answer.body:
                return answer
            rows = json.loads(answer.body)
            for row in rows[:count]:
                row["nom"] = f"{row['nom']} Nou"
            return replace(answer, body=json.dumps(rows).encode())

        self.mock.reply(reply)

    def make(self, *keys: str, accept: bool = False) -> None:
        """Make these assets, a day later."""
        self.now += timedelta(days=1)
        for key in keys:
            materialize(self.project, key, Request(now=self.now, accept_change=accept))

    def table(self, key: str) -> pl.DataFrame:
        entry = self.project.ledger.latest(key)
        assert entry
        return scan_table(self.project.lake, self.project.graph[key], entry).collect()


@pytest.fixture
def case(made: Path, compiled: Path, tmp_path: Path) -> Iterator[Case]:
    lake = shutil.copytree(made, tmp_path / "lake")
    with serve(rows=300) as mock:
        apis = {"mock_url": mock.url}
        yield Case(Project(load_settings(env="local", lake=str(lake), cache=compiled, **apis)), mock)


def test_false_versions_are_gone_from_the_history_after_an_undo(case: Case) -> None:
    before = case.table(DIMENSION)
    case.rename(10)
    case.make(*CHAIN)
    assert case.table(DIMENSION).height == before.height + 14, "14 of 947 are within the guards"

    found = restore_version(case.project, MUNICIPALITIES, "the-restore")
    restored = {step.asset: step.entry and step.entry.sequence for step in found if step.is_published}
    assert restored == {DIMENSION: 1, MUNICIPALITIES: 1}
    assert case.table(DIMENSION).equals(before)
    stale = case.project.state(case.now).neglected(case.project.graph)
    assert MUNICIPALITIES not in [one.key for one in stale], "the load is settled"
    case.make(DIMENSION)
    assert case.table(DIMENSION).equals(before), "a later day makes it again, from the restored table"
    assert verify(case.project).findings == []

    case.mock.reply(None)
    case.mock.advance("9aju-tpwc")
    case.make(*CHAIN)
    current = case.table(DIMENSION).filter(pl.col("is_current") & pl.col("missing_since_date").is_null())
    assert current["municipality_id"].n_unique() == current.height == case.table(MUNICIPALITIES).height


def test_a_mass_change_is_refused_by_staging_and_what_follows_from_a_waiver_is_not_asked_again(case: Case) -> None:
    before = case.table(DIMENSION).height
    case.rename(947)
    with pytest.raises(
        ContractError, match=r"column municipality_name: expected at most 2% of 94\d values to change .* found 94\d \("
    ):
        case.make(*CHAIN[:2])
    case.make(MUNICIPALITIES, accept=True)
    case.make(DIMENSION)
    dimension = case.project.ledger.latest(DIMENSION)
    assert dimension
    assert dimension.is_accepted
    assert dimension.rows > before + 900
    restore_version(case.project, MUNICIPALITIES, "the-restore")
    assert case.table(DIMENSION).height == before
