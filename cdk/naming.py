"""What everything in AWS is called: the names and ARNs of one environment, in one place for stacks, policies and tests.

Names that the pipeline knows too come from its settings (`io/environment.py`), so the two cannot differ; nothing here calls AWS or
imports the CDK. Account, region and partition are arguments: CloudFormation's own references in a template, plain text in a test.
Not here: what is created (`stacks.py`), who may do what (`access.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.io.project_folder import ProjectFolder, active

SCHEMAS = ("staging", "marts", "candidates")
ACCOUNT_ROLES = ("engineer", "deployment")
"""The roles that only the account's stack may change, of those of `access.ROLES`."""
CLOUDFORMATION = "cloudformation"
"""What deploys an environment: the roles of its CDK bootstrap, which CloudFormation and the CDK's command use."""
ENGINEERS_DEPLOY = ("dev",)
"""The environments that data engineers deploy by hand."""
HEALTH = "aws.health"
"""The source of AWS Health's events: the only events of the account that an environment has a rule for."""
ACCOUNT = "account"
"""What stands in place of an environment for what the account has once."""


def qualifiers() -> dict[str, str]:
    """The qualifier of each CDK bootstrap: `dev`, `prod`, `account` -> `catdev`, …

    With a shared one, anyone who can deploy dev could deploy prod, or the limits of both.
    """
    prefix = active().qualifier
    return {"dev": f"{prefix}dev", "prod": f"{prefix}prod", ACCOUNT: f"{prefix}acct"}


