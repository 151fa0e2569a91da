"""What Athena finds: Glue's databases, the staging tables before they are first made, work groups, named queries.

Once a table is published, its entry in Glue comes from the ledger (`io/warehouse/glue.py`), never from here. Not here: how a table is
defined in Glue (`io/warehouse/glue_table.py`).
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
from catalunya.assets.record import catalog_tables
from catalunya.cdk.functions import accept_runtime, log_group, runtime
from catalunya.cdk.naming import Names
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.glue import about_database
from catalunya.io.warehouse.glue_table import DATA_VERSION, MARK, table_input
from catalunya.ops.named_queries import for_work_group

GIGABYTE = 2**30
HANDLER = Path(__file__).with_name("first_table.py")
SCHEMA = str(Layer.STAGING)
BY_IAM = glue.CfnDatabase.PrincipalPrivilegesProperty(
    permissions=["ALL"],
    principal=glue.CfnDatabase.DataLakePrincipalProperty(data_lake_principal_identifier="IAM_ALLOWED_PRINCIPALS"),
)
"""Tables are governed by IAM alone. Said of each database, so that a new table is readable also where the account's default for Lake
Formation was changed, which we must not change back: it is for all databases of the account."""


class Catalog(Construct):
    """The databases, and a function that creates the declared staging tables there until they are published."""

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
                database_input=glue.CfnDatabase.DatabaseInputProperty(
                    name=name,
                    description=about_database(schema),
                    create_table_default_permissions=[BY_IAM],
                ),
            )
            for schema, name in names.databases.items()
        }
        for database in self.databases.values():
            # Deleting a database deletes its tables, and the pipeline would have to register all of them again.
            database.apply_removal_policy(cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        self.log_group = log_group(self, "Logs", names.tables_log_group, log_days)
        function = self._first_tables(names, role)
        for name, definition in first_tables(names, graph):
            table = cdk.CustomResource(
                self,
                f"Table{''.join(word.title() for word in name.split('_'))}",
                resource_type="Custom::StagingTable",
                service_token=function.function_arn,
                service_timeout=cdk.Duration.minutes(2),
                properties={"Database": names.database(SCHEMA), "TableInput": definition},
            )
            table.node.add_dependency(self.databases[SCHEMA])

    def _first_tables(self, names: Names, role: iam.IRole) -> lambda_.Function:
        function = lambda_.Function(
            self,
            "FirstTables",
            function_name=names.tables_function,
            description="Called by CloudFormation only: creates staging tables in Glue until they are first published",
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
    """Where queries run: the pipeline's own group, and the readers', which has limits and named queries."""

    def __init__(self, scope: Construct, id: str, names: Names, graph: AssetGraph, *, scan_limit_gb: int) -> None:  # noqa: A002
        super().__init__(scope, id)
        settings = names.settings
        # dbt-athena sets the location of each table itself; a group that enforces its own location would override it.
        _work_group(
            self, "Pipeline", names.work_group, "Makes the marts", settings.athena_results, names, is_enforced=False
        )
        self.readers = _work_group(
            self,
            "Readers",
            names.readers_work_group,
            "Queries of people: limited, with results in a separate bucket",
            f"s3://{names.results_bucket}/",
            names,
            is_enforced=True,
            limit=scan_limit_gb * GIGABYTE,
        )
        tables = [asset.key for asset in graph if asset.layer is not Layer.LANDING]
        for query in for_work_group(Athena(settings, tables, for_readers=True)):
            kept = athena.CfnNamedQuery(
                self,
                f"Query{''.join(word.title() for word in query.name.split('_'))}",
                name=query.name,
                description=query.title,
                query_string=query.sql,
                database=names.database("marts"),
                work_group=names.readers_work_group,
            )
            kept.add_resource_dependency(self.readers)


def first_tables(names: Names, graph: AssetGraph) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each staging table by name, as the pipeline itself defines it, without what is only known once it is published.

    Without the mark of a published table, too: until then, `catalunya catalog` neither owns nor removes it.
    """
    for asset in graph.select(f"layer:{SCHEMA}"):
        wanted = table_input(catalog_tables.unmade(names.settings.lake, asset))
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
        # A group contains only its history and named queries, which would block its deletion; tables and results are elsewhere.
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
