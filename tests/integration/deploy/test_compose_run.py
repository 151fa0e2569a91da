"""docker-compose.yml at work, without containers: its services' own commands, environment and health checks, on a real PostgreSQL."""

from __future__ import annotations

import base64
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.local_airflow.client import Client
from catalunya.ops.mock import serve
from small.composed import ROOT, WAIT_S, Composed, image_env, postgres_programs, resolved

# What is left to be made of a lake in which all else that its mart reads was: a chain from landing to marts, and nothing else wakes.
CHAIN = ("landing.service_usage", "staging.service_usage", "marts.fact_service_usage_daily")


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[Composed]:
    """Everything that `docker compose up` starts, well by its own health checks."""
    if postgres_programs() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install -y postgresql")
    folder = tmp_path_factory.mktemp("compose")
    told = {
        "CATALUNYA_POSTGRES_PASSWORD": secrets.token_hex(24),
        "CATALUNYA_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CATALUNYA_SECRET_KEY": secrets.token_hex(32),
        "CATALUNYA_JWT_SECRET": secrets.token_hex(64),
        "CATALUNYA_CLOCKS": "off",
    }
    services = resolved(told)["services"]
    composed = Composed(services, folder, image_env((ROOT / "Dockerfile").read_text()))
    shutil.copytree(compiled, composed.volume("cache"), dirs_exist_ok=True)  # the image brings it
    make_the_rest(composed.volume("lake"), compiled)
    with ExitStack() as stack:
        for name in services:
            composed.start(stack, name)
        for name, service in services.items():
            if "healthcheck" in service:
                composed.wait_until_well(name)
        yield composed
        composed.stop()


def make_the_rest(lake: Path, compiled: Path) -> None:
    """Make in this process what the chain's mart reads besides, of the rows that the mock APIs of the services have too."""
    with serve() as mock:
        apis = {"socrata_url": mock.url, "idescat_url": mock.url}
        project = Project(load_settings(env="local", lake=str(lake), cache=compiled, **apis))
        for asset in project.graph.select(f"+{CHAIN[-1]}"):
            if asset.key not in CHAIN:
                materialize(project, asset.key)


def test_every_service_comes_up_by_its_own_command_and_is_well_by_its_own_health_check(composed: Composed) -> None:
    assert set(composed.running) == set(composed.services)
    ended = {name for name, process in composed.running.items() if process.poll() is not None}
    assert ended == {"migrate"}
    assert composed.well == set(composed.services) - {"migrate"}


def test_a_wave_goes_from_landing_to_marts_and_its_history_is_in_postgres(composed: Composed) -> None:
    lake = composed.volume("lake")
    project = Project(load_settings(env="local", lake=str(lake), cache=composed.volume("cache")))
    began = datetime.now(UTC)
    with Client(composed.url("api-server")) as client:
        until = time.monotonic() + WAIT_S
        while not {asset.key for asset in project.graph} <= {
            dag["dag_id"] for dag in client.get("/dags", limit=1000)["dags"]
        }:
            assert time.monotonic() < until, composed.log("dag-processor")
            time.sleep(0.7)
        client.trigger(CHAIN[0])
        while {run["dag_id"]: run["state"] for run in client.runs()} != dict.fromkeys(CHAIN, "success"):
            assert time.monotonic() < until, composed.log("scheduler")
            time.sleep(0.7)
        lines = client.log_lines(client.task_instances(began)[0])

    state = project.state()
    assert not [asset.key for asset in project.graph.select(f"+{CHAIN[-1]}") if state.stale(asset.key)]
    assert any("materialized" in line for line in lines), lines  # the api-server reads what the scheduler's tasks wrote
    address = composed.environment("scheduler")["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    with psycopg.connect(address) as database:
        runs = database.execute("select dag_id, state from dag_run order by id").fetchall()
        events = database.execute("select a.name from asset_event e join asset a on a.id = e.asset_id order by e.id")
        pools = database.execute("select slots, include_deferred from slot_pool where pool = 'sources'").fetchall()
        assert runs == [(key, "success") for key in CHAIN]
        assert [name for (name,) in events] == list(CHAIN)
        assert pools == [(4, True)]
