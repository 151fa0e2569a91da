"""What a table looks like in Glue, as plain data: its definition, its partitions, and how a table found there differs.

Here: pure functions that call nothing. Not here: the calls (`glue.py`), from which asset and ledger entry a table comes
(`assets/record/catalog_tables.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# A contract's logical type -> its name in Glue and in Athena's DDL (the DML has varchar and integer).
GLUE_TYPES: Mapping[str, str] = {
    "string": "string",
    "integer": "int",
    "bigint": "bigint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
MARK = "catalunya.code_version"  # set on every table of the pipeline
DATA_VERSION = "catalunya.data_version"
PROJECTION_PREFIXES = ("projection.", "storage.location.template")
COMMENT_BYTES, DESCRIPTION_BYTES = 255, 2048  # AWS Glue Web API Reference: Column.Comment, DescriptionString
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_HIVE = "org.apache.hadoop.hive.ql.io.parquet"
_FORMAT = {
    "InputFormat": f"{_HIVE}.MapredParquetInputFormat",
    "OutputFormat": f"{_HIVE}.MapredParquetOutputFormat",
    "SerdeInfo": {
        "SerializationLibrary": f"{_HIVE}.serde.ParquetHiveSerDe",
        "Parameters": {"serialization.format": "1"},
    },
}


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its logical type (`contracts/model/columns.py`), description and unit."""

    name: str
    type: str
    description: str = ""
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A published table: `location` is its folder, `partitions` maps the values of `partition_by` to their folders.

    `may_project`: partition projection is allowed. It is not for tables whose writer looks partitions up in Glue, as dbt-athena's
    insert_overwrite does.
    """

    schema: str
    name: str
    description: str
    columns: tuple[Field, ...]
    location: str
    code_version: str
    data_version: str
    partition_by: tuple[str, ...] = ()
    partitions: Mapping[tuple[str, ...], str]
    may_project: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def is_projected(self) -> bool:
        """Whether its partitions are projected instead of registered.

        A projection lists its values separated by commas, as text: values with other characters and the partition of nulls are only
        correct when registered, and an empty list is not allowed.
        """
        values = [value for key in self.partitions for value in key]
        are_plain = all(_PLAIN.fullmatch(value) and value != NULL_PARTITION for value in values)
        return self.may_project and bool(values) and are_plain

    @property
    def registered(self) -> Mapping[tuple[str, ...], str]:
        """The partitions that must be registered in Glue."""
        return {} if self.is_projected else self.partitions


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of a table in Glue that differs from the record."""

    what: str
    expected: str
    found: str


def table_input(table: Table) -> dict[str, Any]:
    """The table as input for Glue's CreateTable and UpdateTable."""
    by_name = {field.name: field for field in table.columns}
    columns = [_column(field) for field in table.columns if field.name not in table.partition_by]
    keys = [_column(by_name.get(name, Field(name, "string"))) for name in table.partition_by]
    return {
        "Name": table.name,
        "Description": _cut(table.description, DESCRIPTION_BYTES),
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": keys,
        "StorageDescriptor": _storage(columns, table.location),
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "parquet",
            MARK: table.code_version,
            DATA_VERSION: table.data_version,
            "catalunya.contract": _hash([columns, keys]),
            **_projection(table),
        },
    }


