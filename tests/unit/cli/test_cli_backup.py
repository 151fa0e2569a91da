"""The commands `catalunya backup` and `catalunya restore`."""

from __future__ import annotations

import json
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.lake import Lake
from catalunya.ops.backup.airflow import connection, variable
from catalunya.ops.backup.store import Store
from small.backups import rewrite
from small.commands import Run
from small.lakes import contents


def test_a_lake_is_backed_up_lost_and_restored(filled: Path, run: Run) -> None:
    ran = run("backup")
    assert ran.code == 0
    tables = len(json.loads(run("status", "layer:landing", "layer:staging", "--json").out))
    assert f"{tables} assets" in ran.out
    assert "Airflow's settings were not backed up: set CATALUNYA_AIRFLOW_URL" in ran.out
    before = contents(filled / "lake")
    shutil.rmtree(filled / "lake")

    ran = run("restore", "--dry-run")
    assert (ran.code, ran.out.count("would be restored")) == (0, tables)
    assert contents(filled / "lake") == {}
    ran = run("restore")
    assert ran.code == 0
    assert f"done: {tables} restored; from backup" in ran.out
    assert "next: `catalunya verify`, then `catalunya plan` to see what is stale" in ran.out
    assert run("verify", "layer:landing", "layer:staging").code == 0
    kept = {path for path in before if path.split("/")[0] in ("staging", "_ledger", "quarantine")}
    assert kept <= contents(filled / "lake").keys()

    ran = run("restore", "staging.population")
    assert ran.out.splitlines()[-2].startswith("done: 1 unchanged; from backup")


def test_backups_are_listed_newest_first_and_are_checked(filled: Path, run: Run) -> None:
    assert "no backups in" in run("backup", "list").out
    names = [json.loads(run("backup", "--json").out)["name"] for _ in range(2)]
    assert [line.split()[0] for line in run("backup", "list").out.splitlines()[1:]] == names[::-1]
    listed = json.loads(run("backup", "list", "--json").out)
    assert [each["name"] for each in listed["backups"]] == names[::-1]
    assert all(each["complete"] for each in listed["backups"])
    ran = run("backup", "check")
    assert ran.code == 0
    assert ran.out.startswith(f"backup {names[1]}: no problems")
    assert json.loads(run("backup", "check", names[0], "--quick", "--json").out)["problems"] == []
    assert run("backup", "prune").out == "nothing to prune\n"


def test_check_reports_what_is_missing_and_that_the_newest_is_too_old(
    filled: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("backup")
    monkeypatch.setenv("CATALUNYA_RPO_HOURS", "4")
    assert run("backup", "check").code == 0
    store = Store(Lake(str(filled / "backups")))
    rewrite(store, store.find("local"), began_at=datetime(2026, 1, 1, tzinfo=UTC))
    next((filled / "backups" / "objects").rglob("*/*")).unlink()
    ran = run("backup", "check")
    assert ran.code == 1
    assert "use an older backup" in ran.err
    assert "expected a complete backup from the last 4 hours" in ran.err
    assert ": 2 problems (" in ran.out


def test_a_restore_that_would_replace_newer_tables_is_refused_in_one_line(
    filled: Path, run: Run, project: Project
) -> None:
    run("backup")
    run("materialize", "staging.population", "--force")
    ran = run("restore")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1].startswith("error: the lake has objects that the backup does not have")
    ran = run("restore", "--dry-run", "--json")
    assert ran.code == 1
    assert {each["asset"] for each in json.loads(ran.out)["assets"] if each["outcome"] == "conflict"} >= {
        "staging.population"
    }
    ran = run("restore", "staging.population", "--replace", "--json")
    assert [each["outcome"] for each in json.loads(ran.out)["assets"]] == ["unchanged"], "the same table was made"


def test_a_backup_is_restored_into_another_lake_and_this_one_is_not_touched(filled: Path, run: Run) -> None:
    run("backup")
    before = contents(filled / "lake")
    ran = run("restore", "--into", str(filled / "other"))
    assert ran.code == 0
    assert f"`CATALUNYA_LAKE={filled / 'other'} catalunya verify`" in ran.out
    assert contents(filled / "lake") == before
    assert run("restore", "--into", str(filled / "other")).code == 0


def test_the_next_command_can_be_pasted_whatever_the_other_lake_is_called(filled: Path, run: Run) -> None:
    run("backup")
    ran = run("restore", "--into", str(filled / "l'altre llac"))
    other = shlex.quote(str(filled / "l'altre llac"))
    assert f"`CATALUNYA_LAKE={other} catalunya verify`" in ran.out


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("restore",), "expected a backup of local, found none", 2),
        (("restore", "--from", "2025"), "expected a backup named 2025…, found none", 2),
        (("restore", "--only", "airflow", "staging.gdp"), "cannot be combined with a selection or --into", 2),
        (("backup", "check"), "`catalunya backup list`", 2),
        (("restore", "nonsense"), "expected a backup of local, found none", 2),
    ],
)
def test_a_wrong_call_is_explained_in_one_line(
    place: Path, run: Run, arguments: tuple[str, ...], message: str, code: int
) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err.splitlines()[-1]


def test_a_backup_without_airflows_settings_cannot_restore_them(filled: Path, run: Run) -> None:
    run("backup")
    assert "does not contain Airflow's settings" in run("restore", "--only", "airflow").err


def test_the_lake_is_backed_up_even_if_airflow_does_not_answer(
    filled: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_AIRFLOW_URL", "http://127.0.0.1:1")
    ran = run("backup")
    assert ran.code == 1
    assert "Airflow's settings were not backed up: Airflow at" in ran.err
    assert "incomplete" in run("backup", "list").out
    monkeypatch.delenv("CATALUNYA_AIRFLOW_URL")
    shutil.rmtree(filled / "lake")
    assert run("restore").code == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("portal_token", "abc"),
        ("DB_PASSWORD", "abc"),
        ("dsn", "postgresql://user:hunter2@db:5432/airflow"),
        ("key", "-----BEGIN PRIVATE KEY-----"),
        ("aws", "AKIA" + "IOSFODNN7EXAMPLE"),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9.e30.abc"),
        ("settings", '{"host": "x", "api_key": "***"}'),
        ("settings", '{"host": "x", "client_secret": "abc"}'),
    ],
)
def test_a_variable_that_may_be_a_secret_is_backed_up_without_its_value(key: str, value: str) -> None:
    kept = variable({"key": key, "value": value, "description": "what it is for"})
    assert kept == {"key": key, "value": None, "description": "what it is for"}


@pytest.mark.parametrize(("key", "value"), [("contact", "data@example.org"), ("limits", '{"rows": 50000}')])
def test_a_variable_that_is_not_a_secret_is_backed_up(key: str, value: str) -> None:
    assert variable({"key": key, "value": value, "description": None})["value"] == value


def test_a_connection_is_backed_up_without_its_secrets() -> None:
    found = {
        "connection_id": "warehouse",
        "conn_type": "postgres",
        "description": "the warehouse",
        "host": "reader:hunter2@db.example.org",
        "schema": "public",
        "port": 5432,
        "login": "AKIA" + "IOSFODNN7EXAMPLE",
        "password": "***",
        "extra": '{"sslmode": "require", "token": "***"}',
    }
    kept = connection(found)
    assert kept["to_set"] == ["login", "password", "extra.sslmode", "extra.token"]
    assert (kept["connection_id"], kept["conn_type"], kept["host"], kept["port"]) == (
        "warehouse",
        "postgres",
        None,
        5432,
    )
    assert not any(secret in json.dumps(kept) for secret in ("hunter2", "AKIA", "require"))
