"""dev on the real scheduler: the lake on S3 (moto), landing and staging made by functions, tasks that wait hold no worker.

The functions are our handlers behind an endpoint of this machine that speaks Lambda's protocol. One chain is followed from its
source on; what the whole graph does on Airflow is in test_airflow.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from catalunya.assets.materialize import materialize
from catalunya.assets.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.mock import serve
from catalunya.ops.airflow.processes import child, free_ports
from catalunya.ops.airflow.server import airflow
from small.aws import Aws
from small.field import Field

ROOT = Path(__file__).parents[2]
CHAIN = ("landing.service_usage", "staging.service_usage")
ROLE = "arn:aws:iam::123456789012:role/catalunya-mart-role-dev"


@pytest.fixture(scope="module")
def dev(shared_aws: Aws, compiled: Path, made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Airflow in dev: its lake a bucket in which everything was made, its functions an endpoint, its sources the mock APIs."""
    folder = tmp_path_factory.mktemp("dev")
    (port,) = free_ports(1)
    lake = shared_aws.make_bucket("catalunya-data-dev")
    for path in made.rglob("*"):
        if path.is_file() and "_leases" not in path.parts:
            shared_aws.client("s3").upload_file(str(path), "catalunya-data-dev", path.relative_to(made).as_posix())
    queue = tell_of_manifests(shared_aws, "catalunya-data-dev")
    with serve(rows=300) as mock, pytest.MonkeyPatch.context() as patch:
        for name, value in shared_aws.environment.items():
            patch.setenv(name, value)
        settings = load_settings(
            env="dev",
            lake=lake,
            cache=compiled,
            socrata_url=mock.url,
            idescat_url=mock.url,
            http_attempts=1,
            http_requests_per_second=1000,
            manifests_queue=queue,
            mart_role=ROLE,
            engine="duckdb",
        )
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{port}")
        variables = settings_of_functions(lake, compiled, mock.url)
        with (
            functions(port, folder / "functions.log", variables),
            airflow(settings, home=folder / "home", retry_delay_s=1) as server,
        ):
            yield Field(server.client, Project(settings), mock)


def tell_of_manifests(aws: Aws, bucket: str) -> str:
    """A queue that is told whenever a landing batch is sealed in the bucket. Returns its URL."""
    queues = aws.client("sqs")
    url: str = queues.create_queue(QueueName="catalunya-manifests-dev")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    names = {"FilterRules": [{"Name": "prefix", "Value": "landing/"}, {"Name": "suffix", "Value": "_manifest.json"}]}
    told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": names}}
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [told]}
    )
    return url


def settings_of_functions(lake: str, cache: Path, url: str) -> dict[str, str]:
    """The environment that the infrastructure gives the functions."""
    names = {
        "ENV": "dev",
        "LAKE": lake,
        "CACHE": str(cache),
        "SOCRATA_URL": url,
        "IDESCAT_URL": url,
        "HTTP_ATTEMPTS": "1",
    }
    return {f"CATALUNYA_{name}": value for name, value in names.items()} | {"PYTHONPATH": str(ROOT / "tests")}


@contextmanager
def functions(port: int, log: Path, environment: dict[str, str]) -> Iterator[None]:
    """The endpoint of the functions, for as long as the block runs."""
    command = [sys.executable, "-m", "small.functions", str(port)]
    with child(command, log=log, env=os.environ | environment):
        until = time.monotonic() + 30
        while not is_there(f"http://127.0.0.1:{port}/health"):
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield


def is_there(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def test_a_chain_goes_from_landing_to_staging_by_functions_and_its_lake_is_a_bucket(dev: Field) -> None:
    dev.begin()
    dev.mock.advance("yavr-pn8q")
    dev.trigger(CHAIN[0])
    tasks = dev.settle()

    assert {task.state for task in tasks} <= {"success", "skipped"}
    for key in (*CHAIN, "marts.fact_service_usage_daily"):
        entry = dev.project.ledger.latest(key)
        (event,) = dev.events(key)
        assert entry is not None
        assert event["extra"] == entry.summary()
    assert any("staging/service_usage" in stored.path for stored in dev.project.lake.objects("staging"))


def test_a_batch_that_did_not_come_through_airflow_wakes_its_table_by_the_queue(dev: Field) -> None:
    dev.begin()
    dev.mock.advance("yavr-pn8q")
    landed = materialize(dev.project, "landing.service_usage").entry
    assert landed is not None
    assert dev.project.state().stale("staging.service_usage")

    until = time.monotonic() + 60
    while dev.project.state().stale("staging.service_usage"):
        assert time.monotonic() < until, [(task.dag_id, task.state) for task in dev.tasks()]
        time.sleep(0.5)
    assert "ops.reconcile" in {task.dag_id for task in dev.settle()}


def test_a_mart_is_made_under_its_role(dev: Field, shared_aws: Aws) -> None:
    dev.begin()
    dev.trigger("marts.dim_time", force=True)
    dev.settle()

    (task,) = dev.tasks("marts.dim_time")
    assert task.state == "success"
    assert any("role_assumed" in line and ROLE in line for line in dev.client.log_lines(task))


def test_what_a_function_raises_is_raised_by_the_task_as_what_it_was(dev: Field) -> None:
    dev.begin()
    dev.mock.advance("yavr-pn8q")
    dev.mock.faults("missing-column:yavr-pn8q:column=codi")
    dev.trigger(CHAIN[0])
    (task,) = dev.settle()

    assert (task.state, task.try_number) == ("failed", 1)
    assert any("the source's fields are not those of RawServiceUsage" in line for line in dev.client.log_lines(task))
