"""Metrics count events that the pipeline really logs; dashboards and alarms use metrics that exist."""

from __future__ import annotations

import io
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.source_check import check_sources
from catalunya.assets.record.failing import acknowledge
from catalunya.assets.record.project import Project
from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import Names
from catalunya.cdk.signals import (
    BY_ASSET,
    BY_KIND,
    KINDS,
    SIGNALS,
    TESTS_FAILED,
    TESTS_WARNED,
    URGENT,
    WATCHED,
    Signal,
    of_kind,
    signals_of,
)
from catalunya.dags.failures import log_failure
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError, PermanentError, SourceUnavailable, TransientError
from catalunya.ops import lambdas
from catalunya.ops.backup.make import back_up
from catalunya.ops.cli import app
from catalunya.ops.logging import configure
from catalunya.ops.mock import serve
from catalunya.ops.status import log_left_alone
from catalunya.ops.watching.findings import Kind
from catalunya.ops.watching.look import watch
from integration.cdk.iam import Request, allowed
from small import filter_pattern, shops
from small.airflow_api import AirflowApi
from small.templates import ACCOUNT, REGION, REPLICA_REGION, Template, statements

LANDING, STAGING, DATED = "landing.service_usage", "staging.service_usage", "landing.social_services"
MART = "marts.dim_time"
DATASET = "yavr-pn8q"
PROD = Names.of("prod", partition="aws", account=ACCOUNT, region=REGION)


@dataclass
class Task:
    """What Airflow's callback gets of a task."""

    dag_id: str
    task_id: str = "materialize"


class Invocation:
    """The context that Lambda passes to a handler."""

    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[list[dict[str, Any]]]:
    """The log of a table that is made, found unchanged, made from a drifting and failing source, and failing; of a mart; of a look that
    finds that table, a silent process of Airflow and sources that were not asked; of failed tasks; of backups; and of a function invoked
    with a wrong event."""
    before = logging.root.level, list(logging.root.handlers)
    structlog.reset_defaults()
    yield [json.loads(line) for line in logged(tmp_path_factory.mktemp("watched"), compiled).splitlines()]
    logging.root.level, logging.root.handlers[:] = before
    structlog.reset_defaults()


def logged(folder: Path, compiled: Path) -> str:
    stream = io.StringIO()
    with serve(rows=100) as mock, AirflowApi.running() as airflow:
        settings = load_settings(
            env="local",
            lake=str(folder / "lake"),
            cache=compiled,
            airflow_url=airflow.url,
            backup=str(folder / "backups"),
            mock_url=mock.url,
            log_format="json",
            http_backoff_s=0.01,
        )
        assert configure(settings, to=stream)
        project = Project(settings, list(declarations().values()))
        for key in (LANDING, STAGING, STAGING):
            materialize(project, key)
        mock.faults(f"new-column:{DATASET}", f"error-503:{DATASET}:times=1:on=rows")
        mock.advance(DATASET)
        materialize(project, LANDING)
        mock.faults(f"missing-column:{DATASET}:column=codi")
        mock.advance(DATASET)
        with pytest.raises(CatalunyaError):
            materialize(project, LANDING)
        log_left_alone(project.state(), project.graph, triggered=())
        assert next(check_sources(project, [LANDING])).problems
        mock.faults(f"error-503:{DATASET}")
        with pytest.raises(TransientError):
            materialize(
                Project(settings.model_copy(update={"http_attempts": 1}), list(declarations().values())), LANDING
            )
        assert not next(check_sources(project, [LANDING])).answered
        mock.faults()
        materialize(project, DATED)
        with_marts = Project(settings)
        materialize(with_marts, MART)
        airflow.silent = "triggerer"
        watch(with_marts, datetime.now(UTC))
        for error in (SourceUnavailable("the API does not answer"), PermanentError("a bug")):
            log_failure({"task_instance": Task(LANDING), "exception": error})
        back_up(project, "first")
        project.lake.delete([stored.path for stored in project.lake.objects("staging/service_usage")])
        elsewhere = settings.model_copy(update={"backup": str(folder / "elsewhere")})
        back_up(Project(elsewhere, list(declarations().values())), "second", airflow=unavailable)
    with redirect_stdout(stream):
        assert lambdas.extract({"asset": LANDING}, Invocation())["error"] == "UsageError"
    return stream.getvalue()


