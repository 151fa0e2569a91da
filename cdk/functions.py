"""The Lambda functions that make landing and staging, with their log groups and dead-letter queue; the queue of sealed batches.

Here: sizes, variables, limits. Not here: the functions' code and package (`ops/lambdas.py`, `ops/package.py`), roles (`roles.py`),
alarms (`alarms.py`), the bucket's side of the notification (`buckets.py`), what Airflow does with it (`dags/build.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.assets.record.answers import QUEUED_S
from catalunya.cdk.deployment import FUNCTION_SIZES
from catalunya.cdk.naming import Names
from catalunya.cdk.roles import accept
from catalunya.io.environment import Settings
from catalunya.io.project_folder import active
from catalunya.ops import package

HANDLERS = "catalunya.ops.lambdas"
_RETENTIONS = {30: logs.RetentionDays.ONE_MONTH, 365: logs.RetentionDays.ONE_YEAR}


class Functions(Construct):
    """One function per layer that functions make; `dead` receives the events of functions that crashed or never started."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        graph: AssetGraph,
        *,
        roles: Mapping[Layer, iam.IRole],
        code: Path,
        log_days: int,
        token_secret: str | None,
        hosts_secret: str | None,
        is_reserved: bool,
    ) -> None:
        super().__init__(scope, id)
        self.dead = sqs.Queue(
            self,
            "Dead",
            queue_name=names.functions_dead_queue,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(14),  # the longest that SQS allows
        )
        accept(self.dead, "AwsSolutions-SQS3", "It is a dead-letter queue")
        self.by_layer: dict[Layer, lambda_.Function] = {}
        self.log_groups: dict[Layer, logs.LogGroup] = {}
        zipped = lambda_.Code.from_asset(str(code))
        for layer, name in names.functions():
            size = FUNCTION_SIZES[layer]
            assets = graph.select(f"layer:{layer}")
            group = log_group(self, f"Logs{layer.title()}", names.function_log_group(layer), log_days)
            function = lambda_.Function(
                self,
                f"Make{layer.title()}",
                function_name=name,
                description=f"Makes the {layer} tables of the open data pipeline, one per event",
                code=zipped,
                handler=f"{HANDLERS}.{FUNCTIONS[layer]}",
                runtime=runtime(),
                architecture=lambda_.Architecture.ARM_64,
                role=roles[layer],
                memory_size=size.memory_mb,
                timeout=cdk.Duration.seconds(size.timeout_s),
                ephemeral_storage_size=cdk.Size.mebibytes(size.disk_mb),
                # As many as can work at once: one for each asset. More would only wait for each other.
                reserved_concurrent_executions=len(assets) if is_reserved else None,
                dead_letter_queue=self.dead,
                # Airflow tries again, with its own delays, and knows what came of it: Lambda does not.
                retry_attempts=0,
                max_event_age=cdk.Duration.seconds(QUEUED_S),
                log_group=group,
                environment=environment(names.settings, token_secret, hosts_secret),
            )
            accept_runtime(function)
            self.by_layer[layer], self.log_groups[layer] = function, group


class Queues(Construct):
    """The queue that S3 notifies of sealed landing batches.

    It has no dead-letter queue, because nothing could land there: Airflow's trigger deletes a message when it receives it. A message that
    is lost is found by the reconciliation, and one that no one receives raises an alarm.
    """

    def __init__(self, scope: Construct, id: str, names: Names) -> None:  # noqa: A002
        super().__init__(scope, id)
        self.manifests = sqs.Queue(
            self,
            "Manifests",
            queue_name=names.manifests_queue,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=cdk.Duration.days(4),
            receive_message_wait_time=cdk.Duration.seconds(20),
            visibility_timeout=cdk.Duration.minutes(1),
        )
        accept(self.manifests, "AwsSolutions-SQS3", "Airflow deletes a message when it receives it: none could be dead")
        added = self.manifests.add_to_resource_policy(
            iam.PolicyStatement(
                sid="NotificationsFromTheLake",
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.manifests.queue_arn],
                conditions={
                    "ArnEquals": {"aws:SourceArn": names.bucket_arn(names.data_bucket)},
                    "StringEquals": {"aws:SourceAccount": names.account},
                },
            )
        )
        assert added.policy_dependable is not None
        self.policy = added.policy_dependable


def runtime() -> lambda_.Runtime:
    """The Python version that the functions' package is built for."""
    return lambda_.Runtime(f"python{package.Target().python}", lambda_.RuntimeFamily.PYTHON, supports_inline_code=True)


def accept_runtime(function: lambda_.Function) -> None:
    """Accept that the CDK knows of a newer Python."""
    accept(function, "AwsSolutions-L1", "The package is built for this Python version: see ops/package.py")


def environment(settings: Settings, token_secret: str | None, hosts_secret: str | None) -> dict[str, str]:
    """The variables of a function: its environment, and the settings that differ from that environment's defaults."""
    given = {
        "CATALUNYA_ENV": settings.env,
        "CATALUNYA_PROJECT": "" if active().is_ours else f"/var/task/{package.PROJECT}",
        "CATALUNYA_LAKE": settings.lake,
        "CATALUNYA_LAKE_ENCRYPTION": settings.lake_encryption,
        "CATALUNYA_LAKE_KMS_KEY_ID": settings.lake_kms_key_id or "",
        "CATALUNYA_CACHE": "/tmp/catalunya",  # noqa: S108  the only folder that a function can write to, its own
        "CATALUNYA_SOCRATA_APP_TOKEN": _secret(token_secret),
        "CATALUNYA_HOSTS": _secret(hosts_secret),
    }
    return {name: value for name, value in given.items() if value}


def _secret(name: str | None) -> str:
    """A reference to a secret, which CloudFormation resolves: its value is in no template and no log."""
    return cdk.SecretValue.secrets_manager(name).unsafe_unwrap() if name else ""


def log_group(scope: Construct, id: str, name: str, days: int) -> logs.LogGroup:  # noqa: A002
    """A log group that keeps events for so many days."""
    return logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        retention=_RETENTIONS[days],
        removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    )
