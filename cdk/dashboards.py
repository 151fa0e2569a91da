"""Three dashboards of an environment: for operations, for users of the tables, for costs.

Here: what is drawn, table by table of the graph. Not here: where metrics come from (`signals.py`), what raises an alarm
(`alarms.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.cdk.deployment import FUNCTION_SIZES
from catalunya.cdk.metric_filters import Signals
from catalunya.cdk.naming import Names
from catalunya.cdk.signals import (
    DRIFT,
    FAILED,
    FAILURES,
    FINDINGS,
    FUNCTION_FAILURES,
    QUARANTINED,
    RETRIES,
    ROWS,
    RUNS,
    SECONDS,
    SUCCEEDED,
    TESTS_FAILED,
    TESTS_PASSED,
    TESTS_WARNED,
    URGENT,
    Signal,
    of_kind,
)
from catalunya.io.warehouse.athena import TERABYTE, USD_PER_TB
from catalunya.ops.watching.findings import Kind

BILLING_REGION = "us-east-1"  # AWS publishes billing metrics only there
SERVICES = {
    "AmazonS3": "S3",
    "AWSLambda": "Lambda",
    "AmazonAthena": "Athena",
    "AWSGlue": "Glue",
    "AmazonCloudWatch": "CloudWatch",
}
STORAGE = {"StandardStorage": "", "StandardIAStorage": ", archived"}
"""The storage classes that buckets use (`buckets.py`), as S3's metrics name them."""
LATE = (Kind.SOURCE_OVERDUE, Kind.SOURCE_NOT_ASKED, Kind.TABLE_STALE)
CHANGES = ("finding_opened", "finding_worsened", "finding_closed")
HOUR_MINUTES, DAY_MINUTES = 60, 24 * 60
DAY = cdk.Duration.minutes(DAY_MINUTES)
HALF, WHOLE, TALL = 12, 24, 8


