"""What `run` says at its end, in words and as JSON, and its exit code: of lines that no Airflow is needed for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.ops.local_airflow.client import Client
from catalunya.ops.local_airflow.commands import _tell_result
from catalunya.ops.local_airflow.wave import Line, Wave
from small.shops import declare

WELL = [Line(asset="landing.shops", condition="up to date"), Line(asset="staging.shops", condition="up to date")]
BADLY = [Line(asset="landing.shops", condition="failed", why="the source is gone"), WELL[1]]
UNFINISHED = [WELL[0], Line(asset="staging.shops", condition="waiting", why="landing.shops is stale")]


@pytest.fixture
def wave(settings: Settings, tmp_path: Path) -> Wave:
    """A wave whose Airflow nobody asks."""
    with Client("http://127.0.0.1:9") as client:
        return Wave(Project(settings, declare(tmp_path / "source")[1]), client, datetime.now(UTC), print)


@pytest.mark.parametrize(
    ("lines", "code", "status"), [(WELL, 0, "ok"), (BADLY, 1, "failed"), (UNFINISHED, 1, "failed")]
)
def test_as_json_it_is_one_document_with_every_asset_and_the_exit_code_agrees(
    wave: Wave, capsys: pytest.CaptureFixture[str], lines: list[Line], code: int, status: str
) -> None:
    wave.lines = lines
    assert _tell_result(wave, {}, 1.0, as_json=True) == code
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["status"] == status
    assert [(asset["asset"], asset["state"], asset["why"]) for asset in document["assets"]] == [
        (line.asset, line.condition, line.why) for line in lines
    ]
    assert printed.err == ""


def test_in_words_all_that_is_up_to_date_is_counted_and_what_to_try_next_is_told(
    wave: Wave, capsys: pytest.CaptureFixture[str]
) -> None:
    wave.lines = WELL
    assert _tell_result(wave, {}, 1.0, as_json=False) == 0
    out = capsys.readouterr().out
    assert "all 2 up to date, in 1 s" in out
    assert "catalunya status" in out


def test_in_words_what_was_not_made_is_told_with_its_reason(wave: Wave, capsys: pytest.CaptureFixture[str]) -> None:
    wave.lines = UNFINISHED
    assert _tell_result(wave, {}, 1.0, as_json=False) == 1
    out = capsys.readouterr().out
    assert "staging.shops was not made: landing.shops is stale" in out
    assert "1 of 2 assets are not up to date, after 1 s" in out
