"""`materialize` and `verify` by the command: what is made, the output and the exit code."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from catalunya.assets.record.lease import lease
from catalunya.assets.record.project import Project
from catalunya.ops.mock.server import MockServer
from small.commands import Run

MUNICIPALITIES = ("landing.municipalities", "staging.municipalities")


def test_materialize_makes_a_selection_in_order_one_plain_line_each(run: Run, project: Project) -> None:
    ran = run("materialize", "+staging.municipalities")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line.split()[1].rstrip(";") for line in lines[:2]] == list(MUNICIPALITIES)
    assert lines[1].startswith("materialized staging.municipalities; 947 rows, ")
    assert lines[2] == "2 materialized"
    assert "materialized" in ran.err, "what is logged goes to stderr"


def test_a_command_has_one_run_id_and_one_correlation_id_from_landing_on(run: Run) -> None:
    found = json.loads(run("materialize", "+staging.municipalities", "--json").out)
    assert {one["correlation_id"] for one in found["assets"]} == {found["run_id"]}
    history = json.loads(run("history", "staging.municipalities", "--json").out)
    assert (history[0]["run_id"], history[0]["correlation_id"]) == (found["run_id"], found["run_id"])


def test_materialize_again_finds_everything_up_to_date(run: Run, filled: Path) -> None:
    ran = run("materialize", "layer:landing", "layer:staging")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "everything is up to date"
    assert {line.split()[0] for line in ran.out.splitlines()[:-1]} == {"skipped"}


def test_force_makes_a_staging_table_whose_batch_was_deleted(run: Run, filled: Path) -> None:
    ran = run("materialize", "staging.municipalities", "--force")
    assert ran.out.splitlines()[-1] == "2 materialized"
    assert not list((filled / "lake" / "landing").rglob("*.json")), "the batch was consumed again"


def test_a_dry_run_shows_the_plan(run: Run, place: Path) -> None:
    assert run("materialize", "layer:landing", "--dry-run").out == run("plan", "layer:landing").out
    assert not list((place / "lake").rglob("*.json"))


def test_an_unreadable_ledger_entry_stops_no_selection_that_does_not_read_it(run: Run, place: Path) -> None:
    entry = place / "lake/_ledger/staging/service_usage/0000000001.json"
    entry.parent.mkdir(parents=True)
    entry.write_text("{")
    assert run("materialize", "source:municipalities").code == 0
    ran = run("materialize", "source:service_usage")
    assert ran.code == 1
    assert "catalunya verify --repair" in ran.err


def test_a_failure_does_not_stop_the_others_and_exits_1(run: Run, apis: MockServer) -> None:
    apis.faults("missing-column:9aju-tpwc:column=codi")
    sources = ("source:municipalities", "source:service_usage", "source:social_services")
    ran = run("materialize", *sources)
    assert ran.code == 1
    statuses = {line.split()[1].rstrip(";"): line.split()[0] for line in ran.out.splitlines()[:-1]}
    assert statuses == {
        "landing.municipalities": "failed",
        "landing.service_usage": "materialized",
        "landing.social_services": "materialized",
        "staging.municipalities": "deferred",
        "staging.service_usage": "materialized",
        "staging.social_services": "deferred",
    }
    assert ran.out.splitlines()[-1] == "3 materialized, 1 failed, 2 deferred"
    assert "the source's fields do not match RawMunicipalities: missing codi" in ran.out
    apis.faults()
    assert run("materialize", *sources).code == 0


def test_a_deferred_asset_shows_what_it_waits_for(run: Run, place: Path) -> None:
    ran = run("materialize", "staging.municipalities")
    assert ran.code == 0
    assert "landing.municipalities has never been made" in ran.out
    assert "to make both: `catalunya materialize +staging.municipalities`" in ran.out


def test_a_table_that_shrank_is_made_with_accept_change(run: Run, apis: MockServer, filled: Path) -> None:
    apis.faults("shrunken:9aju-tpwc:keep=0.5")
    ran = run("materialize", "+staging.municipalities")
    assert ran.code == 1
    assert "--accept-change" in ran.out
    # The option's name before there were other guards.
    assert run("materialize", "+staging.municipalities", "--force", "--accept-shrink").code == 0
    assert json.loads(run("status", "staging.municipalities", "--json").out)[0]["rows"] < 500


def test_an_asset_that_another_run_is_making_is_skipped(run: Run, project: Project) -> None:
    with lease(project.lake, "landing.municipalities", "theirs", 60):
        assert json.loads(run("status", "landing.municipalities", "--json").out)[0]["state"] == "running"
        ran = run("materialize", "landing.municipalities")
        assert ran.code == 1
        assert "is being made by run theirs" in ran.out
        assert run("verify", "landing.municipalities").out.startswith(
            "landing.municipalities was skipped: another run is making it"
        )


def test_independent_assets_are_made_at_the_same_time(run: Run, apis: MockServer) -> None:
    apis.faults("slow:on=rows:seconds=0.5")
    most, stop = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.01):
            most = max(most, sum(thread.name.startswith("catalunya_") for thread in threading.enumerate()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    ran = run("materialize", "layer:landing", "--workers", "3")
    stop.set()
    watcher.join()
    assert ran.code == 0
    assert most == 3


def test_verify_accepts_a_good_lake_and_reports_a_damaged_one(run: Run, filled: Path) -> None:
    ran = run("verify")
    assert ran.code == 0
    assert ran.out.startswith("ledger and objects agree (")
    table = filled / "lake" / "staging" / "municipalities" / "file.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    assert run("verify", "--quick").code == 0, "the size is the same"
    ran = run("verify")
    assert ran.code == 1
    assert "  catalunya materialize staging.municipalities --force" in ran.out
    found = json.loads(run("verify", "staging.municipalities", "--json").out)
    assert [finding["kind"] for finding in found["findings"]] == ["object_differs"]
    assert run("materialize", "staging.municipalities", "--force").code == 0
    assert run("verify").code == 0


def test_a_corrupt_ledger_entry_is_one_line_and_verify_repair_fixes_it(run: Run, filled: Path) -> None:
    entry = filled / "lake" / "_ledger" / "staging" / "municipalities" / "0000000001.json"
    good = entry.read_bytes()
    entry.write_bytes(good[:100])
    for command in ("status", "plan", "materialize"):
        ran = run(command, "staging.municipalities")
        assert ran.code == (command == "materialize")
        line = next(line for line in ran.out.splitlines() if "staging.municipalities" in line)
        assert "the ledger entry " in line
        assert "`catalunya verify --repair`" in line
    assert run("verify").code == 1
    ran = run("verify", "--repair")
    assert ran.code == 1
    assert "moved 1 object" in ran.out
    aside = list((filled / "lake" / "_ledger" / "_aside").rglob("0000000001.json"))
    assert [path.read_bytes() for path in aside] == [good[:100]]
    assert run("materialize", "+staging.municipalities").code == 0
    assert run("verify").code == 0
    assert [one["sequence"] for one in json.loads(run("history", "staging.municipalities", "--json").out)] == [2, 1]


@pytest.mark.parametrize("command", ["materialize", "status", "ls", "plan", "verify"])
def test_every_command_that_selects_suggests_the_nearest_names(run: Run, command: str) -> None:
    ran = run(command, "stagng.municipalitie")
    assert ran.code == 2
    assert "did you mean staging.municipalities" in ran.err
    assert ran.err.count("\n") == 1