class Dashboards(Construct):
    """The three dashboards: `operations`, `business`, `cost`."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        graph: AssetGraph,
        signals: Signals,
        *,
        functions: Mapping[Layer, lambda_.IFunction],
        queues: Iterable[sqs.IQueue],
        groups: Sequence[logs.ILogGroup],
        alarms: Sequence[cloudwatch.IAlarm],
        budget_usd: float,
        buckets: Mapping[str, str | None],
    ) -> None:
        """`buckets`: all that exist, with their region if it is another."""
        super().__init__(scope, id)
        self._names, self._graph, self._signals = names, graph, signals
        self._functions, self._groups = functions, [group.log_group_name for group in groups]
        self._draw("operations", self._operations(list(queues), alarms))
        self._draw("business", self._business())
        self._draw("cost", self._cost(budget_usd, buckets))

    def _operations(
        self, queues: Sequence[sqs.IQueue], alarms: Sequence[cloudwatch.IAlarm]
    ) -> list[list[cloudwatch.IWidget]]:
        functions = list(self._functions.values())
        totals = [RUNS, FAILURES, FUNCTION_FAILURES, RETRIES]
        return [
            [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=WHOLE)],
            [
                _graph("Open findings, and those that are urgent", self._open_findings((FINDINGS, URGENT))),
                self._lines(
                    "Findings: opened, worsened, closed",
                    "filter event in [" + ", ".join(f'"{event}"' for event in CHANGES) + "]",
                    "sort @timestamp desc",
                    "limit 25",
                    fields="@timestamp, event, severity, kind, subject, what",
                    width=HALF,
                ),
            ],
            [
                _graph(
                    "Runs, failures, retried requests to sources", [self._signals.metric(signal) for signal in totals]
                ),
                _graph("Materialization: seconds, maximum", self._by_asset(SECONDS, self._graph, "Maximum")),
            ],
            [
                _graph("Functions: invocations", [each.metric_invocations() for each in functions]),
                _graph("Functions: errors and throttles", [*_errors(functions)]),
            ],
            [
                _graph(
                    "Functions: duration, maximum", [each.metric_duration(statistic="Maximum") for each in functions]
                ),
                _graph(
                    "Queues: messages waiting",
                    [each.metric_approximate_number_of_messages_visible() for each in queues],
                ),
            ],
            [
                self._lines(
                    "Latest errors",
                    'filter level in ["error", "critical"]',
                    "sort @timestamp desc",
                    "limit 25",
                    fields="@timestamp, asset, event, error",
                )
            ],
        ]

    def _open_findings(self, signals: Iterable[Signal]) -> list[cloudwatch.IMetric]:
        """The most at any look of an hour."""
        return [self._signals.metric(signal, minutes=HOUR_MINUTES, statistic="Maximum") for signal in signals]

    def _business(self) -> list[list[cloudwatch.IWidget]]:
        tables = [asset for asset in self._graph if asset.layer is not Layer.LANDING]
        marts = [asset for asset in tables if asset.layer is Layer.MARTS]
        return [
            [
                self._lines(
                    "Freshness: when each table was last made or found unchanged",
                    'filter event in ["materialized", "skipped"]',
                    "stats max(@timestamp) as last by asset",
                    "sort last desc",
                    "limit 100",
                    width=HALF,
                ),
                _graph(
                    "Freshness: sources overdue or not asked, stale tables", self._open_findings(map(of_kind, LATE))
                ),
            ],
            [
                _graph(f"Rows of {layer}", self._by_asset(ROWS, [a for a in tables if a.layer is layer], "Maximum"))
                for layer in (Layer.STAGING, Layer.MARTS)
            ],
            [
                _graph("Quarantined rows", self._by_asset(QUARANTINED, tables, "Maximum")),
                _graph("Source drift", self._by_asset(DRIFT, self._graph.select("layer:landing"))),
            ],
            [
                _graph(
                    "Availability: runs without failure, %, by table",
                    [self._available(number, asset) for number, asset in enumerate(self._graph)],
                ),
                _graph(
                    "dbt tests of the marts: passed, warned, failed",
                    [
                        self._total(signal, marts, label)
                        for signal, label in (
                            (TESTS_PASSED, "passed"),
                            (TESTS_WARNED, "warned"),
                            (TESTS_FAILED, "failed"),
                        )
                    ],
                ),
            ],
            [
                _graph(
                    "Query time of readers and marts: milliseconds, average and maximum",
                    [
                        _athena("TotalExecutionTime", group, statistic, f"{group}, {statistic.lower()}")
                        for group in (self._names.readers_work_group, self._names.work_group)
                        for statistic in ("Average", "Maximum")
                    ],
                ),
                _graph(
                    "Queries of readers and marts: number",
                    [
                        _athena("TotalExecutionTime", group, "SampleCount", group)
                        for group in (self._names.readers_work_group, self._names.work_group)
                    ],
                ),
            ],
        ]

    def _available(self, number: int, asset: Asset) -> cloudwatch.IMetric:
        """The share of an asset's runs in a day that did not fail. `number` tells the metrics of one graph apart."""
        good, failed = f"good{number}", f"failed{number}"
        return cloudwatch.MathExpression(
            expression=f"100 * FILL({good}, 0) / (FILL({good}, 0) + FILL({failed}, 0))",
            using_metrics={
                good: self._signals.metric(SUCCEEDED, asset=asset.key, minutes=DAY_MINUTES),
                failed: self._signals.metric(FAILED, asset=asset.key, minutes=DAY_MINUTES),
            },
            period=DAY,
            label=asset.key,
        )

    def _total(self, signal: Signal, assets: Iterable[Asset], label: str) -> cloudwatch.IMetric:
        """The sum over the assets: CloudWatch does not add up a dimension itself."""
        each = {f"{label}{number}": metric for number, metric in enumerate(self._by_asset(signal, assets))}
        return cloudwatch.MathExpression(
            expression=" + ".join(f"FILL({name}, 0)" for name in each), using_metrics=each, period=DAY, label=label
        )

    def _cost(self, budget_usd: float, buckets: Mapping[str, str | None]) -> list[list[cloudwatch.IWidget]]:
        names = self._names
        groups = (names.work_group, names.readers_work_group)
        scanned = [_athena("ProcessedBytes", group, "Sum", group) for group in groups]
        athena = cloudwatch.MathExpression(
            expression=f"(FILL(marts, 0) + FILL(readers, 0)) / {TERABYTE} * {USD_PER_TB}",
            using_metrics=dict(zip(("marts", "readers"), scanned, strict=True)),
            period=DAY,
            label="Athena, approximate USD per day",
        )
        text = (
            f"Budget of {names.env}: **{budget_usd:g} USD a month**; the alarms' topic is notified at 80 and 100 %, and when 100 % are forecast. "
            f"For costs by service and day, filter Cost Explorer by the tag `environment = {names.env}`. What drives the costs: docs/infrastructure.md."
        )
        charged = [_charged("whole account"), *(_charged(label, service) for service, label in SERVICES.items())]
        return [
            [cloudwatch.TextWidget(markdown=text, width=WHOLE, height=2)],
            [
                cloudwatch.GraphWidget(
                    title="Charges this month, USD", left=charged, region=BILLING_REGION, width=HALF, height=TALL
                ),
                _graph("Athena: approximate cost of queries", [athena]),
            ],
            [
                _graph("Athena: bytes scanned per day", scanned),
                _graph("Functions: GB-seconds per day", [*self._gigabyte_seconds()]),
            ],
            [
                _graph(
                    "Buckets: bytes, by storage class",
                    [_stored(bucket, region, *kind) for bucket, region in buckets.items() for kind in STORAGE.items()],
                ),
                _graph("Logs: bytes ingested per day", [_ingested(group) for group in self._groups]),
            ],
        ]

    def _by_asset(self, signal: Signal, assets: Iterable[Asset], statistic: str = "Sum") -> list[cloudwatch.IMetric]:
        return [
            self._signals.metric(signal, asset=asset.key, minutes=DAY_MINUTES, statistic=statistic) for asset in assets
        ]

    def _gigabyte_seconds(self) -> Iterable[cloudwatch.IMetric]:
        for layer, function in self._functions.items():
            yield cloudwatch.MathExpression(
                expression=f"{layer} / 1000 * {FUNCTION_SIZES[layer].memory_mb} / 1024",
                using_metrics={str(layer): function.metric_duration(period=DAY, statistic="Sum")},
                period=DAY,
                label=self._names.function(layer),
            )

    def _lines(self, title: str, *lines: str, fields: str | None = None, width: int = WHOLE) -> cloudwatch.IWidget:
        """A table with the results of a query over the logs."""
        first = [f"fields {fields}"] if fields else []
        return cloudwatch.LogQueryWidget(
            title=title,
            log_group_names=self._groups,
            query_lines=[*first, *lines],
            view=cloudwatch.LogQueryVisualizationType.TABLE,
            width=width,
            height=TALL,
        )

    def _draw(self, subject: str, rows: list[list[cloudwatch.IWidget]]) -> None:
        cloudwatch.Dashboard(
            self,
            subject.title(),
            dashboard_name=self._names.dashboard(subject),
            widgets=rows,
            default_interval=cdk.Duration.days(14),
        )


