"""The Lambda functions that make landing and staging, each with its log group, and the queue of events that they gave up on.

Here: sizes, environment, limits. Not here: their code and its package (`ops/lambdas.py`, `ops/package.py`), their roles
(`roles.py`), alarms on them (`alarms.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.cdk.accepted import accept
from catalunya.cdk.deployment import FUNCTION_SIZES
from catalunya.cdk.naming import Names
from catalunya.cdk.queues import dead_queue
from catalunya.io.environment import Settings
from catalunya.ops import package

HANDLERS = "catalunya.ops.lambdas"
_RETENTIONS = {30: logs.RetentionDays.ONE_MONTH, 365: logs.RetentionDays.ONE_YEAR}


class Functions(Construct):
    """One function a layer that functions make; `dead` holds the events that they could not deal with."""

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
    ) -> None:
        super().__init__(scope, id)
        self.dead = dead_queue(self, "Dead", names.functions_dead_queue)
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
                description=f"Makes the {layer} tables of the open data pipeline, one an event",
                code=zipped,
                handler=f"{HANDLERS}.{FUNCTIONS[layer]}",
                runtime=runtime(),
                architecture=lambda_.Architecture.ARM_64,
                role=roles[layer],
                memory_size=size.memory_mb,
                timeout=cdk.Duration.seconds(size.timeout_s),
                ephemeral_storage_size=cdk.Size.mebibytes(size.disk_mb),
                # As many as read an asset's pages, and one where nobody does: more would only wait for each other.
                reserved_concurrent_executions=sum(max(asset.readers, 1) for asset in assets),
                dead_letter_queue=self.dead,
                retry_attempts=2,
                max_event_age=cdk.Duration.hours(1),
                log_group=group,
                environment=environment(names.settings, token_secret),
            )
            accept_runtime(function)
            self.by_layer[layer], self.log_groups[layer] = function, group


def runtime() -> lambda_.Runtime:
    """The Python that the functions' packages are of."""
    return lambda_.Runtime(f"python{package.Target().python}", lambda_.RuntimeFamily.PYTHON, supports_inline_code=True)


def accept_runtime(function: lambda_.Function) -> None:
    """That the CDK knows of a newer Python is no finding."""
    accept(
        function, "AwsSolutions-L1", "The Python is the one that the zip's packages are of: ops/package.py says which"
    )


def environment(settings: Settings, token_secret: str | None) -> dict[str, str]:
    """The variables of a function: which environment it is in, and what differs from that one's defaults there."""
    given = {
        "CATALUNYA_ENV": settings.env,
        "CATALUNYA_LAKE": settings.lake,
        "CATALUNYA_LAKE_ENCRYPTION": settings.lake_encryption,
        "CATALUNYA_LAKE_KMS_KEY_ID": settings.lake_kms_key_id or "",
        "CATALUNYA_CACHE": "/tmp/catalunya",  # noqa: S108  the one folder that a function may write to, its own
        # CloudFormation puts it in place of this reference: it stands in no template and no log.
        "CATALUNYA_SOCRATA_APP_TOKEN": cdk.SecretValue.secrets_manager(token_secret).unsafe_unwrap()
        if token_secret
        else "",
    }
    return {name: value for name, value in given.items() if value}


def log_group(scope: Construct, id: str, name: str, days: int) -> logs.LogGroup:  # noqa: A002
    """A log group that forgets after so many days."""
    return logs.LogGroup(
        scope,
        id,
        log_group_name=name,
        retention=_RETENTIONS[days],
        removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    )
