"""The CDK app and its stacks: one for the account, three for each environment, one of them in the recovery region.

Here: which stacks exist, their parts and how they connect, and what holds for all: tags, checks, flags. Nothing calls AWS, and
nothing is downloaded: the graph is the compiled one (`assets/graph/discovery.py`), whose fingerprint matches these sources; dbt
parses only if there is none yet. Not here: what each part consists of (one module each), names (`naming.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag
from aws_cdk import aws_rolesanywhere as rolesanywhere
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.cdk.alarms import ENVIRONMENT_TAG, Alarms, Topic, budget
from catalunya.cdk.buckets import Buckets, Copies
from catalunya.cdk.catalog import Catalog, WorkGroups
from catalunya.cdk.dashboards import Dashboards
from catalunya.cdk.deployment import PROFILES, Deployment, Domain
from catalunya.cdk.functions import Functions, Queues, log_group
from catalunya.cdk.metric_filters import Signals
from catalunya.cdk.naming import ACCOUNT, Names, account_stack, check_separate_lakes, qualifiers
from catalunya.cdk.pages import Pages
from catalunya.cdk.roles import AccountRoles, Roles
from catalunya.cdk.signals import signals_of
from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import active

PROD = "prod"
"""The environment that may have a domain of its own."""
FLAGS = {
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,  # otherwise by ACL, which these buckets refuse
    "@aws-cdk/core:checkSecretUsage": True,
    "@aws-cdk/core:validateAgainstDefaultRules": True,
    "@aws-cdk/aws-iam:minimizePolicies": True,
}


def build(
    graph: AssetGraph,
    make_package: Callable[[], Path],
    context: Mapping[str, Any] | None = None,
    *,
    outdir: Path | None = None,
) -> cdk.App:
    """The app with all its stacks; `synth()` writes it. `make_package` builds the functions' zip, `context` is what `-c` sets.

    Raises ConfigurationError if the account or a region is unknown, or the graph has no marts.
    """
    if not any(asset.layer is Layer.MARTS for asset in graph):
        raise ConfigurationError(
            "the graph has no marts, because dbt is not installed: install the extra `dbt` as well"
        )
    app = cdk.App(context=FLAGS | dict(context or {}), outdir=str(outdir) if outdir else None)
    deployment = Deployment.read(app.node.try_get_context, make_package)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    cdk.Tags.of(app).add("project", active().name)
    cdk.Tags.of(app).add("owner", deployment.owner)
    cdk.Tags.of(app).add("cost-center", deployment.cost_center)
    here = cdk.Environment(account=deployment.account, region=deployment.region)
    elsewhere = cdk.Environment(account=deployment.account, region=deployment.replica_region)
    environments = [names_in_template(env) for env in deployment.environments]
    check_separate_lakes(environments)
    account = (
        AccountStack(app, environments, deployment, env=here, synthesizer=_synthesizer(ACCOUNT))
        if deployment.is_home
        else None  # what the account has once outlives the region that it was deployed from
    )
    for names in environments:
        data = DataStack(app, names, graph, deployment, env=here, synthesizer=_synthesizer(names.env))
        if names.env in deployment.portal:
            domain = deployment.domain if names.env == PROD else None
            pages = PagesStack(app, names, domain, env=here, synthesizer=_synthesizer(ACCOUNT))
            pages.add_stack_dependency(data)
        if account is None:
            continue
        data.add_stack_dependency(account)
        if PROFILES[names.env].is_replicated:
            names.check_replication()
        data.add_stack_dependency(ReplicaStack(app, names, env=elsewhere, synthesizer=_synthesizer(names.env)))
    return app


def names_in_template(env: str) -> Names:
    """The names of an environment, with CloudFormation's own references to the account and region it is deployed to."""
    return Names.of(env, partition=cdk.Aws.PARTITION, account=cdk.Aws.ACCOUNT_ID, region=cdk.Aws.REGION)


def _synthesizer(of: str) -> cdk.DefaultStackSynthesizer:
    """Deploys with the roles of the bootstrap of an environment, or of the account."""
    return cdk.DefaultStackSynthesizer(qualifier=qualifiers()[of])


class AccountStack(cdk.Stack):
    """What limits the environments and who deploys them, once per account. Only a person deploys it, and before everything else."""

    def __init__(
        self, scope: Construct, environments: Sequence[Names], deployment: Deployment, **arguments: Any
    ) -> None:
        super().__init__(
            scope,
            account_stack(),
            description=f"{active().title}: what the account has once",
            termination_protection=True,
            **arguments,
        )
        AccountRoles(self, "Roles", environments, deployment.trusted, regions=deployment.regions)


