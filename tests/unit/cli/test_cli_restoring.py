"""`restore-version`, the rows of a failed attempt in `quarantine`, and waivers in `history`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalunya.ops.mock.server import MockServer
from small.commands import Run

KEY = "staging.municipalities"


@pytest.fixture
def halved(run: Run, apis: MockServer, filled: Path) -> None:
    """Half of the municipalities are gone, and someone accepted that."""
    apis.faults("shrunken:9aju-tpwc:keep=0.5")
    assert run("materialize", f"+{KEY}", "--force", "--accept-change").code == 0


@pytest.mark.usefixtures("halved")
def test_a_load_that_should_not_have_been_accepted_is_undone_by_one_command(run: Run) -> None:
    assert "change accepted" in run("history", KEY).out
    planned = run("restore-version", KEY, "--dry-run")
    assert planned.code == 0
    assert f"{KEY} would be restored: 947 rows as of entry 1, " in planned.out
    assert json.loads(run("history", KEY, "--json").out)[0]["sequence"] == 2

    ran = run("restore-version", KEY)
    assert ran.code == 0
    assert "947 rows as of entry 1" in ran.out
    assert "this is entry 3" in ran.out
    assert f"catalunya materialize {KEY}+" in ran.out
    assert "RESTORED" in run("history", KEY).out
    assert "entry 1 again" in run("history", KEY).out
    assert run("materialize", KEY).out.strip() == "everything is up to date", "the load is settled"


@pytest.mark.usefixtures("halved")
def test_the_result_as_json(run: Run) -> None:
    found = json.loads(run("restore-version", KEY, "--to", "1", "--json").out)
    (table,) = found["assets"]
    assert (found["dry_run"], table["asset"], table["outcome"]) == (False, KEY, "restored")
    assert (table["restored"], table["sequence"], table["rows"]) == (1, 3, 947)
    again = json.loads(run("restore-version", KEY, "--to", "1", "--json").out)
    assert again["assets"][0]["outcome"] == "unchanged"


@pytest.mark.usefixtures("filled")
def test_a_wrong_version_is_one_clear_line(run: Run) -> None:
    for wrong in ("yesterday", "-1", "1.5"):
        ran = run("restore-version", KEY, f"--to={wrong}")
        assert ran.code == 2
        assert "expected the number of a ledger entry or a time such as 2026-08-03T14:05" in ran.err
    assert (
        "expected a version recorded before 2020-01-01 00:00 UTC, found none"
        in run("restore-version", KEY, "--to", "2020-01-01").err
    )
    assert (
        "`catalunya materialize landing.municipalities --force`" in run("restore-version", "landing.municipalities").err
    )


def test_after_an_intolerable_load_quarantine_shows_the_rows_of_the_failed_attempt(
    run: Run, apis: MockServer, filled: Path
) -> None:
    apis.faults("missing-column:9aju-tpwc:column=longitud")
    assert run("materialize", f"+{KEY}", "--force").code == 1
    published = json.loads(run("show", KEY, "--json").out)["last"]
    ran = run("quarantine", KEY, "--limit", "3")
    assert "947 rejected rows of staging.municipalities are in quarantine/" in ran.out
    assert "the last attempt (entry 2) failed" in ran.out
    found = json.loads(run("quarantine", KEY, "--json").out)
    assert (found["status"], found["sequence"]) == ("failed", 2)
    assert found["rows"]
    assert published["sequence"] == 1

    apis.faults()
    assert run("materialize", f"+{KEY}", "--force").code == 0
    assert "no rows of staging.municipalities are in quarantine" in run("quarantine", KEY).out