def _graph(title: str, metrics: Sequence[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=HALF, height=TALL)


def _errors(functions: Iterable[lambda_.IFunction]) -> Iterable[cloudwatch.IMetric]:
    for function in functions:
        yield function.metric_errors()
        yield function.metric_throttles()


def _metric(
    service: str, name: str, dimensions: dict[str, str], statistic: str, label: str, **more: object
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=f"AWS/{service}",
        metric_name=name,
        dimensions_map=dimensions,
        statistic=statistic,
        label=label,
        **{"period": DAY, **more},
    )


def _charged(label: str, service: str | None = None) -> cloudwatch.Metric:
    """AWS's estimate of this month's charges, for everything or one service; it does not distinguish environments."""
    dimensions = {"Currency": "USD"} | ({"ServiceName": service} if service else {})
    period = cdk.Duration.hours(6)
    return _metric("Billing", "EstimatedCharges", dimensions, "Maximum", label, period=period, region=BILLING_REGION)


def _athena(metric: str, group: str, statistic: str, label: str) -> cloudwatch.Metric:
    return _metric("Athena", metric, {"WorkGroup": group}, statistic, label)


def _stored(bucket: str, region: str | None, kind: str, label: str) -> cloudwatch.Metric:
    """S3 publishes a bucket's size once a day, in the bucket's region (Amazon S3 User Guide, Metrics and dimensions)."""
    dimensions = {"BucketName": bucket, "StorageType": kind}
    return _metric("S3", "BucketSizeBytes", dimensions, "Average", f"{bucket}{label}", region=region)


def _ingested(group: str) -> cloudwatch.Metric:
    return _metric("Logs", "IncomingBytes", {"LogGroupName": group}, "Sum", group)
