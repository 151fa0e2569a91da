"""What Athena finds: Glue's databases, the staging tables before they are first made, work groups, the usual questions.

Once a table is published, Glue's entry of it is made from the ledger (`io/warehouse/glue.py`), never from here. Not here: what a table
looks like in Glue (`io/warehouse/glue_table.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.record import catalog_tables as catalogd
from catalunya.cdk.functions import accept_runtime, log_group, runtime
from catalunya.cdk.naming import Names
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.glue import about_database
from catalunya.io.warehouse.glue_table import DATA_VERSION, MARK, table_input
from catalunya.ops.named_queries import for_work_group

GIGABYTE = 2**30
HANDLER = Path(__file__).with_name("first_table.py")
SCHEMA = str(Layer.STAGING)


class Catalog(Construct):
    """The databases, and a function that puts the declared staging tables there until somebody publishes them."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        names: Names,
        graph: AssetGraph,
        *,
        role: iam.IRole,
        log_days: int,
    ) -> None:
        super().__init__(scope, id)
        self.databases = {
            schema: glue.CfnDatabase(
                self,
                f"Database{schema.title()}",
                catalog_id=names.account,
                database_input=glue.CfnDatabase.DatabaseInputProperty(name=name, description=about_database(schema)),
            )
            for schema, name in names.databases.items()
        }
        for database in self.databases.values():
            # Tables go with their database, and what the pipeline knows of them would have to be told again.
            database.apply_removal_policy(cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        self.log_group = log_group(self, "Logs", names.tables_log_group, log_days)
        first = self._first_tables(names, role)
        for name, definition in first_tables(names, graph):
            table = cdk.CustomResource(
                self,
                f"Table{''.join(part.title() for part in name.split('_'))}",
                resource_type="Custom::StagingTable",
                service_token=first.function_arn,
                service_timeout=cdk.Duration.minutes(2),
                properties={"Database": names.database(SCHEMA), "TableInput": definition},
            )
            table.node.add_dependency(self.databases[SCHEMA])

    def _first_tables(self, names: Names, role: iam.IRole) -> lambda_.Function:
        function = lambda_.Function(
            self,
            "FirstTables",
            function_name=names.tables_function,
            description="Asked by CloudFormation alone: puts staging tables into Glue until they are first published",
            code=lambda_.Code.from_inline(HANDLER.read_text(encoding="utf-8")),
            handler="index.handler",
            runtime=runtime(),
            architecture=lambda_.Architecture.ARM_64,
            role=role,
            memory_size=256,
            timeout=cdk.Duration.minutes(1),
            log_group=self.log_group,
        )
        accept_runtime(function)
        function.node.add_dependency(role)
        return function


class WorkGroups(Construct):
    """Where queries run: the pipeline's own group, and the readers', which has limits and the usual questions."""

    def __init__(self, scope: Construct, id: str, names: Names, graph: AssetGraph, *, scan_limit_gb: int) -> None:  # noqa: A002
        super().__init__(scope, id)
        settings = names.settings
        # dbt-athena says itself where each table goes: a group that enforces its own place would have Athena decide.
        self.pipeline = _work_group(
            self, "Pipeline", names.work_group, "Marts are made here", settings.athena_results, names, is_enforced=False
        )
        self.readers = _work_group(
            self,
            "Readers",
            names.readers_work_group,
            "People's queries: limited, results in a bucket of their own",
            f"s3://{names.results_bucket}/",
            names,
            is_enforced=True,
            limit=scan_limit_gb * GIGABYTE,
        )
        tables = [asset.key for asset in graph if asset.layer is not Layer.LANDING]
        for query in for_work_group(Athena(settings, tables, for_readers=True)):
            kept = athena.CfnNamedQuery(
                self,
                f"Query{''.join(part.title() for part in query.name.split('_'))}",
                name=query.name,
                description=query.title,
                query_string=query.sql,
                database=names.database("marts"),
                work_group=names.readers_work_group,
            )
            kept.add_resource_dependency(self.readers)


def first_tables(names: Names, graph: AssetGraph) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each staging table by name, as the pipeline itself would define it, but for what only its publishing tells.

    Without the mark of a published table: `catalunya catalog` takes it for nobody's until then, and does not remove it.
    """
    for asset in graph.select(f"layer:{SCHEMA}"):
        wanted = table_input(catalogd.unmade(names.settings.lake, asset))
        unknown = (MARK, DATA_VERSION)
        wanted["Parameters"] = {name: value for name, value in wanted["Parameters"].items() if name not in unknown}
        yield asset.name, wanted


def _work_group(
    scope: Construct,
    id: str,  # noqa: A002
    name: str,
    description: str,
    results: str,
    names: Names,
    *,
    is_enforced: bool,
    limit: int | None = None,
) -> athena.CfnWorkGroup:
    settings = names.settings
    encryption = athena.CfnWorkGroup.EncryptionConfigurationProperty(encryption_option="SSE_S3")
    if settings.lake_encryption == "aws:kms" and settings.lake_kms_key_id:
        encryption = athena.CfnWorkGroup.EncryptionConfigurationProperty(
            encryption_option="SSE_KMS", kms_key=settings.lake_kms_key_id
        )
    return athena.CfnWorkGroup(
        scope,
        id,
        name=name,
        description=description,
        # What a group holds is its history and named queries, which would keep it from going; tables and results are elsewhere.
        recursive_delete_option=True,
        work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
            enforce_work_group_configuration=is_enforced,
            publish_cloud_watch_metrics_enabled=True,
            bytes_scanned_cutoff_per_query=limit,
            engine_version=athena.CfnWorkGroup.EngineVersionProperty(selected_engine_version="Athena engine version 3"),
            result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                output_location=results, encryption_configuration=encryption
            ),
        ),
    )
