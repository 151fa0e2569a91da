"""The catalog of published tables: Glue where Athena runs the queries, none where DuckDB does.

Glue holds derived state: it is made from the ledger, is rewritten wherever it differs, and is never read to learn what a table is.

Here: bringing Glue up to date and comparing it. Not here: what a table looks like there (`glue_table.py`), which tables exist
(`assets/record/catalog_tables.py`), querying them (`athena.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from typing import Any, Protocol

from catalunya.io.aws import client, code_of, text_of
from catalunya.io.environment import Settings
from catalunya.io.errors import CatalogError
from catalunya.io.log import get_logger
from catalunya.io.project_folder import active
from catalunya.io.warehouse.glue_table import (
    MARK,
    Difference,
    Table,
    differences,
    merged,
    partition_inputs,
    table_input,
)

log = get_logger(__name__)

SCHEMAS = ("staging", "marts")
CREATED_AT_ONCE, DELETED_AT_ONCE = 100, 25  # AWS Glue Web API Reference: BatchCreatePartition, BatchDeletePartition


class Catalog(Protocol):
    """Where readers find the tables."""

    def publish(self, table: Table) -> bool:
        """Bring the catalog's entry of the table up to date. Returns whether that took a write."""
        ...


class NoCatalog:
    """A lake without a catalog: tables are found by their paths."""

    def publish(self, table: Table) -> bool:  # noqa: ARG002
        return False


def about_database(schema: str) -> str:
    """The description of a database in Glue."""
    return f"{active().title}: {schema}"


def catalog(settings: Settings) -> Catalog:
    """The catalog of an environment."""
    return Glue(settings) if settings.engine == "athena" else NoCatalog()


