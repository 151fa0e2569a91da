"""A published table as a SQL engine sees it, and the SQL that reads it on DuckDB and on Athena.

Here: what both engines share. Not here: the engines (`duckdb.py`, `athena_build.py`), building marts (`build.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalunya.io.errors import WarehouseError
from catalunya.io.safe_text import safe_text

# Logical type -> the type's name in SQL, on DuckDB and in Athena's DML.
SQL_TYPES: Mapping[str, str] = {
    "string": "varchar",
    "integer": "integer",
    "bigint": "bigint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """A published table: where its Parquet is, and what its columns are (name -> logical type of `contracts/model/columns.py`).

    `partition_by` are the columns whose values are in the paths (`district_id=01`), always text. Without files the table is empty.
    """

    schema: str
    name: str
    columns: Mapping[str, str]
    files: tuple[str, ...]
    partition_by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def folder(self) -> str:
        """The folder of its files, above those of the partitions. Only of a table with files."""
        return self.files[0].rsplit("/", len(self.partition_by) + 1)[0]


def scan_sql(relation: Relation, source: str, available: Sequence[str] | None = None) -> str:
    """The SELECT that reads `source` with the relation's columns, in their order and types.

    Columns that are not in `available` are null.
    """
    columns = ", ".join(
        f"cast({quoted(name) if available is None or name in available else 'null'} as {SQL_TYPES[kind]}) as {quoted(name)}"
        for name, kind in relation.columns.items()
    )
    return f"select {columns} from {source}"  # noqa: S608  names from contracts, quoted


def empty_sql(relation: Relation) -> str:
    """The SELECT of the relation's columns without rows."""
    return scan_sql(relation, "(select 1) as nothing where false", available=())


def arrow_dataset(relation: Relation) -> Any:
    """The relation's files, local or on S3, as one lazy pyarrow dataset. Raises WarehouseError when they are no Parquet."""
    import pyarrow as pa
    from pyarrow import dataset, fs

    files, folder, system = list(relation.files), relation.folder, None
    if "://" in files[0]:
        system, _ = fs.FileSystem.from_uri(files[0])
        files = [file.partition("://")[2] for file in files]
        folder = folder.partition("://")[2]
    keys = dataset.partitioning(pa.schema([(name, pa.string()) for name in relation.partition_by]), flavor="hive")
    try:
        return dataset.dataset(files, filesystem=system, format="parquet", partitioning=keys, partition_base_dir=folder)
    except (OSError, pa.ArrowException) as error:
        raise WarehouseError(
            f"{relation}: cannot read its files: {safe_text(error, 400)}; run `catalunya verify` to see what is wrong"
        ) from error


def quoted(name: str) -> str:
    """A name quoted for SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL literal, whatever it contains."""
    return "'" + text.replace("'", "''") + "'"
