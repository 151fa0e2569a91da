"""dev on the real scheduler: landing and staging in Lambda functions, the mart by the real dbt-athena, the lake on S3, tables in Glue.

The account is moto with an Athena that executes (`tests/athena`); the functions are our handlers behind a local endpoint that speaks
Lambda's protocol. The tests follow one chain from its source, and then what can happen to a function: refused, failed, killed, its
answer lost, no triggerer. The whole graph on Airflow is in test_airflow.py, every mart on Athena in test_marts_on_athena.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import polars as pl
import psutil
import pytest

from athena.account import Account
from athena.server import athena_server
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.lease import Held, holder
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.cdk.signals import FAILURES, FINDINGS, ROWS, RUNS, Signal, of_kind
from catalunya.io.environment import load_settings
from catalunya.ops.cli import main
from catalunya.ops.local_airflow.client import TaskInstance
from catalunya.ops.local_airflow.server import airflow
from catalunya.ops.mock import serve
from catalunya.ops.processes import child, free_ports
from catalunya.ops.watching.findings import Kind
from small.aws import REGION, Aws
from small.collector import Collector, collecting
from small.field import Field
from small.filter_pattern import matches
from small.functions import functions
from small.lakes import contents
from small.lineage import Receiver, parent_of, receiving, validate
from small.patience import patience, wait_until

ROOT = Path(__file__).parents[2]
LANDING, STAGING, MART = CHAIN = (
    "landing.social_services",
    "staging.social_services",
    "marts.fact_service_usage_daily",
)
CANDIDATES = "catalunya_candidates_dev"
LOG_GROUP = "/catalunya/airflow/dev"
ROLE = "arn:aws:iam::123456789012:role/catalunya-dev/catalunya-mart-role-dev"


LEASE_S = patience(6)
"""So long a function that was killed is waited for."""

App = Callable[..., Iterable[bytes]]


class Losing:
    """The account, which refuses the answers for landing from the moment at which its table is recorded, while `is_on`."""

    def __init__(self, inner: App) -> None:
        self.inner, self.is_on, self.is_recorded, self.refused = inner, False, False, 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path, is_write = environ["PATH_INFO"], environ["REQUEST_METHOD"] == "PUT"
        if self.is_on and self.is_recorded and is_write and f"/_answers/{LANDING.partition('.')[0]}/" in path:
            self.refused += 1
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        found = self.inner(environ, start_response)
        self.is_recorded |= self.is_on and is_write and f"/_ledger/{LANDING.replace('.', '/')}/" in path
        return found


LOSING: list[Losing] = []


def losing(inner: App) -> App:
    LOSING.append(Losing(inner))
    return LOSING[-1]


@pytest.fixture(scope="module")
def account(compiled: Path) -> Iterator[Account]:
    """An account with a running Athena and an empty Glue, configured for this process."""
    with athena_server(losing) as (aws, api), pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_PROFILE", raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield Account.prepare(aws, api, compiled)


Backends = tuple[Collector, Receiver]


@pytest.fixture(scope="module")
def backends() -> Iterator[Backends]:
    """Those of OpenTelemetry and OpenLineage, which Airflow's environment names and the functions' does not."""
    with collecting() as collector, receiving() as receiver:
        yield collector, receiver


@pytest.fixture(scope="module")
def dev(
    account: Account, compiled: Path, made: Path, backends: Backends, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Field]:
    """Airflow in dev: its lake is a bucket in which everything was made, its functions an endpoint, its sources the mock APIs."""
    folder = tmp_path_factory.mktemp("dev")
    (port,) = free_ports(1)
    aws, lake = account.aws, account.settings.lake
    aws.fill(lake, {name: body for name, body in contents(made).items() if not name.startswith("_leases/")})
    queue = notify_of_manifests(aws, lake.removeprefix("s3://"))
    send_logs_to_cloudwatch(aws, folder / "home")
    with serve(rows=300) as mock, pytest.MonkeyPatch.context() as patch:
        settings = load_settings(
            env="dev",
            lake=lake,
            cache=compiled,
            mock_url=mock.url,
            http_attempts=1,
            http_requests_per_second=1000,
            manifests_queue=queue,
            mart_role=ROLE,
        )
        assert settings.engine == "athena"
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{port}")
        variables = settings_of_functions(lake, compiled, mock.url)
        with (
            functions(port, folder / "functions.log", os.environ | variables),
            pytest.MonkeyPatch.context() as airflows,
        ):
            airflows.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backends[0].url)
            airflows.setenv("OPENLINEAGE_URL", backends[1].url)
            airflows.setenv("OPENLINEAGE_NAMESPACE", "open-data")
            with airflow(settings, home=folder / "home", retry_delay_s=1) as server:
                airflows.undo()  # what this process makes is not announced
                yield Field(server.client, Project(settings), mock)


def notify_of_manifests(aws: Aws, bucket: str) -> str:
    """A queue that is notified of every sealed landing batch in the bucket. Returns its URL."""
    queues = aws.client("sqs")
    url: str = queues.create_queue(QueueName="catalunya-manifests-dev")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    names = {"FilterRules": [{"Name": "prefix", "Value": "landing/"}, {"Name": "suffix", "Value": "_manifest.json"}]}
    notified = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": names}}
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [notified]}
    )
    return url


def send_logs_to_cloudwatch(aws: Aws, home: Path) -> None:
    """Have Airflow's own handler write the logs of its tasks to their log group, as on Dokku (docs/dokku.md)."""
    aws.client("logs").create_log_group(logGroupName=LOG_GROUP)
    home.mkdir()
    address = f"cloudwatch://arn:aws:logs:{REGION}:123456789012:log-group:{LOG_GROUP}"
    remote = f"remote_logging = True\nremote_log_conn_id = aws_default\nremote_base_log_folder = {address}"
    (home / "airflow.cfg").write_text(f"[logging]\n{remote}\n", encoding="utf-8")


