"""What each process of a deployed Airflow is told, when it refuses to start, and how its health is told."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catalunya.io.errors import ConfigurationError, Unhealthy, UsageError
from catalunya.ops.deployed_airflow import health
from catalunya.ops.deployed_airflow.processes import PROCESSES, SHARED, arguments, complete, environment, known
from catalunya.ops.local_airflow.processes import free_ports

ENOUGH = dict.fromkeys(SHARED, "told")
DOKKU = {
    "DATABASE_URL": "postgres://postgres:secret@dokku-postgres-catalunya:5432/catalunya",
    "REDIS_URL": "redis://:secret@dokku-redis-catalunya:6379",
    "PORT": "5000",
}


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """A server that answers paths with JSON or text: its port, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '')}")
            found = answers.get(self.path)
            body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-aws-ec2-metadata-token-ttl-seconds", "600")
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815  names of the base class

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


def test_a_platforms_addresses_become_airflows_and_a_broker_makes_it_celery() -> None:
    env = environment(DOKKU)
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == DOKKU["DATABASE_URL"].replace("postgres:", "postgresql:", 1)
    assert env["AIRFLOW__CELERY__BROKER_URL"] == DOKKU["REDIS_URL"]
    assert env["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert env["AIRFLOW__API__PORT"] == "5000"
    assert environment({})["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert environment({})["AIRFLOW__API__PORT"] == "8080"


def test_what_the_environment_says_already_is_left_as_it_is() -> None:
    said = {
        "AIRFLOW__API__PORT": "81",
        "AIRFLOW__CORE__PARALLELISM": "9",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": "cat x",
    }
    env = environment({**DOKKU, **said, "CATALUNYA_SOURCES_POOL": "mine", "AIRFLOW__CORE__EXECUTOR": "LocalExecutor"})
    assert {name: env[name] for name in said} == said
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in env
    assert (env["CATALUNYA_SOURCES_POOL"], env["AIRFLOW__CORE__EXECUTOR"]) == ("mine", "LocalExecutor")


@pytest.mark.parametrize("name", SHARED)
def test_a_process_that_lacks_what_all_have_to_share_does_not_start(name: str) -> None:
    env = environment({each: value for each, value in ENOUGH.items() if each != name})
    with pytest.raises(ConfigurationError, match=rf"scheduler: expected {name} \(.+\), found it unset; "):
        complete("scheduler", env)
    complete("scheduler", {**env, f"{name}_CMD": "cat /run/secrets/it"})


def test_a_worker_wants_a_broker_and_the_others_do_not() -> None:
    with pytest.raises(ConfigurationError, match="worker: expected AIRFLOW__CELERY__BROKER_URL"):
        complete("worker", environment(ENOUGH))
    complete("worker", environment({**ENOUGH, **DOKKU}))
    for name in set(PROCESSES) - {"worker"}:
        complete(name, environment(ENOUGH))


def test_no_login_is_for_one_machine_alone() -> None:
    open_to_all = {**ENOUGH, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}
    complete("api-server", environment(open_to_all))
    with pytest.raises(ConfigurationError, match=r"ALL_ADMINS: expected only where .* found it with CeleryExecutor"):
        complete("api-server", environment({**open_to_all, **DOKKU}))


def test_behind_a_proxy_the_api_server_and_nobody_else_is_told_so() -> None:
    proxied = {"FORWARDED_ALLOW_IPS": "*"}
    assert arguments(known("api-server"), proxied) == ["api-server", "--proxy-headers"]
    assert arguments(known("api-server"), {}) == ["api-server"]
    assert "--proxy-headers" not in arguments(known("scheduler"), proxied)


def test_a_process_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=r"process 'webserver': expected one of api-server, .*, migrate"):
        known("webserver")


@pytest.mark.parametrize(("database", "is_well"), [("healthy", True), ("unhealthy", False)])
def test_an_api_server_is_as_well_as_its_database(
    database: str, is_well: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering({"/api/v2/monitor/health": {"metadatabase": {"status": database}}}) as (port, _):
        monkeypatch.setenv("AIRFLOW__API__PORT", str(port))
        if is_well:
            assert health.check("api-server") == "api-server: answers, its database is healthy"
        else:
            with pytest.raises(Unhealthy, match="expected its database to be healthy, found unhealthy"):
                health.check("api-server")


def test_what_does_not_answer_is_not_well_and_one_line_says_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    api, database, broker = free_ports(3)
    monkeypatch.setenv("AIRFLOW__API__PORT", str(api))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"postgresql+psycopg2://a:b@127.0.0.1:{database}/c")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"redis://127.0.0.1:{broker}/0")
    for name, port in (("api-server", api), ("scheduler", database), ("worker", broker)):
        with pytest.raises(Unhealthy, match=rf"^{name}: expected .*{port}") as told:
            health.check(name)
        assert "\n" not in str(told.value)


def test_credentials_of_a_metadata_endpoint_reach_every_client_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/dokku.md has a helper give them out as a machine in the cloud would; two variables lead there."""
    import boto3
    import polars as pl
    from obstore.store import S3Store

    given = {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": "OFTHECERTIFICATE",
        "SecretAccessKey": "secret",
        "Token": "session",
        "LastUpdated": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "Expiration": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
    }
    roles = "/latest/meta-data/iam/security-credentials/"
    metadata = {"/latest/api/token": "token", roles: "orchestrator", f"{roles}orchestrator": given}
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_EC2_METADATA_DISABLED",
    ):
        monkeypatch.delenv(name, raising=False)
    with answering(metadata) as (door, _), answering({}) as (s3, asked):
        for name in ("AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{door}")
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")

        store = S3Store.from_url(
            "s3://lake", config={"aws_endpoint_url": f"http://127.0.0.1:{s3}"}, client_options={"allow_http": True}
        )
        with pytest.raises(FileNotFoundError):
            store.head("by-obstore")
        with pytest.raises((pl.exceptions.ComputeError, OSError)):
            pl.scan_parquet(
                "s3://lake/by-polars",
                storage_options={"aws_endpoint_url": f"http://127.0.0.1:{s3}", "aws_allow_http": "true"},
            ).collect()
        client: Any = boto3.session.Session().client  # the process's own session may know other credentials by now
        with pytest.raises(Exception, match="404"):
            client("s3", region_name="eu-west-1").head_object(Bucket="lake", Key="by-boto3")

    by = [line for line in asked if "Credential=OFTHECERTIFICATE/" in line]
    assert {each for each in ("by-obstore", "by-polars", "by-boto3") if not any(each in line for line in by)} == set()