def unavailable() -> dict[str, Any]:
    """An Airflow that does not answer."""
    raise SourceUnavailable("Airflow does not answer")


def matches(pattern: str, line: dict[str, Any]) -> bool:
    """Whether CloudWatch counts a line, by its own syntax of patterns."""
    return filter_pattern.matches(pattern, json.dumps(line))


LOGGED_BY_DBT_TESTS = (TESTS_WARNED, TESTS_FAILED)  # tests/integration/warehouse/test_warehouse_failures.py


@pytest.mark.parametrize(
    "signal",
    [signal for signal in SIGNALS if signal not in (*LOGGED_BY_DBT_TESTS, *BY_KIND)],
    ids=lambda signal: signal.metric,
)
def test_each_metric_counts_events_that_are_really_logged(lines: list[dict[str, Any]], signal: Signal) -> None:
    counted = [line for line in lines if matches(signal.pattern, line)]

    assert {line["event"] for line in counted} == set(signal.events)
    if signal.field:
        assert all(isinstance(line[signal.field], int | float) for line in counted)
    if signal.by_asset:
        assert {line["asset"] for line in counted} <= {LANDING, STAGING, DATED, MART}


def test_a_look_counts_the_open_findings_of_each_kind_and_gives_the_others_no_data(lines: list[dict[str, Any]]) -> None:
    looks = [line for line in lines if line["event"] == "watched"]
    opened = Counter(line["kind"] for line in lines if line["event"] == "finding_opened")

    assert len(looks) == 1
    for line in looks:
        counted = {kind.value for kind in KINDS if matches(of_kind(kind).pattern, line)}
        assert counted == set(opened) >= {"source_down", "process_silent", "source_not_asked"}
        assert line["kinds"] == opened
        assert line["open"] == sum(opened.values())
    assert not matches(URGENT.pattern, looks[0] | {"urgent": 0, "kinds": {}})
    assert not matches(of_kind(Kind.TABLE_FAILED).pattern, looks[0] | {"urgent": 0, "kinds": {}})


def test_a_finding_that_someone_has_acknowledged_raises_no_alarm(tmp_path: Path) -> None:
    source, declared = shops.declare(tmp_path / "source")
    project = Project(load_settings(env="local", lake=str(tmp_path / "lake"), rpo_hours=0), declared)
    source.write([{"codi": "1", "ciutat": "nowhere"}])
    materialize(project, "landing.shops")
    with pytest.raises(CatalunyaError):
        materialize(project, "staging.shops")

    def looked() -> dict[str, Any]:
        with structlog.testing.capture_logs() as logged:
            watch(Project(project.settings, declared), datetime.now(UTC))
        return dict(next(line for line in logged if line["event"] == "watched"))

    before = looked()
    acknowledge(Project(project.settings, declared).state(), "staging.shops", by="a test")
    after = looked()
    assert (before["kinds"], before["urgent"]) == ({"table_failed": 1}, 1)
    assert (after["kinds"], after["urgent"], after["open"]) == ({}, 0, 1)