def settings_of_functions(lake: str, cache: Path, url: str) -> dict[str, str]:
    """The environment of the functions, as the infrastructure sets it."""
    names = {
        "ENV": "dev",
        "LAKE": lake,
        "CACHE": str(cache),
        "MOCK_URL": url,
        "HTTP_ATTEMPTS": "1",
        "LAKE_ATTEMPTS": "1",
        "LEASE_S": str(LEASE_S),
    }
    return {f"CATALUNYA_{name}": value for name, value in names.items()} | {"PYTHONPATH": str(ROOT / "tests")}


@dataclass(frozen=True)
class ChainRun:
    """What followed from one change of a source: the tasks, and each asset's events."""

    tasks: list[TaskInstance]
    events: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def chain_run(dev: Field) -> ChainRun:
    """The register of services changed, and its landing DAG was triggered."""
    dev.begin()
    dev.mock.advance("ivft-vegh")
    dev.trigger(LANDING)
    tasks = dev.settle()
    return ChainRun(tasks, {key: dev.events(key) for key in CHAIN})


def test_a_chain_goes_from_landing_to_its_mart_and_its_lake_is_a_bucket(dev: Field, chain_run: ChainRun) -> None:
    assert {task.state for task in chain_run.tasks} <= {"success", "skipped"}
    for key in CHAIN:
        entry = dev.project.ledger.latest(key)
        (event,) = chain_run.events[key]
        assert entry is not None
        assert event["extra"] == entry.summary()
    for key in (STAGING, MART):
        prefix = dev.project.graph[key].prefix
        assert {stored.path for stored in dev.project.lake.objects(prefix)} == {
            stored.path for stored in dev.project.ledger.latest(key).objects
        }


