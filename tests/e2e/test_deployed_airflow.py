"""A deployed Airflow on a real PostgreSQL: a process that hangs is restarted, and the database survives the loss of its host.

The services of docker-compose.yml run as processes of this machine; the test restarts what has ended, as Docker does.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from celery import Celery  # type: ignore[import-untyped]

from catalunya.ops.deployed_airflow.processes import BROKER
from catalunya.ops.local_airflow.client import Client
from catalunya.ops.processes import child, free_ports
from catalunya.ops.watching.airflow import see_silent
from small.aws import Aws
from small.composed import BIN, ROOT, Composed, image_env, postgres_programs, resolved
from small.patience import patience, wait_until

# Five checks, ten seconds apart, and Airflow's own start and stop.
pytestmark = pytest.mark.timeout(patience(1200))
SERVICES = ("api-server", "dag-processor", "scheduler")
PASSWORD = "a password that only Airflow knows"


@dataclass
class Deployed:
    """One host's services."""

    composed: Composed
    stack: ExitStack

    def start(self, *names: str) -> None:
        """Start services, also again, and wait until they are healthy."""
        for name in names:
            self.composed.running.pop(name, None)
            self.composed.healthy.discard(name)
        for name in names:
            self.composed.start(self.stack, name)
        for name in names:
            if "healthcheck" in self.composed.services[name]:
                self.composed.wait_until_healthy(name)

    def command(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Our command with the environment of the scheduler, as `dokku run` calls it."""
        env = self.composed.environment("scheduler") | variables
        env["CATALUNYA_AIRFLOW_DATABASE"] = env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        return subprocess.run(
            [BIN / "catalunya", *arguments],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(240),
        )

    def do(self, *arguments: str, **variables: str) -> str:
        """The same, which must succeed. Returns what it printed."""
        done = self.command(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def airflow(self, name: str) -> int:
        """The process of Airflow that a service supervises."""
        supervisor = self.composed.running[name].pid
        (found,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="utf-8").split()
        return int(found)

    def hang(self, name: str, stop: Callable[[int, int], None]) -> None:
        """Stop a process whose supervisor has seen it healthy: until then it may take minutes to start."""
        log = self.composed.folder / f"{name}.log"
        wait_until(lambda: '"event": "process_healthy"' in log.read_text(errors="replace"), 120, log.read_text)
        stop(self.airflow(name), signal.SIGSTOP)

    def end(self, name: str) -> tuple[int, list[dict[str, Any]]]:
        """Wait until a service has ended. Its exit code, and what its supervisor logged."""
        code = self.composed.running[name].wait(patience(400))
        lines = (self.composed.folder / f"{name}.log").read_text(errors="replace").splitlines()
        return code, [json.loads(line) for line in lines if '"event": "process_unhealthy"' in line]

    def backs_up(self) -> str:
        """Run `ops.backup` in Airflow. Returns the run's id."""
        with Client(self.composed.url("api-server")) as client:
            wait_until(lambda: self._is_parsed(client), 180, lambda: self.composed.log("dag-processor"), poll_s=1)
            before = {run["dag_run_id"] for run in runs(client)}
            client.trigger("ops.backup")
            wait_until(
                lambda: [run for run in runs(client) if run["dag_run_id"] not in before and run["state"] == "success"],
                180,
                lambda: (runs(client), self.composed.log("scheduler")),
                poll_s=1,
            )
            (new,) = [run["dag_run_id"] for run in runs(client) if run["dag_run_id"] not in before]
            return str(new)

    def _is_parsed(self, client: Client) -> bool:
        return "ops.backup" in {dag["dag_id"] for dag in client.get("/dags", limit=1000)["dags"]}


def runs(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/dags/ops.backup/dagRuns", limit=1000)["dag_runs"]
    return found


@pytest.fixture(scope="module")
def given() -> dict[str, str]:
    """The secrets of the environment, which a second host gets too."""
    return {
        "CATALUNYA_POSTGRES_PASSWORD": secrets.token_hex(24),
        "CATALUNYA_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CATALUNYA_SECRET_KEY": secrets.token_hex(32),
        "CATALUNYA_JWT_SECRET": secrets.token_hex(64),
        "CATALUNYA_CLOCKS": "off",
    }


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis."""
    if not (server := shutil.which("redis-server")):
        pytest.skip("no Redis on this machine: apt-get install -y redis-server")
    (port,), folder = free_ports(1), tmp_path_factory.mktemp("redis")
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with child([server, *options], log=folder / "redis.log"):
        wait_until(lambda: "Ready to accept connections" in (folder / "redis.log").read_text(), 30)
        yield f"redis://127.0.0.1:{port}/0"


def add_worker(host: Deployed, broker: str) -> None:
    """A worker, as the Procfile starts it, beside the services of compose, which has none."""
    service = copy.deepcopy(host.composed.services["scheduler"])
    service |= {"command": ["catalunya", "serve", "worker"], "depends_on": {}}
    service["healthcheck"]["test"] = ["CMD", "catalunya", "healthy", "worker"]
    del service["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"]
    service["environment"] |= {
        "REDIS_URL": broker,
        "AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS": "small.celery_tasks.CONFIG",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_ports(1)[0]),
        "PYTHONPATH": str(ROOT / "tests"),
    }
    host.composed.services["worker"] = service


def is_silent(host: Deployed, broker: str) -> bool:
    """Whether a look finds that no worker answers, as it sees them through the broker."""
    with Client(host.composed.url("api-server")) as client, pytest.MonkeyPatch.context() as patch:
        patch.setenv(BROKER, broker)
        return "worker" in {found.subject for found in see_silent(client)}


def deploy(stack: ExitStack, folder: Path, given: dict[str, str], compiled: Path, aws: dict[str, str]) -> Deployed:
    """A host on which nothing runs yet; its backups go to S3."""
    services = resolved(given)["services"]
    for name in (*SERVICES, "migrate"):
        services[name]["environment"] |= {
            **aws,
            "CATALUNYA_LIVENESS_S": "10",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        }
    composed = Composed(services, folder, image_env((ROOT / "Dockerfile").read_text()))
    shutil.copytree(compiled, composed.volume("cache"), dirs_exist_ok=True)
    return Deployed(composed, stack)


@pytest.fixture(scope="module")
def aws_variables(shared_aws: Aws) -> dict[str, str]:
    """What points processes at a backup bucket of their own."""
    return {**shared_aws.environment, "CATALUNYA_BACKUP": shared_aws.make_bucket("airflow-backup")}


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, str], compiled: Path, aws_variables: dict[str, str]
) -> Iterator[Deployed]:
    """A host on which Airflow runs."""
    if postgres_programs() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install -y postgresql")
    with ExitStack() as stack:
        deployed = deploy(stack, tmp_path_factory.mktemp("host"), given, compiled, aws_variables)
        deployed.start(*SERVICES)
        yield deployed
        deployed.composed.stop()


def test_a_scheduler_that_hangs_ends_and_works_again_once_restarted(host: Deployed) -> None:
    host.hang("scheduler", os.kill)
    code, (line,) = host.end("scheduler")
    assert code == 1
    assert "scheduler: last heartbeat was" in line["why"]

    host.start("scheduler")
    host.backs_up()


def test_an_api_server_that_hangs_ends_and_answers_again_once_restarted(host: Deployed) -> None:
    host.hang("api-server", os.killpg)
    code, (line,) = host.end("api-server")
    assert code == 1
    assert "api-server: no answer from port" in line["why"]

    host.start("api-server")
    with Client(host.composed.url("api-server")) as client:
        assert client.health()["metadatabase"]["status"] == "healthy"


def test_a_database_that_does_not_answer_ends_nothing(host: Deployed) -> None:
    """A restart would not help, and would end running tasks; the processes work again once the database answers."""
    server = psutil.Process(host.composed.running["postgres"].pid)
    log = host.composed.folder / "api-server.log"
    stopped = [server, *server.children(recursive=True)]  # each connection has its own process, in a group of its own
    for process in stopped:
        process.suspend()
    try:
        wait_until(lambda: log.read_text(errors="replace").count('"health_unknown"') >= 6, 400, log.read_text)
    finally:
        for process in stopped:
            process.resume()
    assert host.composed.running["api-server"].poll() is None
    host.start(
        *[name for name in SERVICES if host.composed.running[name].poll() is not None]
    )  # Airflow gives up by itself
    host.composed.healthy.clear()
    for name in SERVICES:
        host.composed.wait_until_healthy(name)


def test_a_worker_that_is_stopped_ends_its_task_first(host: Deployed, broker: str, tmp_path: Path) -> None:
    add_worker(host, broker)
    assert is_silent(host, broker)
    host.start("worker")
    assert not is_silent(host, broker)
    with Celery(broker=broker) as app:
        app.send_task("small.slow", [str(tmp_path), 8], queue="default")
    wait_until((tmp_path / "begun").exists, 60, lambda: host.composed.log("worker"))
    host.composed.running["worker"].terminate()
    assert host.end("worker") == (0, [])
    assert (tmp_path / "done").exists()


def test_a_worker_that_hangs_ends_and_works_again_once_restarted(host: Deployed, broker: str, tmp_path: Path) -> None:
    add_worker(host, broker)
    host.start("worker")
    host.hang("worker", os.kill)
    assert is_silent(host, broker)
    code, (line,) = host.end("worker")
    assert code == 1
    assert "did not answer within" in line["why"]
    host.start("worker")
    with Celery(broker=broker) as app:
        app.send_task("small.slow", [str(tmp_path), 0], queue="default")
    wait_until((tmp_path / "done").exists, 60, lambda: host.composed.log("worker"))
    host.composed.running["worker"].terminate()
    assert host.end("worker") == (0, [])


def test_airflow_with_its_history_and_secrets_is_restored_on_a_second_host(
    host: Deployed,
    given: dict[str, str],
    compiled: Path,
    aws_variables: dict[str, str],
    shared_aws: Aws,
    tmp_path: Path,
) -> None:
    host.do("airflow", "pools", "set", "extra", "3", "made by hand")
    host.do("airflow", "variables", "set", "greeting", "bon dia")
    added = ("--conn-type", "http", "--conn-host", "example.org", "--conn-password", PASSWORD)
    host.do("airflow", "connections", "add", "portal", *added)
    first, second = host.backs_up(), host.backs_up()

    listed = json.loads(host.do("backup", "list", "--json"))["backups"]
    assert all(each["has_database"] and each["complete"] for each in listed)
    host.do("backup", "check")
    store, bucket = shared_aws.client("s3"), aws_variables["CATALUNYA_BACKUP"].removeprefix("s3://")
    found = store.list_objects_v2(Bucket=bucket, Prefix="objects/")["Contents"]
    heads = [store.head_object(Bucket=bucket, Key=each["Key"]) for each in found]
    assert {head["ServerSideEncryption"] for head in heads} == {"AES256"}
    assert not any(
        PASSWORD.encode() in store.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found
    )
    refused = host.command("restore", "--only", "database")
    assert (refused.returncode, "is in use by" in refused.stderr) == (1, True), refused.stderr

    began = time.monotonic()
    host.composed.stop()
    assert {name: host.composed.running[name].wait(patience(60)) for name in SERVICES} == dict.fromkeys(SERVICES, 0)
    assert time.monotonic() - began < patience(60)

    with ExitStack() as stack:
        other = deploy(stack, tmp_path, given, compiled, aws_variables)
        other.start("postgres")
        assert "restored from backup" in other.do("restore", "--only", "database")
        refused = other.command("restore", "--only", "database")
        assert (refused.returncode, "is not empty" in refused.stderr) == (1, True), refused.stderr
        other.do("restore", "--only", "database", "--replace")
        other.start(*SERVICES)

        with Client(other.composed.url("api-server")) as client:
            states = {run["dag_run_id"]: run["state"] for run in runs(client)}
            assert states[first] == "success"
            assert second in states
            pools = {pool["name"]: pool["slots"] for pool in client.get("/pools", limit=100)["pools"]}
            assert (pools["extra"], pools["sources"]) == (3, 4)
            assert client.get("/variables/greeting")["value"] == "bon dia"
        assert PASSWORD in other.do("airflow", "connections", "get", "portal", "--output", "json")
        wrong = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        lost = other.command(
            "airflow", "connections", "get", "portal", "--output", "json", AIRFLOW__CORE__FERNET_KEY=wrong
        )
        assert PASSWORD not in lost.stdout
        other.backs_up()
        other.composed.stop()
