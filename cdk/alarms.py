"""What raises an alarm, with what to do about it; the topic that alarms notify; the budget.

`ops.watch` finds what is wrong (`ops/watching`), and alarms report what it finds. Besides there are alarms for what no one would find if
Airflow were down or the watch itself failed: that it is silent, and what AWS measures of functions, queues and queries.
Here: thresholds and periods. Not here: which metrics there are (`signals.py`), what is drawn (`dashboards.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from catalunya.assets.graph.spec import Layer
from catalunya.cdk.deployment import FUNCTION_SIZES, PROFILES
from catalunya.cdk.metric_filters import Signals
from catalunya.cdk.naming import HEALTH, Names
from catalunya.cdk.signals import BACKUP_GAPS, FINDINGS, KINDS, URGENT, alarm_of, of_kind
from catalunya.ops.watching.findings import Kind
from catalunya.ops.watching.look import EVERY

NEAR_THE_LIMIT = 0.9
UNREAD_MINUTES = 30
WATCH_MINUTES = EVERY // timedelta(minutes=1)
ADVICE = "`catalunya watch` shows each with its cause and the command that fixes it (docs/watching.md)"
ALERTS = (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""What a budget notifies of, in percent of it."""
ENVIRONMENT_TAG = "environment"
HOUR = cdk.Duration.hours(1)


class Topic(Construct):
    """The topic that alarms and the budget publish to."""

    def __init__(self, scope: Construct, id: str, names: Names, *, email: str | None) -> None:  # noqa: A002
        super().__init__(scope, id)
        self.topic = sns.Topic(
            self, "Topic", topic_name=names.topic, display_name=f"Open data pipeline, {names.env}", enforce_ssl=True
        )
        # By name, not by account: an alarm of the other environment could otherwise say anything to this one's subscribers.
        self._let_publish(
            "AlarmsPublish",
            "cloudwatch",
            {"ArnLike": {"aws:SourceArn": names.arn("cloudwatch", f"alarm:{names.alarm('*')}")}},
        )
        # AWS documents no narrower source of a budget than all of the account's (Cost Management User Guide, Cross-service confused deputy
        # prevention).
        self._let_publish("BudgetsPublish", "budgets", {"StringEquals": {"aws:SourceAccount": names.account}})
        rule = names.alarm("health")
        # AWS Health sends an event to the region it concerns, and those of global services elsewhere (AWS Health User Guide, Creating
        # EventBridge rules for AWS Region coverage).
        events.CfnRule(
            self,
            "Health",
            name=rule,
            description="AWS Health: issues of AWS in this region, and notices about this account",
            event_pattern={"source": [HEALTH]},
            targets=[events.CfnRule.TargetProperty(id="topic", arn=self.topic.topic_arn)],
        )
        self._let_publish(
            "HealthEventsPublish", "events", {"ArnEquals": {"aws:SourceArn": names.arn("events", f"rule/{rule}")}}
        )
        if email:
            self.topic.add_subscription(subscriptions.EmailSubscription(email))

    def _let_publish(self, sid: str, service: str, condition: Mapping[str, Mapping[str, str]]) -> None:
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions=condition,
            )
        )


