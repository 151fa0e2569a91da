"""An AWS account for the environment dev: a bucket for the lake, work groups, and tables published in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalunya.io.environment import Settings, load_settings
from catalunya.io.warehouse.athena_build import CANDIDATES
from catalunya.io.warehouse.glue import SCHEMAS
from catalunya.io.warehouse.relation import Relation
from small.aws import Aws

LAKE = "catalunya-data-dev"


@dataclass(frozen=True)
class Account:
    """The account that tests of dev use. `api` is its Athena."""

    aws: Aws
    api: Any
    settings: Settings

    @classmethod
    def prepare(cls, aws: Aws, api: Any, cache: Path) -> Account:
        """Create the lake's bucket and the work groups of dev; the one for marts lets dbt choose where tables go. `cache`: for the settings.

        moto has one state per process: the tables of an earlier account are removed from Glue, its work groups are reused.
        """
        lake = aws.make_bucket(f"{LAKE}-{aws.url.rpartition(':')[2]}")
        settings = load_settings(env="dev", lake=lake, cache=cache)
        account = cls(aws, api, settings)
        account._remove_databases()
        athena, place = aws.client("athena"), {"ResultConfiguration": {"OutputLocation": settings.athena_results}}
        there = {group["Name"] for group in athena.list_work_groups()["WorkGroups"]}
        for group, enforces in ((settings.athena_work_group, False), (settings.athena_readers, True)):
            if group not in there:
                configuration = place | {"EnforceWorkGroupConfiguration": enforces}
                athena.create_work_group(Name=group, Configuration=configuration)
        return account

    def _remove_databases(self) -> None:
        glue = self.aws.client("glue")
        databases = {found["Name"] for found in glue.get_databases()["DatabaseList"]}
        for database in databases & {self.settings.glue_database(schema) for schema in (*SCHEMAS, CANDIDATES)}:
            glue.delete_database(Name=database)

    def publish(self, relation: Relation) -> Relation:
        """Put a table of one local file into the lake, replacing the one that is there."""
        bucket = self.settings.lake.removeprefix("s3://")
        key = f"{relation.schema}/{relation.name}/file.parquet"
        self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=Path(relation.files[0]).read_bytes())
        return replace(relation, files=(f"{self.settings.lake}/{key}",))

    def publish_all(self, relations: Mapping[str, Relation]) -> dict[str, Relation]:
        """The same for tables by name."""
        return {name: self.publish(relation) for name, relation in relations.items()}

    def objects(self, prefix: str) -> list[str]:
        """The keys of the lake's objects with a prefix."""
        bucket = self.settings.lake.removeprefix("s3://")
        pages = self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def tables(self, schema: str) -> set[str]:
        """The names of a schema's tables in Glue."""
        glue = self.aws.client("glue")
        try:
            found = glue.get_tables(DatabaseName=self.settings.glue_database(schema))["TableList"]
        except glue.exceptions.EntityNotFoundException:
            return set()
        return {table["Name"] for table in found}
