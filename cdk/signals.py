"""Metrics from log lines: which logged events are counted, in which metric, as data.

The pipeline logs JSON lines (`ops/logging.py`) and CloudWatch's metric filters count them, so the pipeline itself never calls
CloudWatch. A metric with `by_asset` has the asset as its dimension; alarms use the others, because an alarm cannot add up dimensions.
Not here: what is drawn (`dashboards.py`), what raises an alarm (`alarms.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalunya.cdk.naming import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A metric that counts the lines of these events, or sums a field of theirs; with `only_if_not`, only lines where that field is false."""

    metric: str
    events: tuple[str, ...]
    field: str | None = None
    unit: str = "Count"
    by_asset: bool = False
    only_if_not: str | None = None

    @property
    def pattern(self) -> str:
        """The pattern of the metric filter that matches the lines."""
        terms = [f'($.event = "{event}")' for event in self.events]
        counted = " || ".join(terms)
        return f"{{ ({counted}) && ($.{self.only_if_not} IS FALSE) }}" if self.only_if_not else f"{{ {counted} }}"


SUCCEEDED = Signal(metric="Succeeded", events=("materialized", "skipped"), by_asset=True)
FAILED = Signal(metric="Failed", events=("task_failed",), by_asset=True)
ROWS = Signal(metric="Rows", events=("materialized",), field="rows", by_asset=True)
SECONDS = Signal(metric="Seconds", events=("materialized",), field="seconds", unit="Seconds", by_asset=True)
QUARANTINED = Signal(metric="Quarantined", events=("materialized",), field="quarantined", by_asset=True)
TESTS_PASSED = Signal(metric="TestsPassed", events=("model_tested",), field="passed", by_asset=True)
TESTS_WARNED = Signal(metric="TestsWarned", events=("test_warned",), by_asset=True)
TESTS_FAILED = Signal(metric="TestsFailed", events=("test_failed",), by_asset=True)
DRIFT = Signal(metric="SourceDrift", events=("source_drift",), by_asset=True)
OVERDUE = Signal(metric="OverdueHours", events=("source_overdue",), field="hours", unit="None", by_asset=True)
RUNS = Signal(metric="Runs", events=("materialized", "skipped"))
FAILURES = Signal(metric="Failures", events=("task_failed",))
LASTING_FAILURES = Signal(
    metric="LastingFailures",
    events=("materialization_failed", "function_failed", "task_failed"),
    only_if_not="transient",
)
FAILING_TABLES = Signal(metric="FailingTables", events=("left_alone",), only_if_not="tolerated")
FUNCTION_FAILURES = Signal(metric="FunctionFailures", events=("function_failed",))
RETRIES = Signal(metric="SourceRetries", events=("http_retry",))
CHANGED_SCHEMAS = Signal(metric="ChangedSchemas", events=("source_drift",))
SOURCE_PROBLEMS = Signal(
    metric="SourceProblems", events=("source_overdue", "source_not_asked", "source_unavailable", "source_mismatch")
)
HEARTBEATS = Signal(metric="Heartbeats", events=("heartbeat",))
SILENT = Signal(metric="SilentProcesses", events=("process_silent",))
BACKUPS = Signal(metric="Backups", events=("backup_sealed",))
BACKUP_GAPS = Signal(metric="BackupGaps", events=("not_backed_up", "airflow_not_backed_up"))

SIGNALS = (
    SUCCEEDED, FAILED, ROWS, SECONDS, QUARANTINED, TESTS_PASSED, TESTS_WARNED, TESTS_FAILED, DRIFT, OVERDUE,
    RUNS, FAILURES, LASTING_FAILURES, FAILING_TABLES, FUNCTION_FAILURES, RETRIES, CHANGED_SCHEMAS, SOURCE_PROBLEMS,
    HEARTBEATS, SILENT, BACKUPS, BACKUP_GAPS,
)  # fmt: skip


class Signals(Construct):
    """The metric filters of all signals, on every log group that the pipeline writes to."""

    def __init__(self, scope: Construct, id: str, names: Names, groups: Iterable[logs.ILogGroup]) -> None:  # noqa: A002
        super().__init__(scope, id)
        self._namespace = names.metrics
        for group in groups:
            for signal in SIGNALS:
                logs.MetricFilter(
                    self,
                    f"{group.node.id}{signal.metric}",
                    log_group=group,
                    filter_pattern=logs.FilterPattern.literal(signal.pattern),
                    metric_namespace=self._namespace,
                    metric_name=signal.metric,
                    metric_value=f"$.{signal.field}" if signal.field else "1",
                    unit=cloudwatch.Unit[signal.unit.upper()],
                    dimensions={"asset": "$.asset"} if signal.by_asset else None,
                )

    def metric(
        self,
        signal: Signal,
        *,
        asset: str | None = None,
        minutes: int = 60,
        statistic: str = "Sum",
    ) -> cloudwatch.Metric:
        """The metric of a signal; of one asset if the signal is by asset."""
        return cloudwatch.Metric(
            namespace=self._namespace,
            metric_name=signal.metric,
            dimensions_map={"asset": asset} if asset else None,
            period=cdk.Duration.minutes(minutes),
            statistic=statistic,
            label=asset,
        )