class Alarms(Construct):
    """Every alarm of an environment; each description says what to do. `all` of them notify the topic."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        signals: Signals,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id)
        self._names, self._signals, self._action = names, signals, actions.SnsAction(topic)
        self.all: list[cloudwatch.Alarm] = []
        self._add_findings()
        self._add_heartbeat()
        self._add_backups()

    def add_function(self, layer: Layer, function: lambda_.IFunction) -> None:
        """A function raises, is throttled, or comes close to its timeout."""
        name, size = self._names.function(layer), FUNCTION_SIZES[layer]
        self._add(
            f"{layer}-errors",
            function.metric_errors(period=HOUR),
            above=0,
            description=f"{name} crashed, ran into its time limit, or could not be loaded: see its log, and its event in the dead-letter queue",
        )
        self._add(
            f"{layer}-throttled",
            function.metric_throttles(period=HOUR),
            above=0,
            is_early=True,
            description=f"{name} was invoked more often at once than its reserved concurrency allows: find out what invokes it besides Airflow",
        )
        limit = size.timeout_s * NEAR_THE_LIMIT
        self._add(
            f"{layer}-slow",
            function.metric_duration(period=HOUR, statistic="Maximum"),
            above=limit * 1000,
            is_early=True,
            description=f"{name} took more than {limit:.0f} s of {size.timeout_s} s: increase its memory in cdk/deployment.py, or backfill in smaller steps",
        )

    def add_queue(self, queue: sqs.IQueue, subject: str, name: str) -> None:
        """No one reads a queue."""
        self._add(
            f"{subject}-unread",
            queue.metric_approximate_age_of_oldest_message(period=cdk.Duration.minutes(5)),
            above=UNREAD_MINUTES * 60,
            description=f"{name} has had an unread message for {UNREAD_MINUTES} minutes: check that Airflow's triggerer runs and may read the queue",
        )

    def add_dead_letters(self, queue: sqs.IQueue, subject: str, name: str) -> None:
        """A dead-letter queue is not empty."""
        self._add(
            f"{subject}-dead",
            queue.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(5), statistic="Maximum"),
            above=0,
            description=f"{name} received a message: read it, fix the cause, then purge the queue (docs/infrastructure.md)",
        )

    def add_readers(self, group: athena.CfnWorkGroup) -> None:
        """People's queries scan more in a day than they should."""
        limit = PROFILES[self._names.env].daily_scan_gb
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
            is_early=True,
            description=f"Queries in {group.name} scanned more than {limit} GB in a day: find them in its query history, and filter on partitions",
        )

    def _add_findings(self) -> None:
        """What the watch finds: in prod one alarm for each kind, in dev one for all that is urgent."""
        if not PROFILES[self._names.env].warns_early:
            self._add(
                "findings",
                self._signals.metric(URGENT, minutes=WATCH_MINUTES, statistic="Maximum"),
                above=0,
                description=f"ops.watch finds something wrong that will not pass by itself. {ADVICE}",
            )
            return
        for kind in KINDS:
            self._add(
                alarm_of(kind),
                self._signals.metric(of_kind(kind), minutes=WATCH_MINUTES, statistic="Maximum"),
                above=0,
                description=f"ops.watch has an open finding of the kind {kind}. {ADVICE}",
            )

    def _add_heartbeat(self) -> None:
        """Of the watch itself, within a quarter of the recovery time objective. The first minutes count too, hence one period less."""
        periods = max(self._names.settings.rto_minutes // 4 // WATCH_MINUTES - 1, 1)
        minutes = (periods + 1) * WATCH_MINUTES
        looks = cloudwatch.MathExpression(
            expression="FILL(looks, 0)",
            using_metrics={"looks": self._signals.metric(FINDINGS, minutes=WATCH_MINUTES, statistic="SampleCount")},
            period=cdk.Duration.minutes(WATCH_MINUTES),
            label="Looks of ops.watch",
        )
        self._add(
            alarm_of(Kind.WATCH_SILENT),
            looks,
            below=1,
            periods=periods,
            description=f"ops.watch has not looked for {minutes} minutes, and no other alarm is raised for what it would find: check the scheduler, "
            "the API server and the workers (docs/dokku.md), then the log of ops.watch in Airflow",
        )

    def _add_backups(self) -> None:
        self._add(
            "backup-gaps",
            self._signals.metric(BACKUP_GAPS),
            above=0,
            description="A backup is incomplete. Its log shows what is missing; run `catalunya verify`, then `catalunya backup`",
        )

    def _add(
        self,
        subject: str,
        metric: cloudwatch.IMetric,
        *,
        description: str,
        above: float | None = None,
        below: float | None = None,
        periods: int = 1,
        is_early: bool = False,
    ) -> None:
        """An alarm above or below a threshold. Missing data is fine for the first and an alarm for the second.

        `is_early`: it warns of what may become a failure, which another alarm would report.
        """
        if is_early and not PROFILES[self._names.env].warns_early:
            return
        comparison, missing = cloudwatch.ComparisonOperator, cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.title() for word in subject.replace(".", "-").replace("_", "-").split("-")),
            alarm_name=self._names.alarm(subject),
            alarm_description=description,
            metric=metric,
            threshold=(above if below is None else below) or 0,
            comparison_operator=comparison.GREATER_THAN_THRESHOLD if below is None else comparison.LESS_THAN_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=missing.NOT_BREACHING if below is None else missing.BREACHING,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
        self.all.append(alarm)


def budget(scope: Construct, names: Names, topic: sns.ITopic, usd: float) -> budgets.CfnBudget:
    """What the environment may cost per month, by its tag; notifies the topic at 80 and 100 %, and when 100 % are forecast."""
    subscriber = budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=topic.topic_arn)
    return budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_name=names.budget,
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=budgets.CfnBudget.SpendProperty(amount=usd, unit="USD"),
            cost_filters={"TagKeyValue": [f"user:{ENVIRONMENT_TAG}${names.env}"]},
        ),
        notifications_with_subscribers=[
            budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[subscriber],
            )
            for kind, percent in ALERTS
        ],
    )
