"""Metrics count events that the pipeline really logs; dashboards and alarms use metrics that exist."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import Names
from catalunya.cdk.signals import FAILURES, LASTING_FAILURES, SIGNALS, Signal
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError, SourceUnavailable, TransientError
from catalunya.ops import lambdas
from catalunya.ops.backup.make import back_up
from catalunya.ops.logging import configure
from catalunya.ops.mock import serve
from catalunya.ops.status import log_overdue
from small import filter_pattern
from small.templates import Template

LANDING, STAGING, DATED = "landing.service_usage", "staging.service_usage", "landing.social_services"
DATASET = "yavr-pn8q"


class Invocation:
    """The context that Lambda passes to a handler."""

    aws_request_id = "request"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The log of a table that is made, found unchanged, made from a drifting and failing source, and failing; of an overdue source;
    of backups; and of a function invoked with a wrong event."""
    before = logging.root.level, list(logging.root.handlers)
    structlog.reset_defaults()
    yield [json.loads(line) for line in logged(tmp_path_factory.mktemp("watched")).splitlines()]
    logging.root.level, logging.root.handlers[:] = before
    structlog.reset_defaults()


def logged(folder: Path) -> str:
    stream = io.StringIO()
    with serve(rows=100) as mock:
        settings = load_settings(
            env="local",
            lake=str(folder / "lake"),
            cache=folder,
            backup=str(folder / "backups"),
            socrata_url=mock.url,
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
        mock.faults(f"error-503:{DATASET}")
        with pytest.raises(TransientError):
            materialize(
                Project(settings.model_copy(update={"http_attempts": 1}), list(declarations().values())), LANDING
            )
        mock.faults()
        materialize(project, DATED)
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


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.metric)
def test_each_metric_counts_events_that_are_really_logged(lines: list[dict[str, Any]], signal: Signal) -> None:
    counted = [line for line in lines if matches(signal.pattern, line)]

    assert {line["event"] for line in counted} == set(signal.events)
    if signal.field:
        assert all(isinstance(line[signal.field], int | float) for line in counted)
    if signal.by_asset:
        assert {line["asset"] for line in counted} <= {LANDING, STAGING, DATED}


def test_transient_failures_are_not_counted_as_lasting(lines: list[dict[str, Any]]) -> None:
    failed = [line["transient"] for line in lines if matches(FAILURES.pattern, line)]
    lasting = [line["transient"] for line in lines if matches(LASTING_FAILURES.pattern, line)]

    assert sorted(failed) == [False, True]
    assert lasting == [False]


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


def test_there_are_three_dashboards_and_the_cost_dashboard_shows_the_budget(template: Template, names: Names) -> None:
    found = {each["DashboardName"] for each in template.of("AWS::CloudWatch::Dashboard").values()}
    cost = json.dumps(dashboard(template, names.dashboard("cost")))

    assert found == {names.dashboard(subject) for subject in ("operations", "business", "cost")}
    assert f"{PROFILES[names.env].budget_usd:g} USD a month" in cost
    assert all(bucket in cost for bucket in names.buckets)


def test_each_alarm_notifies_the_topic_and_says_what_to_do(template: Template) -> None:
    (topic,) = template.of("AWS::SNS::Topic")
    alarms = template.of("AWS::CloudWatch::Alarm").values()

    assert {tuple(alarm["AlarmActions"]) for alarm in alarms} == {(f"<{topic}>",)}
    assert all(len(alarm["AlarmDescription"]) > 40 for alarm in alarms)


def test_a_landing_table_has_an_alarm_after_its_freshness(graph: AssetGraph, template: Template, names: Names) -> None:
    alarms = {alarm["AlarmName"]: alarm for alarm in template.of("AWS::CloudWatch::Alarm").values()}

    for asset in graph.select("layer:landing"):
        alarm = alarms.get(names.alarm(f"{asset.key}-not-asked"))
        assert (alarm is None) == (asset.freshness is None)
        if alarm and asset.freshness:
            assert alarm["EvaluationPeriods"] == asset.freshness.hours
            assert (alarm["Threshold"], alarm["TreatMissingData"]) == (1, "breaching")


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