def test_every_log_group_of_the_pipeline_has_all_metric_filters(template: Template, names: Names) -> None:
    groups = template.of("AWS::Logs::LogGroup")
    counted: dict[str, set[tuple[str, str]]] = {}
    for each in template.of("AWS::Logs::MetricFilter").values():
        (metric,) = each["MetricTransformations"]
        name = groups[each["LogGroupName"].strip("<>")]["LogGroupName"]
        counted.setdefault(name, set()).add((metric["MetricName"], each["FilterPattern"]))
        assert metric["MetricNamespace"] == names.metrics

    signals = signals_of(names.env, has_dashboards=names.env == "prod")
    assert set(signals) == (set(SIGNALS) if names.env == "prod" else set(SIGNALS) - {*BY_KIND, *BY_ASSET})
    by_functions = {(signal.metric, signal.pattern) for signal in signals if signal.events != WATCHED}
    expected = {names.function_log_group(layer): by_functions for layer, _ in names.functions()}
    assert counted == expected | {names.airflow_log_group: {(signal.metric, signal.pattern) for signal in signals}}
    assert max(map(len, counted.values())) <= 100  # Amazon CloudWatch Logs quotas: metric filters of a log group


@pytest.fixture
def prod(templates: dict[str, Template]) -> Template:
    """The stack of prod, which has dashboards."""
    return templates[PROD.stack]


def test_dev_has_no_dashboard_and_no_metric_that_only_they_show(templates: dict[str, Template]) -> None:
    dev = templates[Names.of("dev").stack]
    counted = {each["MetricTransformations"][0]["MetricName"] for each in dev.of("AWS::Logs::MetricFilter").values()}

    assert not dev.of("AWS::CloudWatch::Dashboard")
    assert not counted & {signal.metric for signal in (*BY_ASSET, *BY_KIND)}


def test_the_dashboards_show_every_table_of_the_graph_and_no_other(graph: AssetGraph, prod: Template) -> None:
    template, names = prod, PROD
    drawn = dashboard(template, names.dashboard("business"))
    rows = {metric[3] for metric in metrics(drawn) if metric[:2] == [names.metrics, "Rows"]}
    late = {metric[1] for metric in metrics(drawn) if metric[1].startswith("Findings")}
    seconds = {
        metric[3] for metric in metrics(dashboard(template, names.dashboard("operations"))) if metric[1] == "Seconds"
    }

    assert late == {"FindingsSourceOverdue", "FindingsSourceNotAsked", "FindingsTableStale"}
    assert rows == {asset.key for asset in graph if asset.layer is not Layer.LANDING}
    assert seconds == {asset.key for asset in graph}


def test_dashboards_and_alarms_use_only_metrics_that_exist(template: Template, names: Names) -> None:
    counted = {
        (each["MetricTransformations"][0]["MetricName"], "Dimensions" in each["MetricTransformations"][0])
        for each in template.of("AWS::Logs::MetricFilter").values()
    }
    shown = {
        (metric[1], "asset" in metric)
        for subject in (("operations", "business", "cost") if names.env == "prod" else ())
        for metric in metrics(dashboard(template, names.dashboard(subject)))
        if metric[0] == names.metrics
    }
    for alarm in template.of("AWS::CloudWatch::Alarm").values():
        for query in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}]):
            metric = query.get("MetricStat", {}).get("Metric", {})
            if metric.get("Namespace") == names.metrics:
                shown.add((metric["MetricName"], "Dimensions" in metric))

    assert shown <= counted
    assert len(shown) > {"dev": 2, "prod": 30}[names.env]


def test_a_widget_about_time_shows_time_and_availability_and_tests_are_by_table(
    graph: AssetGraph, prod: Template
) -> None:
    drawn = {
        widget["properties"].get("title"): widget["properties"]
        for widget in dashboard(prod, PROD.dashboard("business"))["widgets"]
    }
    (time,) = (drawn[title] for title in drawn if title and title.startswith("Query time"))
    (available,) = (drawn[title] for title in drawn if title and title.startswith("Availability"))
    (tests,) = (drawn[title] for title in drawn if title and title.startswith("dbt tests"))

    statistics = {metric[-1].get("stat", "Average") for metric in time["metrics"] if metric[1] == "TotalExecutionTime"}
    assert statistics == {"Average", "Maximum"}
    assert {metric[0]["label"] for metric in available["metrics"] if isinstance(metric[0], dict)} == {
        asset.key for asset in graph
    }
    assert {metric[0]["label"] for metric in tests["metrics"] if isinstance(metric[0], dict)} == {
        "passed",
        "warned",
        "failed",
    }


