"""The page of figures says what the kept runs say, and nightly's comparison names what got slower."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from compare import report
from figures import Figure
from performance import PAGE, history, page
from run import keep


def test_the_page_is_drawn_from_the_kept_runs() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(history()), "run: python bench/performance.py"


def test_a_run_is_kept_with_its_ratios_and_drawn_with_what_was_missed(tmp_path: Path) -> None:
    figure = Figure("landing", 3.0, "s", 2.0, {"dagster": 6.0, "dlt": 2.5}, {"floor": 1.3, "dagster": 0.6, "most": 4})
    slow, quick = ({"pipeline": [figure]}, {"pipeline": [Figure("landing", 2.2, "s", 2.0)]})
    kept = [
        keep(found, datetime(2026, 1, 1, tzinfo=UTC), tmp_path / name)
        for name, found in (("first", slow), ("second", quick))
    ]

    drawn = page([*history(kept[0].parent), *history(kept[1].parent)])
    alone = page(history(kept[0].parent))

    assert "1.50 x floor<br>0.50 x dagster<br>1.20 x dlt" in alone
    assert "**missed**<br>met<br>met" in alone
    assert "mermaid" not in alone, "one run is no line"
    assert "line [1.5, 1.1]" in drawn


def test_a_command_with_sixteen_percent_more_cpu_seconds_is_worse_and_one_with_fourteen_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"plan": {"base": 1.0, "ours": 1.16}, "status": {"base": 1.0, "ours": 1.14}}

    assert report(found, "v1") == ["plan"]
    assert "1.16" in capsys.readouterr().out
