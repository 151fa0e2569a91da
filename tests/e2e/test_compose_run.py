"""docker-compose.yml running without containers: its services' commands, environment and health checks, on a real PostgreSQL.

Only its database is in tests/integration/deploy/test_postgres.py, in `make test`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.local_airflow.client import Client
from catalunya.ops.mock import serve
from catalunya.ops.processes import child, free_ports
from small.browser import chromium, window
from small.composed import BIN, WAIT_S, Composed, postgres_programs
from small.patience import wait_until

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# One chain from landing to marts. Everything else that its mart reads is already made, so that nothing else runs.
CHAIN = ("landing.service_usage", "staging.service_usage", "marts.fact_service_usage_daily")
MADE = "staging.municipalities"


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[Composed]:
    """Everything that `docker compose up` starts, healthy by its own health checks."""
    if postgres_programs() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install -y postgresql")
    folder = tmp_path_factory.mktemp("compose")
    composed = Composed.of(folder)
    shutil.copytree(compiled, composed.volume("cache"), dirs_exist_ok=True)  # as in the image
    make_the_rest(composed.volume("lake"), compiled)
    with ExitStack() as stack:
        for name in composed.services:
            composed.start(stack, name)
        for name, service in composed.services.items():
            if "healthcheck" in service:
                composed.wait_until_healthy(name)
        yield composed
        composed.stop()


def made_in(composed: Composed) -> Project:
    """The project on the lake of the services."""
    return Project(load_settings(env="local", lake=str(composed.volume("lake")), cache=composed.volume("cache")))


def make_the_rest(lake: Path, compiled: Path) -> None:
    """Make everything else that the chain's mart reads, from the same rows that the mock service has."""
    with serve() as mock:
        apis = {"mock_url": mock.url}
        project = Project(load_settings(env="local", lake=str(lake), cache=compiled, **apis))
        for asset in project.graph.select(f"+{CHAIN[-1]}"):
            if asset.key not in CHAIN:
                materialize(project, asset.key)


def test_every_service_starts_and_is_healthy_by_its_own_check(composed: Composed) -> None:
    assert set(composed.running) == set(composed.services)
    ended = {name for name, process in composed.running.items() if process.poll() is not None}
    assert ended == {"migrate"}
    assert composed.healthy == set(composed.services) - {"migrate"}


def test_a_change_goes_from_landing_to_marts_and_its_history_is_in_postgres(composed: Composed) -> None:
    project = made_in(composed)
    began = datetime.now(UTC)
    with Client(composed.url("api-server")) as client:
        keys = {asset.key for asset in project.graph}
        wait_until(lambda: keys <= client.parsed(EPOCH), WAIT_S, lambda: composed.log("dag-processor"), poll_s=0.7)
        client.trigger(CHAIN[0])
        wait_until(
            lambda: (
                {
                    run["dag_id"]: run["state"]
                    for run in client.get("/dags/~/dagRuns", limit=1000)["dag_runs"]
                    if run["dag_id"] in keys  # a wave also starts `ops.portal`
                }
                == dict.fromkeys(CHAIN, "success")
            ),
            WAIT_S,
            lambda: composed.log("scheduler"),
            poll_s=0.7,
        )
        lines = client.log_lines(client.task_instances(began)[0])

    state = project.state()
    assert not [asset.key for asset in project.graph.select(f"+{CHAIN[-1]}") if state.stale(asset.key)]
    assert any("materialized" in line for line in lines), (
        lines
    )  # the api-server reads the logs of the scheduler's tasks
    address = composed.environment("scheduler")["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    with psycopg.connect(address) as database:
        runs = database.execute("select dag_id, state from dag_run order by id").fetchall()
        events = database.execute("select a.name from asset_event e join asset a on a.id = e.asset_id order by e.id")
        pools = database.execute("select slots, include_deferred from slot_pool where pool = 'sources'").fetchall()
        assert [run for run in runs if run[0] in keys] == [(key, "success") for key in CHAIN]
        assert [name for (name,) in events if name in keys] == list(CHAIN)
        assert pools == [(4, True)]


def test_the_plugin_works_in_compose_without_a_login(composed: Composed) -> None:
    with chromium() as browser, window(browser, composed.url("api-server")) as opened:
        frame = opened.open("/plugin/asset-health")
        assert frame.locator("table.assets tbody tr").count() == len(made_in(composed).graph)
        frame = opened.open(f"/dags/{MADE}/plugin/asset")
        assert frame.locator("h1").inner_text().split() == [MADE, "fresh"]
        assert opened.said == []


def test_the_plugin_works_behind_a_login_and_below_a_prefix_as_deployed(composed: Composed, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords.json"
    passwords.write_text('{"ada": "a password of this test"}')
    (port,) = free_ports(1)
    env = composed.environment("api-server") | {
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}/af",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "false",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }
    url, log = f"http://127.0.0.1:{port}/af", tmp_path / "api-server.log"
    with child([BIN / "catalunya", "serve", "api-server"], log=log, env=env), httpx.Client(trust_env=False) as http:

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return http.get(f"{url}/api/v2/monitor/health").status_code == 200
            return False

        wait_until(answers, WAIT_S, log.read_text, poll_s=1)
        refused = http.get(f"{url}/pipeline/assets")
        assert (refused.status_code, refused.headers["content-type"]) == (401, "text/html; charset=utf-8")
        with chromium() as browser, window(browser, url, login=("ada", "a password of this test")) as opened:
            frame = opened.open("/plugin/asset-health")
            frame.get_by_role("link", name=MADE, exact=True).click()
            frame = opened.wait_for(f"/dags/{MADE}/plugin/asset")
            assert frame.locator("h1").inner_text().split() == [MADE, "fresh"]
            assert opened.said == []