def test_there_are_three_dashboards_and_the_cost_dashboard_shows_the_budget(
    prod: Template, templates: dict[str, Template]
) -> None:
    template, names = prod, PROD
    found = {each["DashboardName"] for each in template.of("AWS::CloudWatch::Dashboard").values()}
    drawn = dashboard(template, names.dashboard("cost"))

    assert found == {names.dashboard(subject) for subject in ("operations", "business", "cost")}
    assert f"{PROFILES[names.env].budget_usd:g} USD a month" in json.dumps(drawn)
    stacks = {template.stack: REGION, names.replica_stack: REPLICA_REGION}
    buckets = {
        (bucket["BucketName"], region, kind)
        for stack, region in stacks.items()
        for bucket in templates[stack].of("AWS::S3::Bucket").values()
        for kind in ("StandardStorage", "StandardIAStorage")
    }
    shown = [metric for metric in metrics(drawn) if metric[1] == "BucketSizeBytes"]
    assert {(metric[3], metric[-1].get("region", REGION), metric[5]) for metric in shown} == buckets


def test_the_periods_of_alarms_are_those_that_cloudwatch_accepts(template: Template) -> None:
    """Amazon CloudWatch API Reference, PutMetricAlarm: multiples of a minute, and at most seven days in all, or one if periods are shorter
    than an hour."""
    for alarm in template.of("AWS::CloudWatch::Alarm").values():
        stats = [query["MetricStat"] for query in alarm.get("Metrics", []) if "MetricStat" in query] or [alarm]
        (period,) = {stat["Period"] for stat in stats}
        assert period % 60 == 0, alarm["AlarmName"]
        assert 1 <= alarm["EvaluationPeriods"] <= (7 if period >= 3600 else 1) * 86_400 / period, alarm["AlarmName"]


def test_a_description_names_commands_that_exist(template: Template) -> None:
    texts = " ".join(alarm["AlarmDescription"] for alarm in template.of("AWS::CloudWatch::Alarm").values())
    named = set(re.findall(r"`catalunya ([a-z]+)", texts))
    assert named == {"watch", "verify", "backup"}
    assert named <= set(app)
    pages = set(re.findall(r"\b[\w/]+\.md\b", texts))
    assert pages == {"docs/dokku.md", "docs/infrastructure.md", "docs/watching.md"}
    assert all((Path(__file__).parents[3] / page).exists() for page in pages)
    assert "redrive" not in texts, "SQS moves messages back to queues only, and these come from functions"


def test_each_alarm_notifies_the_topic_when_it_begins_and_ends_and_says_what_to_do(template: Template) -> None:
    (topic,) = template.of("AWS::SNS::Topic")
    alarms = template.of("AWS::CloudWatch::Alarm").values()

    for actions in ("AlarmActions", "OKActions"):
        assert {tuple(alarm[actions]) for alarm in alarms} == {(f"<{topic}>",)}
    assert all(len(alarm["AlarmDescription"]) > 40 for alarm in alarms)


def test_silence_raises_an_alarm_within_a_quarter_of_the_recovery_time(template: Template, names: Names) -> None:
    quarter_s = load_settings(env=names.env).rto_minutes * 60 / 4
    alarm = template.named("AWS::CloudWatch::Alarm", names.alarm("watch-silent"))
    (stat,) = [query["MetricStat"] for query in alarm["Metrics"] if "MetricStat" in query]
    (expression,) = [query["Expression"] for query in alarm["Metrics"] if "Expression" in query]

    # Looks are counted, whatever they find, and a period without one counts as 0.
    assert (stat["Metric"]["MetricName"], stat["Stat"], expression) == ("Findings", "SampleCount", "FILL(looks, 0)")
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert alarm["TreatMissingData"] == "breaching"
    # The period in which the last look was comes on top.
    assert (alarm["EvaluationPeriods"] + 1) * stat["Period"] <= quarter_s
    assert stat["Period"] == 600


