"""`run` and `up` on a lake in which most is made: each makes what is stale and says what failed, and the next finds nothing to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.test_airflow_run import folder, read_until, sessions, started, wait_for_end, written

from catalunya.assets.graph.discovery import load_graph
from catalunya.io.environment import load_settings
from catalunya.io.errors import AirflowError
from catalunya.ops.local_airflow.server import airflow
from catalunya.ops.mock import serve
from catalunya.ops.processes import free_ports

__all__ = ["folder"]

# What these runs have to make, the rest is made already; tests/integration/test_airflow.py starts from an empty lake.
FAILED = "landing.social_services"
STALE = (
    "landing.service_usage",
    "staging.service_usage",
    "marts.fact_service_usage_daily",
    "marts.agg_population_trends_yearly",
)


@pytest.fixture
def begun(folder: Path) -> Path:
    """The folder, without the ledger entries of STALE."""
    for key in STALE:
        shutil.rmtree(folder / "data" / "_ledger" / key.replace(".", "/"))
    return folder


def ran(folder: Path) -> dict[str, str]:
    """The state of each asset in the JSON that a run prints."""
    with started(folder, "run(load_settings(), rows=300, as_json=True)") as process:
        output = process.communicate()[0]
    assert process.returncode == 0, output
    document: dict[str, Any] = json.loads(output[output.index("{\n") :])
    assert document["status"] == "ok"
    return {asset["asset"]: asset["state"] for asset in document["assets"]}


def test_a_run_makes_what_is_stale_and_the_next_finds_everything_up_to_date(begun: Path) -> None:
    first = ran(begun)
    assert {key for key, state in first.items() if state == "done"} == set(STALE)
    before = written(begun)
    assert set(ran(begun).values()) == {"up to date"}
    assert written(begun) == before


def test_the_database_of_a_newer_airflow_is_reported_with_the_folder_to_delete(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('ffffffffffff')")
        database.commit()

    with (
        pytest.raises(
            AirflowError, match=rf"'ffffffffffff'; delete {tmp_path}, which is of a newer Airflow, and start"
        ),
        airflow(load_settings(), home=tmp_path),
    ):
        pass


def test_a_run_reports_what_failed_and_why_exits_1_and_writes_nothing_that_is_up_to_date(
    folder: Path,
) -> None:
    before = written(folder)
    with serve(rows=300, faults=["missing-column:ivft-vegh:column=registre"]) as mock:
        mock.advance("ivft-vegh")
        with started(folder, "run(load_settings())", CATALUNYA_MOCK_URL=mock.url) as process:
            output = process.communicate()[0]

    assert process.returncode == 1, output
    assert "last log lines of landing.social_services" in output
    assert "landing.social_services failed: landing.social_services: " in output
    assert "starting the mock" not in output
    others = {asset.key for asset in load_graph(load_settings(cache=folder / ".catalunya"))} - {FAILED}
    assert [key for key in others if not re.search(rf"{re.escape(key)} +up to date", output)] == []
    after = written(folder)
    # A failure is on the public pages, too.
    of_the_pages = tuple(str(folder / "data" / path) for path in ("portal", "_leases/portal", "_watch/portal.json"))
    tables = {path: at for path, at in before.items() if not path.startswith(of_the_pages)}
    assert {path: at for path, at in after.items() if path in tables} == tables
    of_the_failed = tuple(str(folder / "data" / top / FAILED.replace(".", "/")) for top in ("", "_ledger"))
    mine = (*of_the_failed, *of_the_pages)
    assert [path for path in after.keys() - before.keys() if not path.startswith(mine)] == []


def test_up_makes_what_is_stale_serves_the_ui_and_stops_on_ctrl_c(begun: Path) -> None:
    port, portal_port = free_ports(2)
    with started(begun, f"run(load_settings(), rows=300, port={port}, portal_port={portal_port})") as process:
        output = read_until(process, "Press Ctrl-C")
        pages = httpx.get(f"http://localhost:{portal_port}/ca/index.html")
        part = httpx.get(f"http://localhost:{portal_port}/portal.json", headers={"Range": "bytes=0-9"})
        mine = sessions(process) - {os.getsid(process.pid)}
        page = httpx.get(f"http://localhost:{port}/", follow_redirects=True)
        health = httpx.get(f"http://localhost:{port}/api/v2/monitor/health").json()
        process.send_signal(signal.SIGINT)
        output += process.communicate()[0]

    assert process.returncode == 0, output
    assert "\x1b" not in output
    assert all(re.search(rf"{re.escape(key)} +done", output) for key in STALE)
    assert re.search(r"\d+ assets made, all \d+ up to date, in \d+ s", output)
    assert "<title>" in page.text
    assert f"Public pages: http://localhost:{portal_port}/" in output
    assert (pages.status_code, part.status_code, len(part.content)) == (200, 206, 10)
    assert f'rel="canonical" href="http://localhost:{portal_port}/' in pages.text
    assert {part["status"] for part in health.values()} == {"healthy"}
    wait_for_end(mine)
