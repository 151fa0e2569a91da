"""The environment of each process of a deployed Airflow, when it refuses to start, and its health check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catalunya.io.errors import ConfigurationError, HealthUnknown, UsageError
from catalunya.ops.deployed_airflow import health
from catalunya.ops.deployed_airflow.processes import PROCESSES, SHARED, arguments, check_environment, environment, known
from catalunya.ops.mock.exchange import Answer
from catalunya.ops.processes import free_ports
from small.http_server import Asked, Server

ENOUGH = dict.fromkeys(SHARED, "set")
DOKKU = {
    "DATABASE_URL": "postgres://postgres:secret@dokku-postgres-catalunya:5432/catalunya",
    "REDIS_URL": "redis://:secret@dokku-redis-catalunya:6379",
    "PORT": "5000",
}


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """A server that answers paths with JSON or text: its port, and the requests it received."""
    asked: list[str] = []

    def reply(request: Asked) -> Answer:
        asked.append(f"{request.target} {request.headers.get('authorization', '')}")
        found = answers.get(request.target)
        body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        return Answer(body, 200 if found is not None else 404, {"X-aws-ec2-metadata-token-ttl-seconds": "600"})

    with Server(reply).running() as server:
        yield int(server.url.rpartition(":")[2]), asked


def test_a_platforms_addresses_are_used_and_a_broker_selects_celery() -> None:
    env = environment(DOKKU)
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == DOKKU["DATABASE_URL"].replace("postgres:", "postgresql:", 1)
    assert env["AIRFLOW__CELERY__BROKER_URL"] == DOKKU["REDIS_URL"]
    assert env["CATALUNYA_AIRFLOW_DATABASE"] == env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"], "backups contain a dump"
    assert env["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert env["AIRFLOW__API__PORT"] == "5000"
    assert environment({})["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert environment({})["AIRFLOW__API__PORT"] == "8080"


def test_variables_that_are_set_win() -> None:
    given = {
        "AIRFLOW__API__PORT": "81",
        "AIRFLOW__CORE__PARALLELISM": "9",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": "cat x",
    }
    env = environment({**DOKKU, **given, "CATALUNYA_SOURCES_POOL": "mine", "AIRFLOW__CORE__EXECUTOR": "LocalExecutor"})
    assert {name: env[name] for name in given} == given
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in env
    assert (env["CATALUNYA_SOURCES_POOL"], env["AIRFLOW__CORE__EXECUTOR"]) == ("mine", "LocalExecutor")


@pytest.mark.parametrize("name", SHARED)
def test_a_process_without_a_shared_variable_does_not_start(name: str) -> None:
    env = environment({each: value for each, value in ENOUGH.items() if each != name})
    with pytest.raises(ConfigurationError, match=rf"scheduler: {name} is not set \(.+\); "):
        check_environment("scheduler", env)
    check_environment("scheduler", {**env, f"{name}_CMD": "cat /run/secrets/it"})


def test_only_a_worker_requires_a_broker() -> None:
    with pytest.raises(ConfigurationError, match="worker: AIRFLOW__CELERY__BROKER_URL is not set"):
        check_environment("worker", environment(ENOUGH))
    check_environment("worker", environment({**ENOUGH, **DOKKU}))
    for name in set(PROCESSES) - {"worker"}:
        check_environment(name, environment(ENOUGH))


def test_running_without_a_login_requires_the_local_executor() -> None:
    open_to_all = {**ENOUGH, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}
    check_environment("api-server", environment(open_to_all))
    with pytest.raises(ConfigurationError, match="ALL_ADMINS is set with CeleryExecutor"):
        check_environment("api-server", environment({**open_to_all, **DOKKU}))


def test_behind_a_proxy_only_the_api_server_gets_proxy_headers() -> None:
    proxied = {"FORWARDED_ALLOW_IPS": "*"}
    assert arguments(known("api-server"), proxied) == ["api-server", "--proxy-headers"]
    assert arguments(known("api-server"), {}) == ["api-server"]
    assert "--proxy-headers" not in arguments(known("scheduler"), proxied)


def test_an_unknown_process_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(UsageError, match=r"unknown process 'webserver'; expected one of api-server, .*, migrate"):
        known("webserver")


@pytest.mark.parametrize(("database", "is_healthy"), [("healthy", True), ("unhealthy", False)])
def test_an_api_server_is_as_healthy_as_its_database(
    database: str, is_healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering({"/api/v2/monitor/health": {"metadatabase": {"status": database}}}) as (port, _):
        monkeypatch.setenv("AIRFLOW__API__PORT", str(port))
        if is_healthy:
            assert health.check("api-server") == "api-server: healthy, and so is its database"
        else:
            (nothing,) = free_ports(1)
            monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"postgresql://a:b@127.0.0.1:{nothing}/c")
            with pytest.raises(HealthUnknown, match="its database does not answer"):
                health.check("api-server")


def test_without_its_database_or_broker_no_process_is_to_blame_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing, database, broker = free_ports(3)
    monkeypatch.setenv("AIRFLOW__API__PORT", str(nothing))
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"postgresql+psycopg2://a:b@127.0.0.1:{database}/c")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"redis://127.0.0.1:{broker}/0")
    for name, port in (("api-server", database), ("scheduler", database), ("worker", broker)):
        with pytest.raises(HealthUnknown, match=rf"^{name}: .*{port}") as raised:
            health.check(name)
        assert "\n" not in str(raised.value)
        assert raised.value.exit_code == 3, "a restart would help none of them"


def test_credentials_of_a_metadata_endpoint_reach_every_client_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/dokku.md runs a helper that serves credentials like an EC2 instance; two variables point to it."""
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
        client: Any = boto3.session.Session().client  # boto3's default session may have cached other credentials
        with pytest.raises(Exception, match="404"):
            client("s3", region_name="eu-west-1").head_object(Bucket="lake", Key="by-boto3")

    by = [line for line in asked if "Credential=OFTHECERTIFICATE/" in line]
    assert {each for each in ("by-obstore", "by-polars", "by-boto3") if not any(each in line for line in by)} == set()
