"""The stacks of one environment: `CatalunyaData-{env}`, and where copies are made, the one in the other region.

Here: their parts, and how they hang together. Not here: what a part is made of (one module each), names (`naming.py`).
"""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_rolesanywhere as rolesanywhere
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.cdk.accepted import accept
from catalunya.cdk.alarms import ENVIRONMENT_TAG, Alarms, Topic, budget
from catalunya.cdk.buckets import REPLICA_FORMER_DAYS, Buckets, PrivateBucket
from catalunya.cdk.catalog import Catalog, WorkGroups
from catalunya.cdk.dashboards import Dashboards
from catalunya.cdk.deployment import PROFILES, Deployment
from catalunya.cdk.functions import Functions, log_group
from catalunya.cdk.naming import Names
from catalunya.cdk.queues import Queues
from catalunya.cdk.roles import Roles
from catalunya.cdk.signals import Signals
from catalunya.cdk.trust import certificate_name


class DataStack(cdk.Stack):
    """Everything that the pipeline needs in AWS, for one environment."""

    def __init__(
        self, scope: Construct, names: Names, graph: AssetGraph, deployment: Deployment, **arguments: Any
    ) -> None:
        profile = PROFILES[names.env]
        super().__init__(
            scope,
            names.stack,
            description=f"Open data of Catalonia, {names.env}: lake, functions, catalog, queries, alarms",
            termination_protection=profile.is_protected,
            **arguments,
        )
        cdk.Tags.of(self).add(ENVIRONMENT_TAG, names.env)
        roles = Roles(self, "Roles", names, deployment.trusted, is_replicated=profile.is_replicated)
        buckets = Buckets(self, "Buckets", names, graph, is_accelerated=deployment.is_accelerated)
        if roles.replication is not None:
            buckets.replicate(roles.replication, names.bucket_arn(names.replica_bucket))
        queues = Queues(self, "Queues", names)
        buckets.tell(queues.manifests.queue_arn, queues.policy)
        functions = Functions(
            self,
            "Functions",
            names,
            graph,
            roles={Layer.LANDING: roles.extractor, Layer.STAGING: roles.transformer},
            code=deployment.package,
            log_days=profile.log_days,
            token_secret=deployment.token_secret,
        )
        Catalog(self, "Catalog", names, graph, role=roles.tables, log_days=profile.log_days)
        work_groups = WorkGroups(self, "WorkGroups", names, graph, scan_limit_gb=profile.scan_limit_gb)

        airflow_logs = log_group(self, "AirflowLogs", names.airflow_log_group, profile.log_days)
        groups = [*functions.log_groups.values(), airflow_logs]
        signals = Signals(self, "Signals", names, groups)
        topic = Topic(self, "Alerts", names, email=deployment.alarm_email).topic
        alarms = Alarms(self, "Alarms", names, graph, signals, topic)
        for layer, function in functions.by_layer.items():
            alarms.of_function(layer, function)
        alarms.of_queue(queues.manifests, "manifests", names.manifests_queue)
        alarms.of_dead(queues.dead, "manifests", names.manifests_dead_queue)
        alarms.of_dead(functions.dead, "functions", names.functions_dead_queue)
        alarms.of_readers(work_groups.readers)
        usd = deployment.budgets[names.env]
        budget(self, names, topic, usd)
        Dashboards(
            self,
            "Dashboards",
            names,
            graph,
            signals,
            functions=functions.by_layer,
            queues=(queues.manifests, queues.dead, functions.dead),
            groups=groups,
            alarms=alarms.all,
            budget_usd=usd,
        )
        profile_of_airflow = rolesanywhere.CfnProfile(
            self,
            "Airflow",
            name=certificate_name(names),
            role_arns=[roles.orchestrator.role_arn],
            enabled=True,
            duration_seconds=3600,
        )
        # What Airflow is told of its environment, and only a deployment knows.
        url = f"https://sqs.{names.region}.{cdk.Aws.URL_SUFFIX}/{names.account}/{names.manifests_queue}"
        cdk.CfnOutput(self, "ManifestsQueue", value=url, description="CATALUNYA_MANIFESTS_QUEUE")
        cdk.CfnOutput(self, "MartRole", value=names.role_arn(names.mart_role), description="CATALUNYA_MART_ROLE")
        cdk.CfnOutput(
            self,
            "AirflowProfile",
            value=profile_of_airflow.attr_profile_arn,
            description="the profile that Airflow's certificate is used with (IAM Roles Anywhere)",
        )


class ReplicaStack(cdk.Stack):
    """The other region's bucket, in which copies are kept of what cannot be made again."""

    def __init__(self, scope: Construct, names: Names, **arguments: Any) -> None:
        super().__init__(
            scope,
            names.replica_stack,
            description=f"Open data of Catalonia, {names.env}: copies in another region",
            termination_protection=PROFILES[names.env].is_protected,
            **arguments,
        )
        cdk.Tags.of(self).add(ENVIRONMENT_TAG, names.env)
        replica = PrivateBucket(self, "Replica", names, names.replica_bucket)
        replica.forget(former=REPLICA_FORMER_DAYS)
        accept(
            replica, "AwsSolutions-S1", "S3 alone writes to it, and it is read after a disaster; its origin logs access"
        )