def partition_inputs(table: Table, wanted: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
    """The given partitions as input for Glue's BatchCreatePartition."""
    columns = table_input(table)["StorageDescriptor"]["Columns"]
    return [
        {"Values": list(values), "StorageDescriptor": _storage(columns, table.registered[values])} for values in wanted
    ]


def differences(table: Table, found: Mapping[str, Any]) -> list[Difference]:
    """How the table that GetTable returned differs from the wanted one; parameters set by others are ignored."""
    wanted = table_input(table)
    here, there = wanted["StorageDescriptor"], found.get("StorageDescriptor") or {}
    compared: list[tuple[str, Any, Any]] = [
        ("comment", wanted["Description"], found.get("Description") or ""),
        ("table type", wanted["TableType"], found.get("TableType") or ""),
        ("location", here["Location"], there.get("Location") or ""),
        ("input format", here["InputFormat"], there.get("InputFormat") or ""),
        ("output format", here["OutputFormat"], there.get("OutputFormat") or ""),
        (
            "serialization",
            here["SerdeInfo"]["SerializationLibrary"],
            (there.get("SerdeInfo") or {}).get("SerializationLibrary") or "",
        ),
    ]
    compared += _compare_columns("column", here["Columns"], there.get("Columns") or [])
    compared += _compare_columns("partition key", wanted["PartitionKeys"], found.get("PartitionKeys") or [])
    given = found.get("Parameters") or {}
    names = {*wanted["Parameters"], *(name for name in given if name.startswith(PROJECTION_PREFIXES))}
    compared += [
        (f"parameter {name}", wanted["Parameters"].get(name, ""), given.get(name, "")) for name in sorted(names)
    ]
    return [Difference(what, str(expected), str(seen)) for what, expected, seen in compared if expected != seen]


def merged(table: Table, found: Mapping[str, Any]) -> dict[str, Any]:
    """The table as input for UpdateTable, keeping the parameters set by others."""
    wanted = table_input(table)
    given = found.get("Parameters") or {}
    foreign = {name: value for name, value in given.items() if not name.startswith(PROJECTION_PREFIXES)}
    return wanted | {"Parameters": foreign | wanted["Parameters"]}


def _projection(table: Table) -> dict[str, str]:
    """Partition projection by the values of the ledger entry's objects, which is correct whatever the column means.

    A rule (years from 2000 to 2100) would make Athena list a hundred empty folders, and would be wrong one day.
    """
    if not table.is_projected:
        return {}
    enums = {name: sorted({values[at] for values in table.partitions}) for at, name in enumerate(table.partition_by)}
    folders = "/".join(f"{name}=${{{name}}}" for name in table.partition_by)
    return {
        "projection.enabled": "true",
        **{f"projection.{name}.type": "enum" for name in enums},
        **{f"projection.{name}.values": ",".join(values) for name, values in enums.items()},
        "storage.location.template": f"{table.location.rstrip('/')}/{folders}/",
    }


def _storage(columns: list[dict[str, str]], location: str) -> dict[str, Any]:
    # Without the slash, a folder whose name starts with the same characters would be read too.
    return {"Columns": columns, "Location": f"{location.rstrip('/')}/", **_FORMAT}


def _column(field: Field) -> dict[str, str]:
    unit = f" [{field.unit}]" if field.unit else ""
    comment = _cut(field.description, COMMENT_BYTES - len(unit.encode())) + unit
    return {"Name": field.name, "Type": GLUE_TYPES[field.type], "Comment": comment}


def _compare_columns(
    kind: str, wanted: Sequence[Mapping[str, str]], found: Sequence[Mapping[str, str]]
) -> list[tuple[str, str, str]]:
    """The columns compared: type and comment of each, and their order."""
    there = {column["Name"]: column for column in found}
    here = {column["Name"]: column for column in wanted}
    compared = [(f"{kind} {name}", "", there[name].get("Type", "")) for name in there if name not in here]
    for name, column in here.items():
        if name not in there:
            compared.append((f"{kind} {name}", column["Type"], ""))
            continue
        compared.append((f"{kind} {name}", column["Type"], there[name].get("Type", "")))
        compared.append((f"comment of {name}", column["Comment"], there[name].get("Comment") or ""))
    if here.keys() == there.keys():
        compared.append((f"order of {kind}s", ", ".join(here), ", ".join(there)))
    return compared


def _cut(text: str, limit: int) -> str:
    """The text on one line, cut to this many bytes of UTF-8."""
    line = " ".join(text.split())
    if len(line.encode()) <= limit:
        return line
    return line.encode()[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
