"""References of marts: checked by the engine, not by dbt, in the table that was built and against the published tables."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import ContractError


def test_a_day_outside_the_calendar_is_refused_and_the_published_table_stays(
    made: Path, compiled: Path, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(made, lake)
    project = Project(load_settings(env="local", lake=str(lake), cache=compiled, scratch=tmp_path))
    before = project.ledger.latest("marts.fact_service_usage_daily")

    outside = Request(
        force=True, now=datetime(2099, 1, 1, tzinfo=UTC)
    )  # the calendar ends a year after the run that made it
    with pytest.raises(
        ContractError,
        match=r"marts.fact_service_usage_daily: \d+ of \d+ rows .*: date_id: '2099-01-01' is not in dim_time.date_id",
    ):
        materialize(project, "marts.fact_service_usage_daily", outside)
    after = Project(project.settings).ledger.latest("marts.fact_service_usage_daily")
    assert (before, after) == (after, before)
    assert before
