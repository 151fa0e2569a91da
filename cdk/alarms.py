"""When somebody is told: the alarms, each with what to do, and the topic that they go to; the budget.

Here: what is too much, and for how long. Not here: where metrics come from (`signals.py`), what is drawn (`dashboards.py`).
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.cdk.deployment import FUNCTION_SIZES, PROFILES
from catalunya.cdk.naming import Names
from catalunya.cdk.signals import (
    BACKUP_GAPS,
    BACKUPS,
    FAILURES,
    LASTING_FAILURES,
    MADE,
    RUNS,
    SOURCES_OVERDUE,
    UNCHANGED,
    Signals,
)

NEAR_THE_LIMIT = 0.9
UNREAD_MINUTES = 30
PASSING = 3
"""What failed so often in an hour, and for reasons that may pass, was tried again by Airflow, and is nobody's business yet."""
LONGEST_HOURS = 168  # Amazon CloudWatch API Reference: PutMetricAlarm, periods of an hour together
BACKUP_TAKES_HOURS = 1
ALERTS_PERCENT = (80, 100)
ENVIRONMENT_TAG = "environment"


class Topic(Construct):
    """Where alarms and budgets tell; those who subscribed hear it."""

    def __init__(self, scope: Construct, id: str, names: Names, *, email: str | None) -> None:  # noqa: A002
        super().__init__(scope, id)
        self.topic = sns.Topic(
            self, "Topic", topic_name=names.topic, display_name=f"Open data pipeline, {names.env}", enforce_ssl=True
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsAndBudgetsTell",
                principals=[iam.ServicePrincipal(f"{service}.amazonaws.com") for service in ("cloudwatch", "budgets")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": names.account}},
            )
        )
        if email:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))


