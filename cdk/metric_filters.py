"""The metric filters of CloudWatch that count what the pipeline logs, and the metrics that come of them.

Here: filters and metrics as resources. Not here: which events are counted (`signals.py`, which needs no CDK).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalunya.cdk.naming import Names
from catalunya.cdk.signals import WATCHED, Signal


class Signals(Construct):
    """The metric filters of these signals: on Airflow's log group, and on the functions' for what they log, which is all but the watch's."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        signals: Sequence[Signal],
        *,
        airflow: logs.ILogGroup,
        functions: Iterable[logs.ILogGroup],
    ) -> None:
        super().__init__(scope, id)
        self._namespace = names.metrics
        for group in (airflow, *functions):
            for signal in signals:
                if signal.events == WATCHED and group is not airflow:
                    continue
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