def test_an_alarm_of_findings_is_on_as_long_as_one_is_open_and_off_without_data(
    template: Template, names: Names
) -> None:
    found = {
        alarm["MetricName"]: alarm
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
        if alarm.get("Namespace") == names.metrics and "Findings" in alarm["MetricName"]
    }

    expected = {"dev": {URGENT.metric}, "prod": {of_kind(kind).metric for kind in KINDS}}
    assert set(found) == expected[names.env]
    for alarm in found.values():
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
        assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == ("Maximum", 600, 1)
        assert alarm["TreatMissingData"] == "notBreaching"


def test_what_must_be_noticed_while_airflow_is_down_has_an_alarm_on_what_aws_measures(
    template: Template, names: Names
) -> None:
    of_aws = {
        alarm["AlarmName"].removeprefix(names.alarm(""))
        for alarm in template.of("AWS::CloudWatch::Alarm").values()
        if alarm.get("Namespace", "").startswith("AWS/")
    }
    assert of_aws >= {"landing-errors", "staging-errors", "functions-dead", "manifests-unread"}


def test_health_events_of_aws_reach_the_topic_and_no_other_rule_may_publish(template: Template, names: Names) -> None:
    (topic,) = template.of("AWS::SNS::Topic")
    (rule,) = template.of("AWS::Events::Rule").values()
    (policy,) = template.of("AWS::SNS::TopicPolicy").values()
    (statement,) = [each for each in statements(policy["PolicyDocument"]) if each["Sid"] == "HealthEventsPublish"]

    assert rule["EventPattern"] == {"source": ["aws.health"]}
    assert [target["Arn"] for target in rule["Targets"]] == [f"<{topic}>"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    arn = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule['Name']}"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": arn}}


def test_only_alarms_of_the_environment_itself_publish_to_its_topic(template: Template, names: Names) -> None:
    """Whoever deploys dev could otherwise tell prod's subscribers anything, in the description of an alarm."""
    (policy,) = template.of("AWS::SNS::TopicPolicy").values()
    document = {"Statement": list(statements(policy["PolicyDocument"]))}
    (topic,) = {each["Resource"] for each in document["Statement"]}

    def publishes(alarm: str, service: str = "cloudwatch", account: str = ACCOUNT) -> bool:
        source = f"arn:aws:cloudwatch:{REGION}:{account}:alarm:{alarm}"
        context = {"aws:SourceArn": source, "aws:SourceAccount": account}
        return allowed(Request("sns:Publish", topic, context, principal=f"{service}.amazonaws.com"), [document])

    alarms = [alarm["AlarmName"] for alarm in template.of("AWS::CloudWatch::Alarm").values()]
    assert alarms
    assert all(publishes(alarm) for alarm in alarms)
    other = {"dev": "prod", "prod": "dev"}[names.env]
    for alarm in (f"catalunya-{other}-failures", f"catalunya-{other}-catalunya-{names.env}-failures", "another"):
        assert not publishes(alarm)
    assert not publishes(alarms[0], account="210987654321")
    assert not publishes(alarms[0], service="events")


def test_the_budget_notifies_when_it_is_spent_and_when_it_is_going_to_be(template: Template) -> None:
    (budget,) = template.of("AWS::Budgets::Budget").values()
    found = [each["Notification"] for each in budget["NotificationsWithSubscribers"]]

    assert [(each["NotificationType"], each["Threshold"]) for each in found] == [
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    ]


def dashboard(template: Template, name: str) -> dict[str, Any]:
    """The body of a dashboard."""
    found: dict[str, Any] = json.loads(template.named("AWS::CloudWatch::Dashboard", name)["DashboardBody"])
    return found


def metrics(drawn: dict[str, Any]) -> Iterator[list[Any]]:
    """Every metric of a dashboard: namespace, name, then dimensions."""
    for widget in drawn["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], str):
                yield metric