class Alarms(Construct):
    """Every alarm of an environment; `all` of them go to the topic."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        graph: AssetGraph,
        signals: Signals,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id)
        self._names, self._action = names, actions.SnsAction(topic)
        self.all: list[cloudwatch.Alarm] = []
        self._of_runs(graph, signals)

    def of_function(self, layer: Layer, function: lambda_.IFunction) -> None:
        """Alarms on a function: it raises, is refused, or nears its time limit."""
        name = self._names.function(layer)
        hour = cdk.Duration.hours(1)
        self._add(
            f"{layer}-errors",
            function.metric_errors(period=hour),
            above=PASSING,
            todo=f"{name} raised more than {PASSING} times in an hour. Its log says why: filter for function_failed",
        )
        self._add(
            f"{layer}-throttled",
            function.metric_throttles(period=hour),
            above=0,
            todo=f"{name} was asked more often at once than it has concurrency: somebody but Airflow asks it",
        )
        limit = FUNCTION_SIZES[layer].timeout_s * NEAR_THE_LIMIT
        self._add(
            f"{layer}-slow",
            function.metric_duration(period=hour, statistic="Maximum"),
            above=limit * 1000,
            todo=f"{name} took more than {limit:.0f} s of {FUNCTION_SIZES[layer].timeout_s} s: give it memory in cdk/deployment.py, or backfill in parts",
        )

    def of_queue(self, queue: sqs.IQueue, subject: str, name: str) -> None:
        """An alarm on a queue that nobody reads."""
        self._add(
            f"{subject}-unread",
            queue.metric_approximate_age_of_oldest_message(period=cdk.Duration.minutes(5)),
            above=UNREAD_MINUTES * 60,
            todo=f"nobody has read {name} for {UNREAD_MINUTES} minutes: Airflow's triggerer is down, or may not",
        )

    def of_dead(self, queue: sqs.IQueue, subject: str, name: str) -> None:
        """An alarm on a queue in which nothing should ever be."""
        self._add(
            f"{subject}-dead",
            queue.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(5), statistic="Maximum"),
            above=0,
            todo=f"a message ended in {name}: read it, mend the reason, then redrive or purge (docs/infrastructure.md)",
        )

    def of_readers(self, group: athena.CfnWorkGroup) -> None:
        """An alarm on what people's queries scan a day."""
        limit = PROFILES[self._names.env].scans_a_day_gb
        scanned = cloudwatch.Metric(
            namespace="AWS/Athena",
            metric_name="ProcessedBytes",
            dimensions_map={"WorkGroup": group.name},
            period=cdk.Duration.days(1),
            statistic="Sum",
        )
        self._add(
            "readers-scan-much",
            scanned,
            above=limit * 2**30,
            todo=f"queries in {group.name} scanned more than {limit} GB in a day: see its history for whose, and name partitions",
        )

    def _of_runs(self, graph: AssetGraph, signals: Signals) -> None:
        self._add(
            "failures",
            signals.metric(LASTING_FAILURES),
            above=0,
            todo="a table could not be made, stays as it was, and trying again changes nothing: `catalunya status` says which and why",
        )
        self._add(
            "failures-repeated",
            signals.metric(FAILURES),
            above=PASSING,
            todo=f"tables could not be made more than {PASSING} times in an hour, for reasons that may pass: a source, or AWS, is not well",
        )
        self._add(
            "sources-overdue",
            signals.metric(SOURCES_OVERDUE),
            above=0,
            todo="a source was not updated for longer than its freshness says: `catalunya status`; ask who publishes it",
        )
        self._add(
            "silent",
            signals.metric(RUNS),
            below=1,
            periods=LONGEST_HOURS,
            todo=f"no table at all was made or found unchanged for {LONGEST_HOURS} hours: see whether Airflow runs",
        )
        self._add(
            "backup-gaps",
            signals.metric(BACKUP_GAPS),
            above=0,
            todo="a backup does not hold all that it should: its log says what; `catalunya verify`, then `catalunya backup`",
        )
        hours = self._names.settings.rpo_hours
        if hours:
            self._add(
                "backup-missed",
                signals.metric(BACKUPS),
                below=1,
                periods=hours + BACKUP_TAKES_HOURS,
                todo=f"no backup was sealed for {hours} hours, which a disaster may cost at most: see ops.backup in Airflow",
            )
        for asset in graph.select("layer:landing"):
            if asset.freshness is None or asset.freshness.hours > LONGEST_HOURS:
                continue
            # A landing table runs by the clock, so it is heard of even when its source has nothing new.
            hours = int(asset.freshness.hours)
            heard = cloudwatch.MathExpression(
                expression="FILL(made, 0) + FILL(unchanged, 0)",
                using_metrics={
                    "made": signals.metric(MADE, asset=asset.key),
                    "unchanged": signals.metric(UNCHANGED, asset=asset.key),
                },
                period=cdk.Duration.hours(1),
                label=asset.key,
            )
            self._add(
                f"{asset.key}-not-asked",
                heard,
                below=1,
                periods=hours,
                todo=f"{asset.key} was neither made nor found unchanged for {hours} hours, which is its freshness: see its DAG",
            )

    def _add(
        self,
        subject: str,
        metric: cloudwatch.IMetric,
        *,
        todo: str,
        above: float | None = None,
        below: float | None = None,
        periods: int = 1,
    ) -> None:
        """An alarm; without data there is none where something is counted, and there is one where something is awaited."""
        is_awaited = below is not None
        comparison = cloudwatch.ComparisonOperator
        missing = cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            "".join(part.title() for part in subject.replace(".", "-").replace("_", "-").split("-")),
            alarm_name=self._names.alarm(subject),
            alarm_description=todo,
            metric=metric,
            threshold=(below if below is not None else above) or 0,
            comparison_operator=comparison.LESS_THAN_THRESHOLD if is_awaited else comparison.GREATER_THAN_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=missing.BREACHING if is_awaited else missing.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._action)
        self.all.append(alarm)


def budget(scope: Construct, names: Names, topic: sns.ITopic, usd: float) -> budgets.CfnBudget:
    """What the environment may cost a month, by its tag; the topic is told at 80 and 100 %."""
    told = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=topic.topic_arn)
    return budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_name=names.alarm("month"),
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(amount=usd, unit="USD"),
            cost_filters={"TagKeyValue": [f"user:{ENVIRONMENT_TAG}${names.env}"]},
        ),
        notifications_with_subscribers=[
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    comparison_operator="GREATER_THAN",
                    notification_type="ACTUAL",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[told],
            )
            for percent in ALERTS_PERCENT
        ],
    )
