"""`run` and `up` as a person starts them, when all goes well: each makes what is left, and one after it finds nothing to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.test_airflow_run import folder, left_of, read_until, sessions, started, written

from catalunya.ops.processes import free_ports

__all__ = ["folder"]

# What is left to be made of a lake in which the rest was: from nothing, one Airflow makes everything in tests/integration/test_airflow.py.
LEFT = (
    "landing.service_usage",
    "staging.service_usage",
    "marts.fact_service_usage_daily",
    "marts.agg_population_trends_yearly",
)


@pytest.fixture
def begun(folder: Path) -> Path:
    """The folder, with what is LEFT to be made."""
    for key in LEFT:
        shutil.rmtree(folder / "data" / "_ledger" / key.replace(".", "/"))
    return folder


def ran(folder: Path) -> dict[str, str]:
    """What became of each asset in a run, by the document it prints."""
    with started(folder, "run(load_settings(), rows=300, as_json=True)") as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    document: dict[str, Any] = json.loads(said[said.index("{\n") :])
    assert document["status"] == "ok"
    return {asset["asset"]: asset["state"] for asset in document["assets"]}


def test_a_run_makes_what_is_left_and_one_after_it_finds_everything_up_to_date(begun: Path) -> None:
    first = ran(begun)
    assert {key for key, state in first.items() if state == "done"} == set(LEFT)
    before = written(begun)
    assert set(ran(begun).values()) == {"up to date"}
    assert written(begun) == before


def test_up_makes_what_is_stale_on_plain_lines_serves_the_ui_and_ends_with_ctrl_c(begun: Path) -> None:
    (port,) = free_ports(1)
    with started(begun, f"up(load_settings(), rows=300, port={port})") as process:
        said = read_until(process, "Airflow's UI")
        mine = sessions(process) - {os.getsid(process.pid)}
        page = httpx.get(f"http://localhost:{port}/", follow_redirects=True)
        health = httpx.get(f"http://localhost:{port}/api/v2/monitor/health").json()
        process.send_signal(signal.SIGINT)
        said += process.communicate()[0]

    assert process.returncode == 0, said
    assert "\x1b" not in said
    assert all(re.search(rf"{re.escape(key)} +done", said) for key in LEFT)
    assert re.search(r"\d+ assets made, all \d+ up to date, in \d+ s", said)
    assert "<title>" in page.text
    assert {part["status"] for part in health.values()} == {"healthy"}
    assert left_of(mine) == []