@pytest.mark.parametrize("key", [STAGING, MART])
def test_its_tables_are_in_glue_as_recorded_and_readable_through_athena(
    dev: Field, chain_run: ChainRun, account: Account, key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry, (schema, _, name) = dev.project.ledger.latest(key), key.partition(".")
    assert entry is not None
    table = account.aws.client("glue").get_table(DatabaseName=f"catalunya_{schema}_dev", Name=name)["Table"]
    assert table["Parameters"]["catalunya.data_version"] == entry.data_version

    settings = dev.project.settings
    for variable, value in {"ENV": "dev", "LAKE": settings.lake, "CACHE": str(settings.cache)}.items():
        monkeypatch.setenv(f"CATALUNYA_{variable}", value)
    sql = f"select comarca_id, count(*) as n from {key} group by 1 order by 1"
    assert main(["query", sql, "--output", str(tmp_path / "answer.parquet")]) == 0
    rows = scan_table(dev.project.lake, dev.project.graph[key], entry)
    counts = rows.group_by("comarca_id").len("n").cast({"n": pl.Int64}).sort("comarca_id", nulls_last=True).collect()
    assert pl.read_parquet(tmp_path / "answer.parquet").equals(counts)


def test_the_mart_was_built_on_athena_as_a_candidate_that_was_removed(chain_run: ChainRun, account: Account) -> None:
    ran = [execution for execution in account.api.executions.values() if execution.work_group == "catalunya_dev"]
    assert not [execution.reason for execution in ran if execution.reason]
    assert any(f'"{CANDIDATES}"."fact_service_usage_daily' in execution.sql for execution in ran)
    assert account.tables("candidates") == set()
    assert account.objects("_candidates/") == []


def test_a_mart_is_made_under_its_role(dev: Field, chain_run: ChainRun) -> None:
    # A second event can queue one more run, which is skipped.
    (task,) = [task for task in chain_run.tasks if task.dag_id == MART and task.state == "success"]
    assert any("role_assumed" in line and ROLE in line for line in dev.client.log_lines(task))


def test_what_functions_and_the_mart_made_is_announced_once_as_a_part_of_their_tasks(
    dev: Field, chain_run: ChainRun, backends: Backends
) -> None:
    collector, receiver = backends
    tasks = {task.dag_id: task for task in chain_run.tasks if task.state == "success"}
    spans = [collector.span(key) for key in CHAIN]
    assert {span.trace for span in spans} == {spans[0].trace}
    assert [span.parent for span in spans] == ["", spans[0].id, spans[1].id]
    for key, span in zip(CHAIN, spans, strict=True):
        assert span.attributes["run_id"] == tasks[key].run_id
        events = receiver.events_of(key, tasks[key].run_id)
        assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
        run = dev.client.get(f"/dags/{key}/dagRuns/{tasks[key].run_id}")
        for event in events:
            validate(event)
            assert event["run"]["facets"]["parent"].items() >= parent_of(tasks[key], run, "open-data").items()


def counted(account: Account, signal: Signal, asset: str | None) -> list[dict[str, Any]]:
    """The lines of an asset, or of none, that Airflow's own handler has sent to CloudWatch and that a metric counts."""
    pages = account.aws.client("logs").get_paginator("filter_log_events").paginate(logGroupName=LOG_GROUP)
    lines = [event["message"] for page in pages for event in page["events"]]
    found = [json.loads(line) for line in lines if matches(signal.pattern, line)]
    return [line for line in found if line.get("asset") == asset]


def test_the_metrics_count_what_airflows_own_handler_writes_to_cloudwatch(
    chain_run: ChainRun, account: Account
) -> None:
    # The handler sends lines in the background.
    wait_until(lambda: counted(account, RUNS, MART), 60)
    (line,) = counted(account, ROWS, MART)
    assert isinstance(line[ROWS.field or ""], int)
    assert counted(account, FAILURES, MART) == []


def test_the_task_raises_the_error_of_its_function_and_cloudwatch_counts_it(
    dev: Field, chain_run: ChainRun, account: Account, backends: Backends
) -> None:
    dev.begin()
    dev.mock.advance("yavr-pn8q")
    dev.mock.faults("missing-column:yavr-pn8q:column=codi")
    dev.trigger("landing.service_usage")
    (task,) = dev.settle()
    dev.mock.faults()

    assert (task.state, task.try_number) == ("failed", 1)
    why = "the source's fields do not match RawServiceUsage"
    assert any(why in line for line in dev.client.log_lines(task))
    wait_until(lambda: counted(account, FAILURES, "landing.service_usage"), 60)
    (line,) = counted(account, FAILURES, "landing.service_usage")
    assert (line["event"], line["task"], line["transient"]) == ("task_failed", "materialize", False)
    assert why in line["error"]
    assert [event["eventType"] for event in backends[1].events_of(task.dag_id, task.run_id)] == ["START", "FAIL"]


def test_a_look_of_ops_watch_counts_the_failed_table_in_cloudwatch(
    dev: Field, chain_run: ChainRun, account: Account
) -> None:
    """The line has an object with a count for each kind, which Airflow's handler must not write as text."""
    dev.begin()
    dev.mock.advance("yavr-pn8q")
    dev.mock.faults("missing-column:yavr-pn8q:column=codi")
    dev.trigger("landing.service_usage")
    dev.settle()
    dev.mock.faults()
    dev.trigger("ops.watch")
    (task,) = [task for task in dev.settle() if task.dag_id == "ops.watch"]

    assert task.state == "success"
    failed = of_kind(Kind.TABLE_FAILED)
    wait_until(lambda: counted(account, failed, None), 60)
    (line,) = counted(account, failed, None)
    assert line["kinds"][Kind.TABLE_FAILED] == 1
    assert counted(account, FINDINGS, None) == [line]


def test_a_batch_landed_outside_airflow_triggers_its_table_through_the_queue(dev: Field, chain_run: ChainRun) -> None:
    dev.begin()
    dev.mock.advance("yavr-pn8q")
    landed = materialize(dev.project, "landing.service_usage").entry
    assert landed is not None
    assert dev.project.state().stale("staging.service_usage")

    wait_until(
        lambda: not dev.project.state().stale("staging.service_usage"),
        120,
        lambda: [(task.dag_id, task.state) for task in dev.tasks()],
        poll_s=0.5,
    )
    # The mart that follows is not waited for: the tests above follow a whole chain.
    assert "ops.reconcile" in {task.dag_id for task in dev.tasks()}


# What can happen to a function


def made_again(dev: Field, *faults: str, force: bool = True) -> str:
    """Start making the landing asset, from the same rows if forced. Returns the run's id."""
    dev.begin()
    dev.mock.faults(*faults)
    return dev.client.trigger(LANDING, force=force)


def ended(dev: Field, run: str) -> TaskInstance:
    """The task of a run, when it is over. What follows from it is not waited for."""

    def tasks() -> list[TaskInstance]:
        return [task for task in dev.tasks(LANDING) if task.run_id == run]

    wait_until(lambda: [task.is_over for task in tasks()] == [True], 180, tasks, poll_s=0.4)
    dev.mock.faults()
    return tasks()[0]


def last(dev: Field) -> Entry:
    found = dev.project.ledger.last_attempt(LANDING)
    assert found
    return found


def working(dev: Field) -> Held:
    """Whoever makes the landing asset, once someone does."""
    found: list[Held | None] = []
    wait_until(lambda: found.append(holder(dev.project.lake, LANDING)) or found[-1] is not None, 60, dev.tasks)  # type: ignore[func-returns-value]
    assert found[-1]
    return found[-1]


def endpoint() -> str:
    return os.environ["AWS_ENDPOINT_URL_LAMBDA"]


def dead_letters() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{endpoint()}/dead").json()
    return found


def test_a_function_with_nothing_to_do_answers_so_and_its_task_is_skipped(dev: Field) -> None:
    ended(dev, made_again(dev))
    before = last(dev)
    task = ended(dev, made_again(dev, force=False))
    assert (task.state, task.try_number) == ("skipped", 1)
    assert any("skipped: up to date" in line for line in dev.client.log_lines(task))
    assert last(dev) == before


def test_a_failure_that_a_function_answers_is_no_dead_letter(dev: Field) -> None:
    before = len(dead_letters())
    task = ended(dev, made_again(dev, "error-503:ivft-vegh:times=1"))
    assert (task.state, task.try_number) == ("success", 2)
    assert any("ivft-vegh" in line and "503" in line for line in dev.client.log_lines(replace(task, try_number=1)))
    assert len(dead_letters()) == before


def test_a_function_that_may_not_be_invoked_fails_its_task_at_once(dev: Field) -> None:
    httpx.put(f"{endpoint()}/refusal", content="AccessDeniedException")
    task = ended(dev, made_again(dev))
    httpx.put(f"{endpoint()}/refusal", content="")
    assert (task.state, task.try_number) == ("failed", 1)
    refused = f"{LANDING}: cannot invoke the function catalunya-extract-dev: AccessDeniedException"
    assert any(refused in line for line in dev.client.log_lines(task))


def test_a_throttled_invocation_is_tried_again_by_airflow(dev: Field) -> None:
    httpx.put(f"{endpoint()}/refusal", content="TooManyRequestsException")
    run = made_again(dev)

    def attempts() -> list[int]:
        return [task.try_number for task in dev.tasks(LANDING) if task.run_id == run]

    wait_until(
        lambda: max(attempts(), default=0) > 1, 120, dev.tasks, poll_s=0.4
    )  # the client has tried six times before
    httpx.put(f"{endpoint()}/refusal", content="")
    task = ended(dev, run)
    assert task.state == "success"
    throttled = f"{LANDING}: cannot invoke the function catalunya-extract-dev: TooManyRequestsException"
    assert any(throttled in line for line in dev.client.log_lines(replace(task, try_number=1)))


def test_a_killed_function_is_noticed_within_its_lease_and_the_retry_makes_the_table(
    dev: Field, backends: Backends
) -> None:
    before, dead = last(dev), len(dead_letters())
    run = made_again(dev, "slow:ivft-vegh:seconds=20:on=rows:times=1")
    os.kill(working(dev).pid, signal.SIGKILL)
    task = ended(dev, run)
    assert task.state == "success"
    assert task.try_number > 1
    first = dev.client.log_lines(replace(task, try_number=1))
    assert any("catalunya-extract-dev stopped working without an answer" in line for line in first)
    assert last(dev).run_id == task.run_id != before.run_id
    failed = [entry for entry in dev.project.ledger.history(LANDING) if entry.run_id == task.run_id and entry.error]
    assert (failed[0].error or "").startswith("FunctionLost: the function catalunya-extract-dev stopped working")
    assert failed[0].transient
    events = backends[1].events_of(LANDING, task.run_id)
    assert {event["eventType"] for event in events} == {"START", "FAIL", "COMPLETE"}
    assert len(events) == len({(event["run"]["runId"], event["eventType"]) for event in events})
    assert [(each["event"]["asset"], each["error"]["errorType"]) for each in dead_letters()[dead:]] == [
        (LANDING, "Runtime.ExitError")
    ]


def test_a_table_that_was_recorded_is_made_even_if_the_answer_is_lost(dev: Field) -> None:
    (account,) = LOSING
    account.is_on, dead = True, len(dead_letters())
    task = ended(dev, made_again(dev))
    account.is_on = False
    assert account.refused
    assert (task.state, task.try_number) == ("success", 1)
    assert last(dev).run_id == task.run_id
    (event,) = dev.events(LANDING)
    assert event["extra"] == last(dev).summary()
    assert [each["error"]["errorType"] for each in dead_letters()[dead:]] == ["LakeUnavailable"]


def test_an_engineer_who_waits_gets_the_answer_as_the_response(dev: Field) -> None:
    ended(dev, made_again(dev))
    event = {"asset": LANDING, "run_id": "by-hand"}
    response = boto3.client("lambda").invoke(FunctionName="catalunya-extract-dev", Payload=json.dumps(event))
    assert "FunctionError" not in response
    answer = json.loads(response["Payload"].read())
    assert (answer["status"], answer["why"], answer["error"]) == ("skipped", "up to date", None)


def test_another_triggerer_waits_on_when_the_first_is_gone(dev: Field) -> None:
    """The last test: the first triggerer stays stopped."""
    before = last(dev)
    run = made_again(dev, f"slow:ivft-vegh:seconds={patience(5)}:on=rows:times=1")
    working(dev)
    (first,) = triggerers()
    environment = {**first.environ(), "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8"}
    first.suspend()
    log = Path(environment["AIRFLOW_HOME"], "second.log")
    with child([sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"], log=log, env=environment):
        task = ended(dev, run)
    assert (task.state, task.try_number) == ("success", 1)
    assert last(dev).sequence == before.sequence + 1


def triggerers() -> list[psutil.Process]:
    """The triggerers that this process started, by the log they write to."""
    found = []
    for each in psutil.Process().children(recursive=True):
        out = Path(f"/proc/{each.pid}/fd/1")
        if out.exists() and out.resolve().name == "triggerer.log":
            found.append(each)
    parents = {each.pid for each in found}
    return [each for each in found if each.ppid() not in parents]
