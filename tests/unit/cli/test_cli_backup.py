"""`catalunya backup` and `restore`, as a person sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.ops.backup.airflow import connection, variable
from small.commands import Run
from small.lakes import contents


def test_a_lake_is_backed_up_lost_and_restored(filled: Path, run: Run) -> None:
    said = run("backup")
    assert said.code == 0
    assert "12 assets" in said.out
    assert "nothing of Airflow: CATALUNYA_AIRFLOW_URL does not say where it is" in said.out
    before = contents(filled / "lake")
    shutil.rmtree(filled / "lake")

    said = run("restore", "--dry-run")
    assert (said.code, said.out.count("would be restored")) == (0, 12)
    assert contents(filled / "lake") == {}
    said = run("restore")
    assert said.code == 0
    assert "done: 12 restored; from backup" in said.out
    assert "next: `catalunya verify`, then `catalunya plan`" in said.out
    assert run("verify", "layer:landing", "layer:staging").code == 0
    kept = {path for path in before if path.split("/")[0] in ("staging", "_ledger", "quarantine")}
    assert kept <= contents(filled / "lake").keys()

    said = run("restore", "staging.population")
    assert said.out.splitlines()[-2].startswith("done: 1 there; from backup")


def test_backups_are_listed_newest_first_and_are_checked(filled: Path, run: Run) -> None:
    assert "no backups in" in run("backup", "list").out
    names = [json.loads(run("backup", "--json").out)["name"] for _ in range(2)]
    assert [line.split()[0] for line in run("backup", "list").out.splitlines()[1:]] == names[::-1]
    listed = json.loads(run("backup", "list", "--json").out)
    assert [each["name"] for each in listed["backups"]] == names[::-1]
    assert all(each["whole"] for each in listed["backups"])
    said = run("backup", "check")
    assert said.code == 0
    assert said.out.startswith(f"nothing is wrong with backup {names[1]}")
    assert json.loads(run("backup", "check", names[0], "--quick", "--json").out)["wrong"] == []
    assert run("backup", "prune").out.splitlines()[-1] == "0 backups, 0 contents, 0 B, went"


def test_check_says_what_is_gone_and_that_the_newest_is_too_old(
    filled: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("backup")
    monkeypatch.setenv("CATALUNYA_RPO_HOURS", "4")
    assert run("backup", "check").code == 0
    (manifest,) = (filled / "backups" / "backups").iterdir()
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**told, "began_at": "2026-01-01T00:00:00Z"}))
    next((filled / "backups" / "objects").rglob("*/*")).unlink()
    said = run("backup", "check")
    assert said.code == 1
    assert "take an older backup" in said.err
    assert "expected a whole backup of the last 4 hours" in said.err
    assert said.out.startswith("2 things are wrong with backup")


def test_a_restore_that_would_replace_something_is_refused_in_one_line(
    filled: Path, run: Run, project: Project
) -> None:
    run("backup")
    run("materialize", "staging.population", "--force")
    said = run("restore")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith(
        "error: the lake is not empty: expected nothing that the backup has not"
    )
    said = run("restore", "--dry-run", "--json")
    assert said.code == 1
    assert {each["asset"] for each in json.loads(said.out)["assets"] if each["done"] == "in the way"} >= {
        "staging.population"
    }
    said = run("restore", "staging.population", "--replace", "--json")
    assert [each["done"] for each in json.loads(said.out)["assets"]] == ["there"], "the very same table was made"


def test_a_backup_goes_into_another_lake_and_this_one_is_not_touched(filled: Path, run: Run) -> None:
    run("backup")
    before = contents(filled / "lake")
    said = run("restore", "--into", str(filled / "other"))
    assert said.code == 0
    assert f"`CATALUNYA_LAKE={filled / 'other'} catalunya verify`" in said.out
    assert contents(filled / "lake") == before
    assert run("restore", "--into", str(filled / "other")).code == 0


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("restore",), "expected a backup of local, found none", 2),
        (("restore", "--from", "2025"), "expected a backup named 2025…, found none", 2),
        (("restore", "--only", "airflow", "staging.gdp"), "neither a selection nor --into", 2),
        (("backup", "check"), "`catalunya backup list` shows what is there", 2),
        (("restore", "nonsense"), "expected a backup of local, found none", 2),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    place: Path, run: Run, arguments: tuple[str, ...], said: str, code: int
) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err.splitlines()[-1]


def test_a_restore_of_airflow_says_what_is_missing_for_it(filled: Path, run: Run) -> None:
    run("backup")
    assert "expected something of Airflow in it, found nothing" in run("restore", "--only", "airflow").err


def test_an_airflow_that_does_not_answer_does_not_keep_the_lake_from_being_saved(
    filled: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATALUNYA_AIRFLOW_URL", "http://127.0.0.1:1")
    said = run("backup")
    assert said.code == 1
    assert "Airflow was not saved" in said.err
    assert "not whole" in run("backup", "list").out
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
def test_a_variable_that_may_be_a_secret_is_kept_without_its_value(key: str, value: str) -> None:
    kept = variable({"key": key, "value": value, "description": "what it is for"})
    assert kept == {"key": key, "value": None, "description": "what it is for"}


@pytest.mark.parametrize(("key", "value"), [("contact", "data@example.org"), ("limits", '{"rows": 50000}')])
def test_a_variable_that_is_no_secret_is_kept(key: str, value: str) -> None:
    assert variable({"key": key, "value": value, "description": None})["value"] == value


def test_a_connection_is_kept_without_anything_that_opens_it() -> None:
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