def account_stack() -> str:
    """The stack of what the account has once."""
    return f"{active().label}Account"


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of one environment. `settings` are the pipeline's own in that environment."""

    settings: Settings
    partition: str
    account: str
    region: str

    @classmethod
    def of(
        cls,
        env: str,
        *,
        partition: str = "${AWS::Partition}",
        account: str = "${AWS::AccountId}",
        region: str = "${AWS::Region}",
    ) -> Names:
        """The names of dev or prod. Raises ConfigurationError for another environment, or if the lake or the marts' results are not a whole
        bucket of their own.
        """
        settings = load_settings(env=env)
        bucket = settings.lake.removeprefix("s3://")
        if not settings.functions or bucket == settings.lake or "/" in bucket.rstrip("/"):
            raise ConfigurationError(
                f"infrastructure for {env}: expected dev or prod, with functions and a whole bucket as the lake (s3://name), "
                f"found lake {settings.lake} and functions {settings.functions!r}; unset CATALUNYA_LAKE and CATALUNYA_FUNCTIONS"
            )
        if not settings.backup.startswith("s3://"):
            raise ConfigurationError(
                f"infrastructure for {env}: expected a bucket for backups, found {settings.backup}; unset CATALUNYA_BACKUP"
            )
        names = cls(settings=settings, partition=partition, account=account, region=region)
        results = settings.athena_results.rstrip("/")
        if results != f"s3://{names.mart_results_bucket}" or len(set(names.buckets)) < len(names.buckets):
            raise ConfigurationError(
                f"CATALUNYA_ATHENA_RESULTS={settings.athena_results}: expected a whole bucket of its own (s3://name/), which the deployment creates; "
                "unset it to use the default"
            )
        return names

    @property
    def project(self) -> ProjectFolder:
        """What everything is called after."""
        return active()

    @property
    def env(self) -> str:
        return self.settings.env

    @cached_property
    def sites(self) -> tuple[Names, ...]:
        """The names at home, and those in the recovery region: limits hold for both, because they are deployed once."""
        return tuple(
            self if site == self.settings.site else replace(self, settings=load_settings(env=self.env, site=site))
            for site in ("home", "recovery")
        )

    def arn(self, service: str, resource: str) -> str:
        """ARN of a resource in the environment's account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def anywhere(self, service: str, resource: str) -> str:
        """The same in any region, home or recovery: the limits hold in both."""
        return f"arn:{self.partition}:{service}:*:{self.account}:{resource}"

    # Stacks and buckets

    @property
    def pages_stack(self) -> str:
        """The stack of the public pages, which only a person deploys."""
        return f"{self.project.label}Pages-{self.env}"

    @property
    def stack(self) -> str:
        """The environment's stack."""
        return f"{self.project.label}Data-{self.env}"

    @property
    def replica_stack(self) -> str:
        """The stack in the recovery region, for backups and copies."""
        return f"{self.stack}-Replica"

    @property
    def data_bucket(self) -> str:
        """The lake."""
        return self.settings.lake.removeprefix("s3://").rstrip("/")

    @property
    def results_bucket(self) -> str:
        """Results of readers' queries."""
        return self.settings.bucket("athena-results")

    @property
    def mart_results_bucket(self) -> str:
        """Results of the queries that make marts."""
        return self.settings.athena_results.removeprefix("s3://").partition("/")[0]

    @property
    def backup_bucket(self) -> str:
        """The pipeline's own backups, in the recovery region; both sites use it."""
        return self.settings.backup.removeprefix("s3://").partition("/")[0]

    @property
    def log_bucket(self) -> str:
        """Access logs of the lake and of Athena's results."""
        return self.settings.bucket("logs")

    @property
    def copies_log_bucket(self) -> str:
        """Access logs of backups and copies, in their region: S3 delivers logs nowhere else."""
        return f"{self.log_bucket}-replica"

    @property
    def replica_bucket(self) -> str:
        """Copies, in the recovery region, of what cannot be rebuilt from a source."""
        return f"{self.data_bucket}-replica"

    @property
    def pages_folder(self) -> str:
        """The folder of the lake with the public pages. Raises ConfigurationError if they are not in the lake."""
        folder = self.settings.portal_folder.removeprefix(f"s3://{self.data_bucket}").strip("/")
        if not folder or "://" in folder:
            raise ConfigurationError(
                f"CATALUNYA_PORTAL_FOLDER={self.settings.portal_folder}: expected a folder of the lake, s3://{self.data_bucket}/…, which CloudFront "
                "publishes; unset it to use the default"
            )
        return folder

    @property
    def pages_distribution(self) -> str:
        """CloudFront's access to the public pages. Its names are of no region."""
        return f"{self.project.name}-portal-{self.env}{self.settings.suffix}"

    @property
    def own_buckets(self) -> tuple[str, ...]:
        """The buckets in the environment's own region."""
        return (self.data_bucket, self.results_bucket, self.mart_results_bucket, self.log_bucket)

    @property
    def buckets(self) -> tuple[str, ...]:
        """All buckets: those in the environment's own region, then those in the recovery region."""
        return (*self.own_buckets, self.backup_bucket, self.replica_bucket, self.copies_log_bucket)

    @property
    def logged(self) -> dict[str, tuple[str, ...]]:
        """Each bucket of access logs, and the buckets that they are of."""
        return {
            self.log_bucket: (self.data_bucket, self.results_bucket, self.mart_results_bucket),
            self.copies_log_bucket: (self.backup_bucket, self.replica_bucket),
        }

    def bucket_arn(self, bucket: str) -> str:
        """ARN of a bucket; with `/…` appended, of its objects."""
        return f"arn:{self.partition}:s3:::{bucket}"

    # Functions, queues, logs

    def function(self, layer: Layer) -> str:
        """The function that makes the assets of a layer."""
        return self.settings.functions.format(purpose=FUNCTIONS[layer])

    def functions(self) -> Iterator[tuple[Layer, str]]:
        """The layers that functions make, each with its function."""
        return ((layer, self.function(layer)) for layer in FUNCTIONS)

    def function_log_group(self, layer: Layer) -> str:
        return f"/aws/lambda/{self.function(layer)}"

    @property
    def tables_function(self) -> str:
        """The function that creates staging tables in Glue at a deployment, until they are first published."""
        return f"{self.project.name}-first-tables-{self.env}"

    @property
    def tables_log_group(self) -> str:
        return f"/aws/lambda/{self.tables_function}"

    @property
    def airflow_log_group(self) -> str:
        """The remote logs of Airflow's tasks."""
        return f"/{self.project.name}/airflow/{self.env}"

    @property
    def log_groups(self) -> tuple[str, ...]:
        """All log groups."""
        return (*(self.function_log_group(layer) for layer in FUNCTIONS), self.tables_log_group, self.airflow_log_group)

    def log_group_arn(self, group: str) -> str:
        """ARN of a log group; with `:*` appended, of its streams."""
        return self.arn("logs", f"log-group:{group}")

    @property
    def manifests_queue(self) -> str:
        """The queue that S3 notifies of sealed landing batches."""
        return f"{self.project.name}-manifests-{self.env}"

    @property
    def functions_dead_queue(self) -> str:
        """Events of functions that crashed or never started."""
        return f"{self.project.name}-functions-{self.env}-dead"

    @property
    def queues(self) -> tuple[str, ...]:
        """All queues."""
        return (self.manifests_queue, self.functions_dead_queue)

    def queue_arn(self, queue: str) -> str:
        return self.arn("sqs", queue)

    def secret(self, name: str) -> str:
        """A secret in Secrets Manager, by its name in the environment."""
        return f"{self.project.name}/{self.env}/{name}"

    # Monitoring

    @property
    def topic(self) -> str:
        """The topic that alarms notify."""
        return f"{self.project.name}-alarms-{self.env}"

    @property
    def metrics(self) -> str:
        """The namespace of the pipeline's own metrics."""
        return f"{self.project.label}/{self.env}"

    def dashboard(self, subject: str) -> str:
        """A dashboard: operations, business or cost. Dashboards are not of a region (Amazon CloudWatch API Reference, PutDashboard)."""
        return f"{self.project.name}-{self.env}-{subject}{self.settings.suffix}"

    def alarm(self, subject: str) -> str:
        """An alarm."""
        return f"{self.project.name}-{self.env}-{subject}"

    @property
    def budget(self) -> str:
        """The budget, which is the account's and not of a region."""
        return f"{self.project.name}-{self.env}-month{self.settings.suffix}"

    # Glue and Athena

    def database(self, schema: str) -> str:
        """The Glue database of a schema: staging, marts or candidates."""
        return self.settings.glue_database(schema)

    @property
    def databases(self) -> dict[str, str]:
        """All databases by schema."""
        return {schema: self.database(schema) for schema in SCHEMAS}

    @property
    def catalog_arn(self) -> str:
        return self.arn("glue", "catalog")

    @property
    def work_group(self) -> str:
        """The work group in which marts are made."""
        return self.settings.athena_work_group

    @property
    def readers_work_group(self) -> str:
        """The work group of people's queries."""
        return self.settings.athena_readers

    def work_group_arn(self, group: str) -> str:
        return self.arn("athena", f"workgroup/{group}")

    # Roles

    def role(self, role: str) -> str:
        """The IAM name of a role of `access.ROLES`. IAM is of no region: a site's own roles end with its suffix."""
        if role == "engineer":
            return f"{self.project.name}-data-engineer-role"
        name = {"extractor": "lambda-extractor", "transformer": "lambda-transformer", "tables": "first-tables"}
        suffix = "" if role in ACCOUNT_ROLES else self.settings.suffix
        return f"{self.project.name}-{name.get(role, role)}-role-{self.env}{suffix}"

    def role_path(self, role: str) -> str:
        """The IAM path of a role of `access.ROLES`: what a deployment of an environment may change is under the environment's own."""
        return f"/{self.project.name}-{ACCOUNT if role in ACCOUNT_ROLES else self.env}/"

    def role_arn(self, role: str) -> str:
        """ARN of a role of `access.ROLES`."""
        return self.iam_arn(f"role{self.role_path(role)}{self.role(role)}")

    def cdk_role_arn(self, kind: str) -> str:
        """ARN of roles of the environment's CDK bootstrap, in any region: `deploy-role`, `cfn-exec-role`, … or `*`."""
        return self.iam_arn(f"role/{self.bootstrap}-{kind}-{self.account}-*")

    @property
    def bootstrap(self) -> str:
        """What the names of everything in the environment's CDK bootstrap begin with."""
        return f"cdk-{qualifiers()[self.env]}"

    def boundary(self, role: str) -> str:
        """The name of the permissions boundary of a role of `access.ROLES`; `cloudformation` stands for the roles of the bootstrap."""
        if role in ("deployment", CLOUDFORMATION):
            return f"{self.project.name}-deployment-boundary-{self.env}"
        return f"{self.project.name}-boundary-{ACCOUNT if role == 'engineer' else self.env}"

    def boundary_arn(self, role: str) -> str:
        """ARN of the permissions boundary of a role of `access.ROLES`, or of `cloudformation`."""
        return self.iam_arn(f"policy/{self.project.name}-{ACCOUNT}/{self.boundary(role)}")

    def iam_arn(self, resource: str) -> str:
        """ARN of something in IAM, which has no regions."""
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    @property
    def certificate(self) -> str:
        """The common name in the certificate of the environment's Airflow."""
        return f"{self.project.name}-airflow-{self.env}"

    def check_replication(self) -> None:
        """Raises ConfigurationError if objects are encrypted with a key that the other region does not have."""
        if self.settings.lake_encryption == "aws:kms":
            raise ConfigurationError(
                f"CATALUNYA_LAKE_ENCRYPTION=aws:kms: expected AES256 in {self.env}, whose objects are copied to another region, where the "
                "key does not exist; unset it, or give the copies their own key in cdk/buckets.py first"
            )


def check_separate_lakes(environments: Sequence[Names]) -> None:
    """Raises ConfigurationError if two environments would share a lake: a variable that names the lake fits only one of them."""
    lakes = [names.data_bucket for names in environments]
    if len(set(lakes)) < len(lakes):
        raise ConfigurationError(
            f"CATALUNYA_LAKE: expected a lake for each of {', '.join(names.env for names in environments)}, found {lakes[0]} for all; "
            "deploy them one at a time with -c environments=…, or unset it"
        )