class DataStack(cdk.Stack):
    """Everything that the pipeline needs in AWS, for one environment."""

    def __init__(
        self, scope: Construct, names: Names, graph: AssetGraph, deployment: Deployment, **arguments: Any
    ) -> None:
        profile = PROFILES[names.env]
        super().__init__(
            scope,
            names.stack,
            description=f"{names.project.title}, {names.env}: lake, functions, catalog, queries, alarms",
            termination_protection=profile.is_protected,
            **arguments,
        )
        cdk.Tags.of(self).add(ENVIRONMENT_TAG, names.env)
        roles = Roles(
            self, "Roles", names, deployment.trusted, is_replicated=profile.is_replicated and deployment.is_home
        )
        buckets = Buckets(self, "Buckets", names, graph)
        if roles.replication is not None:
            buckets.replicate(roles.replication, names.bucket_arn(names.replica_bucket))
        queues = Queues(self, "Queues", names)
        buckets.notify(queues.manifests.queue_arn, queues.policy)
        functions = Functions(
            self,
            "Functions",
            names,
            graph,
            roles={Layer.LANDING: roles.extractor, Layer.STAGING: roles.transformer},
            code=deployment.package,
            log_days=profile.log_days,
            token_secret=names.secret(deployment.token_secret) if deployment.token_secret else None,
            hosts_secret=names.secret(deployment.hosts_secret) if deployment.hosts_secret else None,
            is_reserved=deployment.reserves_concurrency,
        )
        Catalog(self, "Catalog", names, graph, role=roles.tables, log_days=profile.log_days)
        work_groups = WorkGroups(self, "WorkGroups", names, graph, scan_limit_gb=profile.query_scan_gb)

        airflow_logs = log_group(self, "AirflowLogs", names.airflow_log_group, profile.log_days)
        groups = [*functions.log_groups.values(), airflow_logs]
        has_dashboards = names.env in deployment.dashboards
        signals = Signals(
            self,
            "Signals",
            names,
            signals_of(names.env, has_dashboards=has_dashboards),
            airflow=airflow_logs,
            functions=functions.log_groups.values(),
        )
        topic = Topic(self, "Alerts", names, email=deployment.alarm_email).topic
        alarms = Alarms(self, "Alarms", names, signals, topic)
        for layer, function in functions.by_layer.items():
            alarms.add_function(layer, function)
        alarms.add_queue(queues.manifests, "manifests", names.manifests_queue)
        alarms.add_dead_letters(functions.dead, "functions", names.functions_dead_queue)
        alarms.add_readers(work_groups.readers)
        usd = deployment.budgets[names.env]
        budget(self, names, topic, usd)
        if has_dashboards:
            Dashboards(
                self,
                "Dashboards",
                names,
                graph,
                signals,
                functions=functions.by_layer,
                queues=(queues.manifests, functions.dead),
                groups=groups,
                alarms=alarms.all,
                budget_usd=usd,
                buckets=_places(names, deployment),
            )
        airflow = rolesanywhere.CfnProfile(
            self,
            "Airflow",
            name=names.certificate,
            role_arns=[roles.orchestrator.role_arn],
            enabled=True,
            duration_seconds=3600,
        )
        # Airflow's settings that only a deployment knows.
        url = f"https://sqs.{names.region}.{cdk.Aws.URL_SUFFIX}/{names.account}/{names.manifests_queue}"
        mart_role = names.role_arn("mart")
        cdk.CfnOutput(self, "ManifestsQueue", value=url, description="CATALUNYA_MANIFESTS_QUEUE")
        cdk.CfnOutput(self, "MartRole", value=mart_role, description="CATALUNYA_MART_ROLE")
        cdk.CfnOutput(self, "BackupRegion", value=deployment.replica_region, description="CATALUNYA_BACKUP_REGION")
        cdk.CfnOutput(
            self,
            "AirflowProfile",
            value=airflow.attr_profile_arn,
            description="The IAM Roles Anywhere profile for Airflow's certificate",
        )


def _places(names: Names, deployment: Deployment) -> dict[str, str | None]:
    """The buckets of an environment that exist, each with its region if that is another than the environment's."""
    own: dict[str, str | None] = dict.fromkeys(names.own_buckets)
    if not deployment.is_home:
        return own | {names.backup_bucket: None}
    absent = () if PROFILES[names.env].is_replicated else (names.replica_bucket,)
    elsewhere = [bucket for bucket in names.buckets if bucket not in (*own, *absent)]
    return own | dict.fromkeys(elsewhere, deployment.replica_region)


class PagesStack(cdk.Stack):
    """The public pages of one environment. Only a person deploys it, after the environment's data."""

    def __init__(self, scope: Construct, names: Names, domain: Domain | None, **arguments: Any) -> None:
        super().__init__(
            scope,
            names.pages_stack,
            description=f"{names.project.title}, {names.env}: public pages",
            termination_protection=PROFILES[names.env].is_protected,
            **arguments,
        )
        cdk.Tags.of(self).add(ENVIRONMENT_TAG, names.env)
        Pages(self, "Pages", names, domain)


class ReplicaStack(cdk.Stack):
    """The buckets in the recovery region: backups, and copies of what cannot be rebuilt from a source."""

    def __init__(self, scope: Construct, names: Names, **arguments: Any) -> None:
        super().__init__(
            scope,
            names.replica_stack,
            description=f"{names.project.title}, {names.env}: backups and copies in another region",
            termination_protection=PROFILES[names.env].is_protected,
            **arguments,
        )
        cdk.Tags.of(self).add(ENVIRONMENT_TAG, names.env)
        Copies(self, "Buckets", names, is_replicated=PROFILES[names.env].is_replicated)
