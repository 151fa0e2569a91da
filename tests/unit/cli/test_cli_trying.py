"""`catalunya try`: a table in a scratch lake, with its profile; nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path

from small.commands import Run


def test_a_table_is_made_on_trial_and_nothing_is_kept(run: Run, place: Path) -> None:
    before = sorted(place.rglob("*"))
    ran = run("try", "staging.service_usage", "--limit", "2")
    assert ran.code == 0, ran.err
    assert "staging.service_usage: 422 rows (from landing.service_usage 422)" in ran.out
    assert "0 rows in quarantine" in ran.out
    (year,) = [line.split() for line in ran.out.splitlines() if line.startswith("year  ") and "bigint" in line]
    assert year == ["year", "bigint", "0", "10", "2015", "2024", "2015,", "2016,", "2017"]
    assert sorted(place.rglob("*")) == before


def test_the_result_of_a_trial_is_one_json_document(run: Run) -> None:
    document = json.loads(run("try", "staging.municipalities", "--json", "--limit", "3").out)
    assert (document["key"], document["error"], len(document["first"])) == ("staging.municipalities", "", 3)
    assert document["rows"] == 947
    assert [each["nulls"] for each in document["columns"] if each["name"] == "municipality_id"] == [0]
    assert document["made"] == {"landing.municipalities": 949}


def test_a_table_that_does_not_exist_is_refused_with_the_nearest(run: Run) -> None:
    ran = run("try", "staging.service_usages")
    assert (ran.code, "did you mean staging.service_usage" in ran.err) == (2, True)
