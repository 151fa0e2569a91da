"""Running statements: queries on DuckDB over the tables' objects, CREATE TABLE AS, INSERT and DDL.

Here: what each kind of statement does, and when a whole statement is refused. Not here: the rules for expressions
(`strict.py`), the API (`server.py`).
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from athena.refusals import RefusedError, StoppedError
from athena.storage import CSV_SERDE, Storage, Table, glue_type
from athena.strict import check_types, check_words, typed
from athena.translate import to_duckdb

CATALOG = "awsdatacatalog"
OPEN_PARTITIONS = 100
_PROPERTIES = {"table_type", "is_external", "external_location", "format", "partitioned_by", "write_compression"}


@dataclass
class Result:
    """The result of a statement: columns (name, Athena's type), rows as text, and bytes scanned."""

    kind: str = "DML"
    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    updated: int | None = None
    scanned: int = 0


class Engine:
    """Runs one statement at a time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._one_at_a_time = threading.Lock()
        self._views = _Views()

    def run(self, sql: str, database: str, most: int | None = None) -> Result:
        """Run a statement that may scan at most `most` bytes. Raises RefusedError with Athena's message, StoppedError above the limit."""
        text = re.sub(r"\A(\s*--[^\n]*\n|\s*/\*.*?\*/)+", "", sql, flags=re.DOTALL).strip().rstrip(";").strip()
        with self._one_at_a_time:
            if re.match(
                r"(select|with|insert|values|\(|create\s+table\s+\S+\s+(with\s*\(.*\)\s*)?as\b)",
                text,
                re.IGNORECASE | re.DOTALL,
            ):
                return self._run_query(text, database, most)
            return self._run_ddl(text, database)

    def _run_query(self, text: str, database: str, most: int | None) -> Result:
        check_words(text)
        try:
            trees = [tree for tree in sqlglot.parse(text, read="athena") if tree is not None]
        except SqlglotError as error:
            first = " ".join(str(error).split())
            raise RefusedError(f"mismatched input: {first[:300]}") from error
        if len(trees) != 1:
            raise RefusedError("Only one sql statement is allowed. Got: " + text[:200])
        [tree] = trees
        with _Session(self._storage, self._views, tree, database) as session:
            if most is not None and session.scanned > most:
                raise StoppedError("Bytes scanned limit was exceeded")
            match tree:
                case exp.Create():
                    return self._create_as(tree, session)
                case exp.Insert():
                    return self._insert(tree, session)
                case exp.Query():
                    return session.select(tree)
        raise RefusedError(f"Queries of this type are not supported: {text[:80]}")

    def _create_as(self, tree: exp.Create, session: _Session) -> Result:
        given = _properties(tree)
        unknown = given.keys() - _PROPERTIES
        if unknown:
            raise RefusedError(
                f"INVALID_TABLE_PROPERTY: Catalog 'awsdatacatalog' table property '{min(unknown)}' does not exist"
            )
        if (given.get("format", "parquet").lower(), given.get("table_type", "hive").lower()) != ("parquet", "hive"):
            raise RefusedError("NOT_SUPPORTED: this executor writes Parquet tables of type hive only")
        database, name = session.resolve(tree.find(exp.Table))
        location = given.get("external_location", "").rstrip("/")
        if not location:
            raise RefusedError("NOT_SUPPORTED: this executor needs an external_location")
        if not self._storage.has_database(database):
            raise RefusedError(f"SCHEMA_NOT_FOUND: Schema '{database}' does not exist")
        if self._storage.table(database, name):
            raise RefusedError(
                f"TABLE_ALREADY_EXISTS: line 1:1: Destination table '{CATALOG}.{database}.{name}' already exists"
            )
        if self._storage.exists(location):
            raise RefusedError(
                f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{database}.{name}' already exists: {location}/"
            )
        keys = [key.lower() for key in re.findall(r"'([^']*)'", given.get("partitioned_by", ""))]
        described = session.evaluate(tree.expression)
        columns = dict(described)
        if len(columns) != len(described) or any(name.startswith("_col") for name in columns):
            raise RefusedError("MISSING_COLUMN_NAME: Column name not specified, or specified twice, in CREATE TABLE AS")
        for column, kind in columns.items():
            glue_type(column, kind)
        if keys and list(columns)[-len(keys) :] != keys:
            raise RefusedError(
                f"HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table and in the same order as the table properties: {keys}"
            )
        table = Table(
            database,
            name,
            location,
            {name: kind for name, kind in columns.items() if name not in keys},
            {key: columns[key] for key in keys},
        )
        result = session.store(table, list(columns))
        self._storage.create_table(table, {"parquet.compression": "GZIP"})
        self._storage.register(table, result.partitions)
        return Result("DDL", updated=result.rows, scanned=session.scanned)

    def _insert(self, tree: exp.Insert, session: _Session) -> Result:
        target = tree.this
        database, name = session.resolve(target.find(exp.Table))
        table = self._storage.table(database, name)
        if table is None:
            raise RefusedError(f"TABLE_NOT_FOUND: line 1:1: Table '{CATALOG}.{database}.{name}' does not exist")
        if tree.args.get("overwrite"):
            raise RefusedError("mismatched input 'OVERWRITE'. Expecting: 'INTO'")
        every = table.all_columns
        names = (
            [column.name.lower() for column in target.expressions] if isinstance(target, exp.Schema) else list(every)
        )
        unknown = [name for name in names if name not in every]
        if unknown:
            raise RefusedError(f"COLUMN_NOT_FOUND: Insert column name does not exist in target table: {unknown[0]}")
        described = session.evaluate(tree.expression)
        wanted = [every[name] for name in names]
        found = [kind for _, kind in described]
        if len(wanted) != len(found) or any(not _coercible(one, to) for one, to in zip(found, wanted, strict=True)):
            raise RefusedError(
                f"TYPE_MISMATCH: Insert query has mismatched column types: Table: [{', '.join(wanted)}], Query: [{', '.join(found)}]"
            )
        result = session.store(table, names)
        self._storage.register(table, result.partitions)
        return Result("DML", [("rows", "bigint")], updated=result.rows, scanned=session.scanned)

    def _run_ddl(self, text: str, database: str) -> Result:
        if re.search(r'"', re.sub(r"'[^']*'", "", text)):
            raise RefusedError(
                f"FAILED: ParseException line 1:0 cannot recognize input near '\"' in {text[:60]}: DDL quotes with backticks"
            )
        name = r"`?([a-z0-9_]+)`?"
        if found := re.fullmatch(rf"create\s+(?:schema|database)\s+(if\s+not\s+exists\s+)?{name}", text, re.IGNORECASE):
            self._storage.create_database(found[2].lower(), if_not_exists=bool(found[1]))
        elif found := re.fullmatch(rf"drop\s+table\s+(if\s+exists\s+)?(?:{name}\.)?{name}", text, re.IGNORECASE):
            if not self._storage.drop_table((found[2] or database).lower(), found[3].lower()) and not found[1]:
                raise RefusedError(f"FAILED: SemanticException [Error 10001]: Table not found {found[3]}")
        elif found := re.fullmatch(
            rf"alter\s+table\s+(?:{name}\.)?{name}\s+set\s+tblproperties\s*\((.*)\)", text, re.IGNORECASE | re.DOTALL
        ):
            where = ((found[1] or database).lower(), found[2].lower())
            if self._storage.table(*where) is None:
                raise RefusedError(f"FAILED: SemanticException [Error 10001]: Table not found {'.'.join(where)}")
            self._storage.set_properties(*where, dict(re.findall(r"'([^']*)'\s*=\s*'([^']*)'", found[3])))
        elif found := re.fullmatch(
            rf"create\s+external\s+table\s+(?:{name}\.)?{name}\s*\((.*)\)\s*row\s+format\s+serde\s+'([^']*)'\s*"
            r"location\s+'([^']*)'\s*tblproperties\s*\(\s*'skip\.header\.line\.count'\s*=\s*'1'\s*\)",
            text,
            re.IGNORECASE | re.DOTALL,
        ):
            self._create_csv_table((found[1] or database).lower(), found[2].lower(), found[3], found[4], found[5])
        else:
            raise RefusedError(
                f"NOT_SUPPORTED: this executor does not run {text[:80]!r}; add it to tests/athena/engine.py"
            )
        return Result("DDL")

    def _create_csv_table(self, database: str, name: str, columns: str, serde: str, location: str) -> None:
        """An external table over CSV with a header line, as dbt-athena creates for a seed: all columns are text."""
        declared = [
            re.fullmatch(r"`?([a-z0-9_]+)`?\s+string", column.strip(), re.IGNORECASE) for column in columns.split(",")
        ]
        if serde != CSV_SERDE or None in declared:
            raise RefusedError(f"NOT_SUPPORTED: this executor reads CSV by {CSV_SERDE}, all columns string")
        if self._storage.table(database, name):
            raise RefusedError(f"FAILED: AlreadyExistsException: Table {name} already exists")
        kinds = {column[1].lower(): "varchar" for column in declared if column}
        self._storage.create_table(Table(database, name, location.rstrip("/"), kinds, {}, is_csv=True), {})


@dataclass(frozen=True)
class _Stored:
    rows: int
    partitions: dict[tuple[str, ...], str]


class _Views:
    """One DuckDB for all statements. The view of a table is kept until the table's definition or objects change."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute(f"attach ':memory:' as {CATALOG}")
        self.connection.execute("set threads = 1")
        self._known: dict[tuple[str, str], tuple[Table, list[Path]]] = {}

    def add(self, table: Table, files: list[Path]) -> None:
        """Create the view of a table over its objects if needed. Raises RefusedError when a file has another type."""
        where = (table.database, table.name)
        if self._known.get(where) == (table, files):
            return
        self.connection.execute(f'create schema if not exists {CATALOG}."{table.database}"')
        available, source = dict[str, str](), "(select 1)"
        listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
        if files and table.is_csv:
            # The SerDe has no nulls: an empty field is an empty string.
            fields = ", ".join(f'coalesce("{name}", \'\') as "{name}"' for name in table.columns)
            types = ", ".join(f"'{name}': 'varchar'" for name in table.columns)
            source = f"(select {fields} from read_csv([{listed}], header = true, columns = {{{types}}}))"
            available = dict(table.columns)
        elif files:
            hive = "hive_partitioning = false"
            if table.keys:
                types = ", ".join(f'"{key}": {kind}' for key, kind in table.keys.items())
                hive = f"hive_partitioning = true, hive_types = {{{types}}}"
            source = f"read_parquet([{listed}], union_by_name = true, {hive})"
            available = {
                row[0]: _trino(row[1]) for row in self.connection.execute(f"describe from {source}").fetchall()
            }
        for name, kind in table.columns.items():
            if available.get(name, kind) != kind:
                raise RefusedError(
                    f"HIVE_BAD_DATA: Field {name}'s type {available[name]} in parquet file is incompatible with type {kind} "
                    f"defined in table schema of {table.database}.{table.name}"
                )
        chosen = ", ".join(
            'cast({} as {}) as "{}"'.format(f'"{name}"' if name in available else "null", kind, name)
            for name, kind in table.all_columns.items()
        )
        where_sql = "" if files else " where false"
        self.connection.execute(
            f'create or replace view {CATALOG}."{table.database}"."{table.name}" as select {chosen} from {source}{where_sql}'
        )
        self._known[where] = (table, files)


class _Session:
    """DuckDB with the tables that one statement reads."""

    def __init__(self, storage: Storage, views: _Views, tree: exp.Expression, database: str) -> None:
        self._storage, self._views, self._database, self.scanned = storage, views, database.lower(), 0
        self._connection = views.connection
        self._reads: dict[tuple[str, str], Table] = {}
        body = tree.expression if isinstance(tree, exp.Create | exp.Insert) else tree
        known = {cte.alias.lower() for cte in body.find_all(exp.CTE)}
        for node in body.find_all(exp.Table):
            if not node.db and node.name.lower() in known:
                continue
            where = self.resolve(node)
            table = storage.table(*where)
            if table is None:
                line = f"line {node.this.meta.get('line', 1)}:{node.this.meta.get('col', 1)}"
                raise RefusedError(f"TABLE_NOT_FOUND: {line}: Table '{CATALOG}.{'.'.join(where)}' does not exist")
            self._reads[where] = table

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="athena-"))
        for table in self._reads.values():
            files, size = self._storage.files(table)
            self.scanned += size
            self._views.add(table, files)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute("drop table if exists result")
        shutil.rmtree(self._folder)

    def resolve(self, node: Any) -> tuple[str, str]:
        """Database and name of a table in a statement. Raises RefusedError for another catalog."""
        if node.catalog and node.catalog.lower() != CATALOG:
            raise RefusedError(f"CATALOG_NOT_FOUND: Catalog '{node.catalog}' does not exist")
        return (node.db or self._database).lower(), node.name.lower()

    def select(self, tree: exp.Expression) -> Result:
        """The rows of a query."""
        columns = self.evaluate(tree)
        rows = self._connection.execute("from result").fetchall()
        shown = [[_shown(value) for value in row] for row in rows]
        return Result("DML", columns, shown, scanned=self.scanned)

    def evaluate(self, tree: exp.Expression) -> list[tuple[str, str]]:
        """Run a query into the table `result`. Returns its columns: names and Trino's types."""
        schema: dict[str, Any] = {}
        for (database, name), table in self._reads.items():
            schema.setdefault(CATALOG, {}).setdefault(database, {})[name] = table.all_columns
        query = typed(tree.unnest() if isinstance(tree, exp.Subquery) else tree, schema, self._database)
        check_types(query)
        names = [column.alias_or_name for column in query.selects]
        try:
            numbered = ", ".join(f"c{number}" for number in range(len(names)))
            self._connection.execute(f"create table result as select * from ({to_duckdb(query)}) as q({numbered})")
            described = self._connection.execute("describe result").fetchall()
        except duckdb.Error as error:
            reason = " ".join(str(error).split())
            raise RefusedError(f"GENERIC_USER_ERROR: line 1:1: {reason[:400]}") from error
        return [(name, _trino(kind)) for name, (_, kind, *_) in zip(names, described, strict=True)]

    def store(self, table: Table, names: list[str]) -> _Stored:
        """Write the rows of `result`, with the columns `names`, below a table's location, one file per partition."""
        chosen = ", ".join(
            f'{_kept(f"c{names.index(name)}", kind) if name in names else "null"}::{kind} as "{name}"'
            for name, kind in table.all_columns.items()
        )
        [(rows,)] = self._connection.execute("select count(*) from result").fetchall()
        out, number = self._folder / "out", uuid.uuid4().hex
        if not table.keys:
            out.mkdir()
            self._connection.execute(f"copy (select {chosen} from result) to '{out}/file' (format parquet)")
            self._storage.write([(out / "file", f"{table.location}/{number}")])
            return _Stored(rows, {})
        keys = ", ".join(f'"{key}"' for key in table.keys)
        [(count,)] = self._connection.execute(
            f"select count(*) from (select distinct {keys} from (select {chosen} from result))"
        ).fetchall()
        if count > OPEN_PARTITIONS:
            raise RefusedError(
                f"HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {OPEN_PARTITIONS} open writers for partitions/buckets"
            )
        if not rows:
            return _Stored(0, {})
        self._connection.execute(
            f"copy (select {chosen} from result) to '{out}' (format parquet, partition_by ({keys}))"
        )
        files = sorted(out.rglob("*.parquet"))
        places = {file: file.parent.relative_to(out).as_posix() for file in files}
        self._storage.write(
            [(file, f"{table.location}/{place}/{number}_{file.stem}") for file, place in places.items()]
        )
        partitions = {
            tuple(unquote(part.partition("=")[2]) for part in place.split("/")): f"{table.location}/{place}"
            for place in places.values()
        }
        return _Stored(rows, partitions)


def _properties(tree: exp.Create) -> dict[str, str]:
    found = {}
    for given in tree.args["properties"].expressions if tree.args.get("properties") else []:
        match given:
            case exp.FileFormatProperty():
                found["format"] = given.this.name
            case exp.PartitionedByProperty():
                found["partitioned_by"] = given.this.sql(dialect="trino")
            case exp.Property():
                found[given.name.lower()] = getattr(given.args.get("value"), "name", "")
    return found


def _coercible(kind: str, to: str) -> bool:
    order = ["tinyint", "smallint", "integer", "bigint", "double"]
    if kind in order and to in order:
        return order.index(kind) <= order.index(to)
    return kind in (to, "unknown") or (kind, to) == ("date", "timestamp")


def _kept(column: str, kind: str) -> str:
    """Hive's timestamps have milliseconds."""
    return f"date_trunc('millisecond', {column})" if kind == "timestamp" else column


def _trino(kind: str) -> str:
    """Trino's name of a type of DuckDB."""
    if kind in ("HUGEINT", "UBIGINT", "UHUGEINT"):
        raise RefusedError(
            f"NOT_SUPPORTED: DuckDB gave a {kind}, which Athena would not: fix tests/athena/translate.py"
        )
    names = {'"NULL"': "unknown", "TIMESTAMP_MS": "timestamp", "TIMESTAMP_NS": "timestamp", "FLOAT": "real"}
    return names.get(kind, kind.lower())


def _shown(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case _ if hasattr(value, "hour"):
            return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}"
        case _:
            return str(value)
