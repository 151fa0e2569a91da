"""A recovery rehearsed on a real Airflow: the lake and Airflow's database are lost, restored from a backup, and go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.ops.backup.store import Store
from catalunya.ops.local_airflow.server import airflow
from small.drill import SECRETS, Clock, check_configured, command, configure
from small.field import Field
from small.lakes import contents


def test_recovery_drill_a_lost_lake_and_airflow_are_restored_from_a_backup_and_go_on(
    field: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It runs the commands of docs/recovery.md, which quotes its times."""
    settings = field.project.settings
    for name in ("env", "lake", "backup", "cache", "mock_url"):
        monkeypatch.setenv(f"CATALUNYA_{name.upper()}", str(getattr(settings, name)))
    field.make_fresh()
    configure(field)
    field.trigger("ops.backup")
    assert [(task.dag_id, task.state) for task in field.settle()] == [("ops.backup", "success")]
    tables, days = _tables(field), _days(field)
    store = Store.of(settings)
    backup = store.find("local")
    assert backup.is_complete
    assert not any(secret in json.dumps(backup.airflow) for secret in SECRETS)

    shutil.rmtree(settings.lake)
    clock = Clock()
    assert command("backup", "check") == 0
    assert command("restore", "--only", "lake") == 0
    assert command("verify") == 0
    clock.took("lake restored and verified")
    assert _tables(field) == tables
    with airflow(settings, home=tmp_path / "home", retry_delay_s=1) as server:
        clock.took("another Airflow started on an empty database")
        again = Field(server.client, Project(settings), field.mock)
        monkeypatch.setenv("CATALUNYA_AIRFLOW_URL", server.client.url)
        capfd.readouterr()
        assert command("restore", "--only", "airflow") == 0
        check_configured(again, capfd.readouterr().out)
        clock.took("its settings restored")
        assert again.stale() == []
        again.begin()
        again.mock.advance("yavr-pn8q")
        again.trigger("landing.service_usage")
        again.settle()
        clock.took("a change of a source is in the marts")
        made = {event["name"] for event in again.events()}
        assert {"landing.service_usage", "staging.service_usage", "marts.fact_service_usage_daily"} <= made
        assert again.stale() == []
    assert command("verify") == 0
    asset = field.project.graph["marts.fact_service_usage_daily"]
    assert days.join(_days(field), on=asset.key_columns, how="anti").is_empty(), (
        "no day was lost that no source provides again"
    )
    assert clock.seconds < settings.rto_minutes * 60
    with capfd.disabled():
        clock.print()


def _tables(field: Field) -> dict[str, bytes]:
    found = contents(field.project.settings.lake)
    return {
        path: body for path, body in found.items() if path.startswith(("staging/", "marts/", "_ledger/", "quarantine/"))
    }


def _days(field: Field) -> pl.DataFrame:
    project = Project(field.project.settings)
    asset = project.graph["marts.fact_service_usage_daily"]
    entry = project.ledger.latest(asset.key)
    assert entry
    return scan_table(project.lake, asset, entry).collect()