class Glue:
    """The Glue databases of one environment, one per layer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def client(self) -> Any:
        """boto3's Glue client."""
        return client("glue")

    def publish(self, table: Table) -> bool:
        """Bring Glue's entry of the table up to date; if it is, that takes one GetTable and no write.

        Partitions are registered first and the table with its data version is written last: after a kill in between, the next
        call sees the difference and continues. Raises CatalogError.
        """
        with self._errors(str(table), "write"):
            found = self._find(table)
            if found is not None and not differences(table, found):
                return False
            self._write(table, found)
        log.info("table_registered", table=str(table), existed=found is not None)
        return True

    def repair(self, table: Table) -> bool:
        """Like `publish`, but the registered partitions are read and compared too."""
        with self._errors(str(table), "write"):
            found = self._find(table)
            if found is not None and not differences(table, found) and not self._of_partitions(table, found):
                return False
            self._write(table, found)
        log.info("table_registered", table=str(table), existed=found is not None)
        return True

    def compare(self, table: Table) -> list[Difference]:
        """How Glue's entry differs from the table. Raises CatalogError."""
        with self._errors(str(table), "read"):
            found = self._find(table)
            if found is None:
                return [Difference("table", "a table", "none")]
            return differences(table, found) + self._of_partitions(table, found)

    def unknown(self, known: Sequence[str]) -> list[tuple[str, str]]:
        """The pipeline's tables (schema, name) in Glue that are not in `known`: their assets no longer exist."""
        found = []
        for schema in SCHEMAS:
            with self._errors(schema, "list"):
                try:
                    pages = self.client.get_paginator("get_tables").paginate(DatabaseName=self._database(schema))
                    tables = list(chain.from_iterable(page["TableList"] for page in pages))
                except self.client.exceptions.EntityNotFoundException:
                    continue  # nothing has been published yet
            ours = (each["Name"] for each in tables if MARK in (each.get("Parameters") or {}))
            found += [(schema, name) for name in ours if f"{schema}.{name}" not in known]
        return found

    def remove(self, schema: str, name: str) -> None:
        """Remove a table from the catalog; its objects stay where they are."""
        with self._errors(f"{schema}.{name}", "write"):
            self.client.delete_table(DatabaseName=self._database(schema), Name=name)
        log.info("table_removed_from_catalog", table=f"{schema}.{name}")

    def _database(self, schema: str) -> str:
        return self.settings.glue_database(schema)

    def _find(self, table: Table) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.client.get_table(DatabaseName=self._database(table.schema), Name=table.name)
        except self.client.exceptions.EntityNotFoundException:
            return None
        return found["Table"]  # type: ignore[no-any-return]

    def _write(self, table: Table, found: Mapping[str, Any] | None) -> None:
        database = self._database(table.schema)
        if found is None:
            # Without its data version, which is written last.
            first = table_input(table)
            if table.registered:
                first["Parameters"] = {MARK: table.code_version}
            found = self._create(database, table, first)
        else:
            # Glue cannot change the partition keys of a table that has partitions. The new objects are published already.
            keys = [key["Name"] for key in found.get("PartitionKeys") or []]
            if keys != list(table.partition_by):
                self.client.delete_table(DatabaseName=database, Name=table.name)
                self._write(table, None)
                return
        self._sync_partitions(database, table)
        if differences(table, found):
            # Earlier versions are in the ledger; Glue's own archive would only grow.
            self.client.update_table(DatabaseName=database, TableInput=merged(table, found), SkipArchive=True)

    def _create(self, database: str, table: Table, first: dict[str, Any]) -> dict[str, Any]:
        """Create the table, and its database if it is missing. Returns the table as it is then."""
        try:
            self.client.create_table(DatabaseName=database, TableInput=first)
        except self.client.exceptions.AlreadyExistsException:
            return self._find(table) or {}  # another run created it first
        except self.client.exceptions.EntityNotFoundException:
            self._create_database(database, table.schema)
            return self._create(database, table, first)
        return first

    def _create_database(self, database: str, schema: str) -> None:
        try:
            self.client.create_database(DatabaseInput={"Name": database, "Description": about_database(schema)})
        except self.client.exceptions.AlreadyExistsException:
            return
        log.info("database_created", database=database)

    def _registered(self, database: str, table: Table) -> dict[tuple[str, ...], Mapping[str, Any]]:
        pages = self.client.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=table.name)
        return {tuple(each["Values"]): each for page in pages for each in page["Partitions"]}

    def _of_partitions(self, table: Table, found: Mapping[str, Any]) -> list[Difference]:
        keys = [key["Name"] for key in found.get("PartitionKeys") or []]
        if not table.partition_by or table.is_projected or keys != list(table.partition_by):
            return []
        there = self._registered(self._database(table.schema), table)
        missing = [values for values in table.registered if values not in there]
        others = [values for values in there if values not in table.registered]
        wrong = [values for values in table.registered if values in there and _is_wrong(table, values, there[values])]
        return [
            *(Difference(f"partition {_named(table, values)}", "registered", "not registered") for values in missing),
            *(Difference(f"partition {_named(table, values)}", "none", "registered") for values in others),
            *(
                Difference(
                    f"partition {_named(table, values)}",
                    partition_inputs(table, [values])[0]["StorageDescriptor"]["Location"],
                    str((there[values].get("StorageDescriptor") or {}).get("Location")),
                )
                for values in wrong
            ),
        ]

    def _sync_partitions(self, database: str, table: Table) -> None:
        """Register the partitions that exist, and remove those that do not. A projected table needs none."""
        if not table.partition_by or table.is_projected:
            return
        there = self._registered(database, table)
        wrong = [values for values in table.registered if values in there and _is_wrong(table, values, there[values])]
        gone = [values for values in there if values not in table.registered]
        for some in _batches(gone, DELETED_AT_ONCE):
            self._check(
                self.client.batch_delete_partition(
                    DatabaseName=database,
                    TableName=table.name,
                    PartitionsToDelete=[{"Values": list(values)} for values in some],
                ),
                table,
                ignore="EntityNotFoundException",
            )
        missing = [values for values in table.registered if values not in there]
        for some in _batches(missing, CREATED_AT_ONCE):
            self._check(
                self.client.batch_create_partition(
                    DatabaseName=database,
                    TableName=table.name,
                    PartitionInputList=partition_inputs(table, some),
                ),
                table,
                ignore="AlreadyExistsException",
            )
        for some in _batches(wrong, CREATED_AT_ONCE):
            entries = [
                {"PartitionValueList": each["Values"], "PartitionInput": each} for each in partition_inputs(table, some)
            ]
            self._check(
                self.client.batch_update_partition(DatabaseName=database, TableName=table.name, Entries=entries), table
            )

    @staticmethod
    def _check(answer: Mapping[str, Any], table: Table, *, ignore: str = "") -> None:
        """Raise for the entries of a batch call that failed: the call itself succeeds. `ignore` is an error code to ignore."""
        failed = [each for each in answer.get("Errors") or [] if each["ErrorDetail"]["ErrorCode"] != ignore]
        if failed:
            detail = failed[0]["ErrorDetail"]
            raise CatalogError(
                f"{table}: Glue refused {len(failed)} partitions, the first with {detail['ErrorCode']}: "
                f"{detail.get('ErrorMessage', '')}; the table itself is recorded, and the next run tries again"
            )

    @contextmanager
    def _errors(self, what: str, verb: str) -> Iterator[None]:
        """Turn boto3's errors into one line that says where and what to do."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            advice = _ADVICE.get(
                code_of(error), "the table itself is recorded; the next run or `catalunya catalog sync` updates Glue"
            )
            raise CatalogError(f"cannot {verb} {what} in Glue: {text_of(error)}; {advice}") from error


_ADVICE = {
    "AccessDeniedException": "grant the role the Glue actions listed in docs/athena.md, then run `catalunya catalog sync`",
    "NoCredentialsError": "set AWS credentials (a profile or a role), then run `catalunya catalog sync`",
}


def _is_wrong(table: Table, values: tuple[str, ...], found: Mapping[str, Any]) -> bool:
    """Whether a registered partition has another folder or other columns than the table."""
    wanted = partition_inputs(table, [values])[0]["StorageDescriptor"]
    there = found.get("StorageDescriptor") or {}
    types = [(column["Name"], column["Type"]) for column in wanted["Columns"]]
    seen = [(column["Name"], column["Type"]) for column in there.get("Columns") or []]
    return (there.get("Location") or "").rstrip("/") != wanted["Location"].rstrip("/") or types != seen


def _batches(values: list[tuple[str, ...]], size: int) -> Iterator[list[tuple[str, ...]]]:
    """Lists of at most as many as one call accepts."""
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _named(table: Table, values: Sequence[str]) -> str:
    return "/".join(f"{name}={value}" for name, value in zip(table.partition_by, values, strict=False))
