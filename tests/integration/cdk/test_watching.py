"""Metrics count events that the pipeline really logs; dashboards and alarms use metrics that exist."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.source_check import check_sources
from catalunya.assets.record.project import Project
from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import Names
from catalunya.cdk.signals import FAILING_TABLES, LASTING_FAILURES, SIGNALS, TESTS_FAILED, TESTS_WARNED, Signal
from catalunya.dags.failures import log_failure
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError, PermanentError, SourceUnavailable, TransientError
from catalunya.ops import lambdas
from catalunya.ops.airflow_watch import watch
from catalunya.ops.backup.make import back_up
from catalunya.ops.cli import app
from catalunya.ops.logging import configure
from catalunya.ops.mock import serve
from catalunya.ops.status import log_left_alone, log_overdue
from integration.cdk.iam import Request, allowed
from small import filter_pattern
from small.airflow_api import AirflowApi
from small.templates import ACCOUNT, REGION, REPLICA_REGION, Template, statements

LANDING, STAGING, DATED = "landing.service_usage", "staging.service_usage", "landing.social_services"
MART = "marts.dim_time"
DATASET = "yavr-pn8q"


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
    """The log of a table that is made, found unchanged, made from a drifting and failing source, and failing; of an overdue source;
    of a mart; of Airflow with a silent process and failed tasks; of backups; and of a function invoked with a wrong event."""
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
        airflow.silent, airflow.failed = (
            "triggerer",
            {"dag_id": DATED, "task_id": "materialize", "dag_run_id": "killed"},
        )
        watch(with_marts, datetime.now(UTC))
        for error in (SourceUnavailable("the API does not answer"), PermanentError("a bug")):
            log_failure({"task_instance": Task(LANDING), "exception": error})
        log_overdue(project.state(datetime.now(UTC) + timedelta(days=3650)), project.graph)
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
    "signal", [signal for signal in SIGNALS if signal not in LOGGED_BY_DBT_TESTS], ids=lambda signal: signal.metric
)
def test_each_metric_counts_events_that_are_really_logged(lines: list[dict[str, Any]], signal: Signal) -> None:
    counted = [line for line in lines if matches(signal.pattern, line)]

    assert {line["event"] for line in counted} == set(signal.events)
    if signal.field:
        assert all(isinstance(line[signal.field], int | float) for line in counted)
    if signal.by_asset:
        assert {line["asset"] for line in counted} <= {LANDING, STAGING, DATED, MART}


def test_transient_failures_are_not_counted_as_lasting(lines: list[dict[str, Any]]) -> None:
    for event in ("materialization_failed", "task_failed"):
        failed = [line for line in lines if line["event"] == event]
        lasting = [line for line in failed if matches(LASTING_FAILURES.pattern, line)]

        assert {line["transient"] for line in failed} == {True, False}, event
        assert lasting == [line for line in failed if not line["transient"]]


def test_a_failed_table_counts_until_it_is_made_and_waiting_for_an_upstream_does_not(
    lines: list[dict[str, Any]],
) -> None:
    left = {line["asset"]: line for line in lines if line["event"] == "left_alone"}
    counted = {key for key, line in left.items() if matches(FAILING_TABLES.pattern, line)}

    assert "it failed for good" in left[LANDING]["why"]
    assert counted == {LANDING}
    assert "has never been made" in left["staging.gdp"]["why"]


def test_a_process_that_does_not_answer_is_named_and_all_others_have_a_heartbeat(lines: list[dict[str, Any]]) -> None:
    alive = {line["process"] for line in lines if line["event"] == "heartbeat"}
    silent = {line["process"] for line in lines if line["event"] == "process_silent"}

    assert alive == {"reconcile", "scheduler", "dag-processor", "api-server"}
    assert silent == {"triggerer"}


def test_a_task_whose_process_was_killed_is_reported_by_the_watch(lines: list[dict[str, Any]]) -> None:
    (line,) = [line for line in lines if line["event"] == "task_failed" and line["dag"] == DATED]

    assert "ended without recording why" in line["error"]
    assert line["transient"] is False


def test_every_log_group_of_the_pipeline_has_all_metric_filters(template: Template, names: Names) -> None:
    groups = template.of("AWS::Logs::LogGroup")
    counted: dict[str, set[tuple[str, str]]] = {}
    for each in template.of("AWS::Logs::MetricFilter").values():
        (metric,) = each["MetricTransformations"]
        name = groups[each["LogGroupName"].strip("<>")]["LogGroupName"]
        counted.setdefault(name, set()).add((metric["MetricName"], each["FilterPattern"]))
        assert metric["MetricNamespace"] == names.metrics

    expected = {*(names.function_log_group(layer) for layer, _ in names.functions()), names.airflow_log_group}
    assert set(counted) == expected
    assert all(found == {(signal.metric, signal.pattern) for signal in SIGNALS} for found in counted.values())


def test_the_dashboards_show_every_table_of_the_graph_and_no_other(
    graph: AssetGraph, template: Template, names: Names
) -> None:
    drawn = dashboard(template, names.dashboard("business"))
    rows = {metric[3] for metric in metrics(drawn) if metric[:2] == [names.metrics, "Rows"]}
    overdue = {metric[3] for metric in metrics(drawn) if metric[1] == "OverdueHours"}
    seconds = {
        metric[3] for metric in metrics(dashboard(template, names.dashboard("operations"))) if metric[1] == "Seconds"
    }

    assert overdue == {asset.key for asset in graph if asset.layer is Layer.LANDING and asset.freshness}
    assert rows == {asset.key for asset in graph if asset.layer is not Layer.LANDING}
    assert seconds == {asset.key for asset in graph}


def test_dashboards_and_alarms_use_only_metrics_that_exist(template: Template, names: Names) -> None:
    counted = {
        (each["MetricTransformations"][0]["MetricName"], "Dimensions" in each["MetricTransformations"][0])
        for each in template.of("AWS::Logs::MetricFilter").values()
    }
    shown = {
        (metric[1], "asset" in metric)
        for subject in ("operations", "business", "cost")
        for metric in metrics(dashboard(template, names.dashboard(subject)))
        if metric[0] == names.metrics
    }
    for alarm in template.of("AWS::CloudWatch::Alarm").values():
        for query in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}]):
            metric = query.get("MetricStat", {}).get("Metric", {})
            if metric.get("Namespace") == names.metrics:
                shown.add((metric["MetricName"], "Dimensions" in metric))

    assert shown <= counted
    assert len(shown) > 10


def test_a_widget_about_time_shows_time_and_availability_and_tests_are_by_table(
    graph: AssetGraph, template: Template, names: Names
) -> None:
    drawn = {
        widget["properties"].get("title"): widget["properties"]
        for widget in dashboard(template, names.dashboard("business"))["widgets"]
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
    template: Template, templates: dict[str, Template], names: Names
) -> None:
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
    assert {"status", "acknowledge", "history"} <= named <= set(app)
    assert set(re.findall(r"\b[\w/]+\.md\b", texts)) == {"docs/dokku.md", "docs/infrastructure.md"}
    assert "redrive" not in texts, "SQS moves messages back to queues only, and these come from functions"


def test_each_alarm_notifies_the_topic_when_it_begins_and_ends_and_says_what_to_do(template: Template) -> None:
    (topic,) = template.of("AWS::SNS::Topic")
    alarms = template.of("AWS::CloudWatch::Alarm").values()

    for actions in ("AlarmActions", "OKActions"):
        assert {tuple(alarm[actions]) for alarm in alarms} == {(f"<{topic}>",)}
    assert all(len(alarm["AlarmDescription"]) > 40 for alarm in alarms)


def test_silence_raises_an_alarm_within_a_quarter_of_the_recovery_time(template: Template, names: Names) -> None:
    quarter_s = load_settings(env=names.env).rto_minutes * 60 / 4
    beats = template.named("AWS::CloudWatch::Alarm", names.alarm("no-heartbeat"))
    (period,) = {query["MetricStat"]["Period"] for query in beats["Metrics"] if "MetricStat" in query}
    silent = template.named("AWS::CloudWatch::Alarm", names.alarm("process-silent"))

    assert (beats["TreatMissingData"], silent["TreatMissingData"]) == ("breaching", "notBreaching")
    # The period in which the last heartbeat was comes on top.
    assert (beats["EvaluationPeriods"] + 1) * period <= quarter_s
    assert (silent["EvaluationPeriods"] + 1) * silent["Period"] <= quarter_s
    assert period == silent["Period"] == 600


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


def test_a_missing_backup_raises_an_alarm_after_the_recovery_point_objective(template: Template, names: Names) -> None:
    alarm = template.named("AWS::CloudWatch::Alarm", names.alarm("backup-missed"))

    assert alarm["Period"] == 3600
    assert alarm["EvaluationPeriods"] == load_settings(env=names.env).rpo_hours + 1


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
