"""What everything in AWS is called: one environment's names and ARNs, in one place for stacks, policies and tests.

Names that the pipeline knows too come from its settings (`io/environment.py`), so that both sides cannot differ; nothing here
asks AWS or imports the CDK. Account, region and partition are given: CloudFormation's own references in a template, plain
text in a test. Not here: what is made (`*_stack.py`), who may do what (`access.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from catalunya.assets.graph.spec import FUNCTIONS, Layer
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import ConfigurationError

PROJECT = "catalunya"
ACCOUNT_STACK = "CatalunyaAccount"
SCHEMAS = ("staging", "marts", "candidates")
BOUNDARY = "catalunya-boundary"
ENGINEER = "catalunya-data-engineer-role"

PARTITION_REF, ACCOUNT_REF, REGION_REF = "${AWS::Partition}", "${AWS::AccountId}", "${AWS::Region}"


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of one environment. `settings` are the pipeline's own there."""

    settings: Settings
    partition: str
    account: str
    region: str

    @classmethod
    def of(
        cls, env: str, *, partition: str = PARTITION_REF, account: str = ACCOUNT_REF, region: str = REGION_REF
    ) -> Names:
        """The names of dev or prod. Raises ConfigurationError for another environment, or a lake that is no whole bucket."""
        settings = load_settings(env=env)
        bucket = settings.lake.removeprefix("s3://")
        if not settings.functions or bucket == settings.lake or "/" in bucket.rstrip("/"):
            raise ConfigurationError(
                f"infrastructure for {env}: expected dev or prod, with functions and a whole bucket as the lake (s3://name), "
                f"found lake {settings.lake} and functions {settings.functions!r}; unset CATALUNYA_LAKE and CATALUNYA_FUNCTIONS"
            )
        return cls(settings=settings, partition=partition, account=account, region=region)

    @property
    def env(self) -> str:
        return self.settings.env

    @property
    def stack(self) -> str:
        """The environment's stack."""
        return f"CatalunyaData-{self.env}"

    @property
    def replica_stack(self) -> str:
        """The stack in the other region, where copies go."""
        return f"{self.stack}-Replica"

    @property
    def data_bucket(self) -> str:
        """The lake."""
        return self.settings.lake.removeprefix("s3://").rstrip("/")

    @property
    def results_bucket(self) -> str:
        """What readers' queries return."""
        return f"{PROJECT}-athena-results-{self.env}"

    @property
    def backup_bucket(self) -> str:
        """What is restored from after a disaster: the pipeline's own backups."""
        return self.settings.backup.removeprefix("s3://").partition("/")[0]

    @property
    def log_bucket(self) -> str:
        """Access logs of the other buckets."""
        return f"{PROJECT}-logs-{self.env}"

    @property
    def replica_bucket(self) -> str:
        """Copies of what cannot be made again, in another region."""
        return f"{self.data_bucket}-replica"

    @property
    def buckets(self) -> tuple[str, ...]:
        """Those of the environment's own region."""
        return (self.data_bucket, self.results_bucket, self.backup_bucket, self.log_bucket)

    def check_copies(self) -> None:
        """Raises ConfigurationError where objects are encrypted by a key that the other region does not have."""
        if self.settings.lake_encryption == "aws:kms":
            raise ConfigurationError(
                f"CATALUNYA_LAKE_ENCRYPTION=aws:kms: expected AES256 in {self.env}, whose objects are copied to another region, where the "
                "key is not; leave it out, or give the copies a key of their own in cdk/buckets.py first"
            )

    def bucket_arn(self, bucket: str) -> str:
        """ARN of a bucket; `bucket_arn(names.data_bucket) + "/landing/*"` is of objects."""
        return f"arn:{self.partition}:s3:::{bucket}"

    def function(self, layer: Layer) -> str:
        """The function that makes the assets of a layer."""
        return self.settings.functions.format(purpose=FUNCTIONS[layer])

    def functions(self) -> Iterator[tuple[Layer, str]]:
        """The layers that functions make, each with its function."""
        return ((layer, self.function(layer)) for layer in FUNCTIONS)

    def function_arn(self, layer: Layer) -> str:
        return self._arn("lambda", f"function:{self.function(layer)}")

    def function_log_group(self, layer: Layer) -> str:
        """Where Lambda keeps what the function says."""
        return f"/aws/lambda/{self.function(layer)}"

    @property
    def tables_function(self) -> str:
        """What makes staging tables in Glue at a deployment, until they are first published."""
        return f"{PROJECT}-first-tables-{self.env}"

    @property
    def tables_log_group(self) -> str:
        return f"/aws/lambda/{self.tables_function}"

    @property
    def tables_role(self) -> str:
        return f"{PROJECT}-first-tables-role-{self.env}"

    @property
    def replication_role(self) -> str:
        """What S3 copies to the other region with."""
        return f"{PROJECT}-replication-role-{self.env}"

    @property
    def airflow_log_group(self) -> str:
        """Where Airflow's tasks say what they do: marts are made there."""
        return f"/{PROJECT}/airflow/{self.env}"

    def log_group_arn(self, group: str) -> str:
        """ARN of a log group; with `:*` behind it, of its streams."""
        return self._arn("logs", f"log-group:{group}")

    @property
    def manifests_queue(self) -> str:
        """The queue that tells of sealed landing batches."""
        return f"{PROJECT}-manifests-{self.env}"

    @property
    def manifests_dead_queue(self) -> str:
        return f"{self.manifests_queue}-dead"

    @property
    def functions_dead_queue(self) -> str:
        """Events that the functions could not deal with."""
        return f"{PROJECT}-functions-{self.env}-dead"

    def queue_arn(self, queue: str) -> str:
        return self._arn("sqs", queue)

    @property
    def topic(self) -> str:
        """Where alarms go."""
        return f"{PROJECT}-alarms-{self.env}"

    @property
    def topic_arn(self) -> str:
        return self._arn("sns", self.topic)

    def database(self, schema: str) -> str:
        """The Glue database of a schema: staging, marts or candidates."""
        return self.settings.glue_database(schema)

    @property
    def databases(self) -> dict[str, str]:
        """All of them by schema."""
        return {schema: self.database(schema) for schema in SCHEMAS}

    @property
    def metrics(self) -> str:
        """The namespace of the pipeline's own metrics."""
        return f"Catalunya/{self.env}"

    def dashboard(self, subject: str) -> str:
        """A dashboard: operations, business or cost."""
        return f"{PROJECT}-{self.env}-{subject}"

    def alarm(self, subject: str) -> str:
        return f"{PROJECT}-{self.env}-{subject}"

    @property
    def catalog_arn(self) -> str:
        return self._arn("glue", "catalog")

    def database_arn(self, schema: str) -> str:
        return self._arn("glue", f"database/{self.database(schema)}")

    @property
    def default_database_arn(self) -> str:
        """The database `default`, which Athena asks for whatever is asked of it."""
        return self._arn("glue", "database/default")

    def table_arn(self, schema: str, table: str) -> str:
        return self._arn("glue", f"table/{self.database(schema)}/{table}")

    def tables_arn(self, schema: str) -> str:
        """ARN of all tables of a database."""
        return self._arn("glue", f"table/{self.database(schema)}/*")

    @property
    def work_group(self) -> str:
        """The group that marts are made in."""
        return self.settings.athena_work_group

    @property
    def readers_work_group(self) -> str:
        """The group of people's queries."""
        return self.settings.athena_readers

    def work_group_arn(self, group: str) -> str:
        return self._arn("athena", f"workgroup/{group}")

    @property
    def extractor_role(self) -> str:
        return f"{PROJECT}-lambda-extractor-role-{self.env}"

    @property
    def transformer_role(self) -> str:
        return f"{PROJECT}-lambda-transformer-role-{self.env}"

    @property
    def mart_role(self) -> str:
        return f"{PROJECT}-mart-role-{self.env}"

    @property
    def monitoring_role(self) -> str:
        return f"{PROJECT}-monitoring-role-{self.env}"

    @property
    def deployment_role(self) -> str:
        return f"{PROJECT}-deployment-role-{self.env}"

    @property
    def orchestrator_role(self) -> str:
        """The role of Airflow itself, wherever it runs."""
        return f"{PROJECT}-orchestrator-role-{self.env}"

    @property
    def reader_role(self) -> str:
        """Who asks the tables by Athena, and nothing else."""
        return f"{PROJECT}-reader-role-{self.env}"

    @property
    def engineer_role(self) -> str:
        """One for the account: a person, not an environment."""
        return ENGINEER

    def role_arn(self, role: str) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role/{role}"

    @property
    def boundary_arn(self) -> str:
        """What no role of the project may go beyond."""
        return f"arn:{self.partition}:iam::{self.account}:policy/{BOUNDARY}"

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def check_apart(environments: Sequence[Names]) -> None:
    """Raises ConfigurationError where two environments would share a lake: a variable that names it is of one of them."""
    lakes = [names.data_bucket for names in environments]
    if len(set(lakes)) < len(lakes):
        raise ConfigurationError(
            f"CATALUNYA_LAKE: expected a lake for each of {', '.join(names.env for names in environments)}, found {lakes[0]} for all; "
            "deploy them one by one, with -c environments=…, or unset it"
        )
