"""Tables as Athena finds them: their definition in Glue, and their objects on S3, downloaded for DuckDB.

Here: reading and writing both through moto's API. Not here: what a statement does with them (`engine.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from athena.refusals import RefusedError

# Hive's type in Glue -> Trino's (and DuckDB's) in queries.
TYPES = {
    "string": "varchar",
    "int": "integer",
    "tinyint": "tinyint",
    "smallint": "smallint",
    "bigint": "bigint",
    "double": "double",
    "float": "float",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
GLUE_TYPES = {kind: name for name, kind in TYPES.items()}
CSV_SERDE = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
_CSV = {
    "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    "SerdeInfo": {"SerializationLibrary": CSV_SERDE},
}
_PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}


@dataclass(frozen=True)
class Table:
    """A table of the catalog: column name -> Trino's type; `keys` are the partition columns."""

    database: str
    name: str
    location: str
    columns: dict[str, str]
    keys: dict[str, str]
    is_projected: bool = False
    is_csv: bool = False

    @property
    def all_columns(self) -> dict[str, str]:
        """The columns in the order `select *` gives them: partition columns last."""
        return self.columns | self.keys


class Storage:
    """Glue and S3 of one account. `folder` keeps downloaded objects."""

    def __init__(self, glue: Any, s3: Any, folder: Path) -> None:
        self._glue, self._s3, self._folder = glue, s3, folder

    def table(self, database: str, name: str) -> Table | None:
        """A table; None if it does not exist."""
        try:
            found = self._glue.get_table(DatabaseName=database, Name=name)["Table"]
        except self._glue.exceptions.EntityNotFoundException:
            return None
        stored = found["StorageDescriptor"]
        return Table(
            database,
            name,
            stored["Location"].rstrip("/"),
            {column["Name"]: trino_type(column["Type"]) for column in stored["Columns"]},
            {column["Name"]: trino_type(column["Type"]) for column in found.get("PartitionKeys", [])},
            found.get("Parameters", {}).get("projection.enabled") == "true",
            stored.get("SerdeInfo", {}).get("SerializationLibrary") == CSV_SERDE,
        )

    def create_database(self, name: str, *, if_not_exists: bool) -> None:
        """Raises RefusedError when it exists, unless that is allowed."""
        try:
            self._glue.create_database(DatabaseInput={"Name": name})
        except self._glue.exceptions.AlreadyExistsException:
            if not if_not_exists:
                raise RefusedError(f"FAILED: Execution Error, Database {name} already exists") from None

    def has_database(self, name: str) -> bool:
        """Whether the database exists."""
        try:
            self._glue.get_database(Name=name)
        except self._glue.exceptions.EntityNotFoundException:
            return False
        return True

    def create_table(self, table: Table, parameters: dict[str, str]) -> None:
        """Put a table into the catalog, without partitions."""

        def columns(given: dict[str, str]) -> list[dict[str, str]]:
            return [{"Name": name, "Type": glue_type(name, kind)} for name, kind in given.items()]

        stored = (_CSV if table.is_csv else _PARQUET) | {
            "Location": f"{table.location}/",
            "Columns": columns(table.columns),
        }
        self._glue.create_table(
            DatabaseName=table.database,
            TableInput={
                "Name": table.name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"EXTERNAL": "TRUE"} | parameters,
                "PartitionKeys": columns(table.keys),
                "StorageDescriptor": stored,
            },
        )

    def drop_table(self, database: str, name: str) -> bool:
        """Drop a table from the catalog; its objects stay, as for every external table. Returns whether it existed."""
        try:
            self._glue.delete_table(DatabaseName=database, Name=name)
        except self._glue.exceptions.EntityNotFoundException:
            return False
        return True

    def set_properties(self, database: str, name: str, properties: dict[str, str]) -> None:
        """Set properties of a table that exists."""
        found = self._glue.get_table(DatabaseName=database, Name=name)["Table"]
        kept = ("Name", "TableType", "Parameters", "PartitionKeys", "StorageDescriptor", "Description")
        table = {key: found[key] for key in kept if key in found}
        table["Parameters"] = found.get("Parameters", {}) | properties
        self._glue.update_table(DatabaseName=database, TableInput=table)

    def register(self, table: Table, partitions: dict[tuple[str, ...], str]) -> None:
        """Register the partitions (values -> location) that are not registered yet."""
        known = {tuple(values) for values, _ in self.partitions(table)}
        new = [(values, location) for values, location in partitions.items() if values not in known]
        for start in range(0, len(new), 100):
            self._glue.batch_create_partition(
                DatabaseName=table.database,
                TableName=table.name,
                PartitionInputList=[
                    {"Values": list(values), "StorageDescriptor": _PARQUET | {"Location": location}}
                    for values, location in new[start : start + 100]
                ],
            )

    def partitions(self, table: Table) -> Iterator[tuple[list[str], str]]:
        """The registered partitions: their values and locations."""
        pages = self._glue.get_paginator("get_partitions").paginate(DatabaseName=table.database, TableName=table.name)
        for page in pages:
            for partition in page["Partitions"]:
                yield partition["Values"], partition["StorageDescriptor"]["Location"].rstrip("/")

    def files(self, table: Table) -> tuple[list[Path], int]:
        """The table's objects as local files in Hive's layout, and their size in bytes.

        For a partitioned table, only objects in registered partitions are read, unless the partitions are projected.
        """
        if table.keys and not table.is_projected:
            places = [self._hive(table, values, location) for values, location in self.partitions(table)]
        else:
            places = [table.location]
        found = [item for place in places for item in self._objects(place)]
        return [self._fetch(bucket, item) for bucket, item in found], sum(item["Size"] for _, item in found)

    def exists(self, location: str) -> bool:
        """Whether a location has an object."""
        return next(self._objects(location), None) is not None

    def write(self, files: Sequence[tuple[Path, str]]) -> None:
        """Upload local files: (file, address)."""
        for file, address in files:
            bucket, _, key = address.removeprefix("s3://").partition("/")
            self._s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def _objects(self, location: str) -> Iterator[tuple[str, dict[str, Any]]]:
        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for item in page.get("Contents", []):
                if item["Size"] and item["Key"].rsplit("/", 1)[-1][0] not in "._":  # hidden to Hive
                    yield bucket, item

    def _fetch(self, bucket: str, item: dict[str, Any]) -> Path:
        path = self._folder / item["ETag"].strip('"') / bucket / item["Key"]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
        return path

    @staticmethod
    def _hive(table: Table, values: list[str], location: str) -> str:
        folders = [unquote(folder) for folder in location.split("/")[-len(values) :]]
        if folders != [f"{key}={value}" for key, value in zip(table.keys, values, strict=True)]:
            raise RefusedError(
                f"NOT_SUPPORTED: the partition {values} of {table.name} is not in hive's layout: {location}"
            )
        return location


def trino_type(kind: str) -> str:
    """The type in queries for a type in Glue."""
    return TYPES.get(kind, kind)


def glue_type(column: str, kind: str) -> str:
    """The type in Glue for a type in queries. Raises RefusedError for types that Hive's tables do not support."""
    if kind in GLUE_TYPES:
        return GLUE_TYPES[kind]
    if kind.startswith("decimal"):
        return kind
    if kind == "unknown":
        raise RefusedError(
            f"NOT_SUPPORTED: Column '{column}' has unknown type, which a table cannot have: cast the null"
        )
    raise RefusedError(f"NOT_SUPPORTED: Unsupported Hive type: {kind} of column '{column}'")
