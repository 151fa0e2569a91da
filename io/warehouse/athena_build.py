"""Building a model on Athena: dbt makes it as a candidate, in a database and a folder where no reader looks.

A build changes no published table. Whatever the model reads is read where it is published; the model and its seeds are built in
`catalunya_candidates_{env}`, below `_candidates/{model}/` of the lake, read back, and dropped. What a killed run left there is
dropped when the model is built next.

Here: that place, and the built table as Parquet. Not here: running dbt (`dbt.py`), publishing and its lease
(`assets/making/materialize.py`), the published tables in Glue (`glue.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from catalunya.io.aws import client, text_of
from catalunya.io.environment import Settings
from catalunya.io.errors import ConfigurationError, warehouse_error
from catalunya.io.lake import Lake
from catalunya.io.log import get_logger
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.dbt import Databases, seed_table
from catalunya.io.warehouse.dbt_models import Model
from catalunya.io.warehouse.duckdb import write_sorted
from catalunya.io.warehouse.glue import SCHEMAS, Glue
from catalunya.io.warehouse.glue_table import GLUE_TYPES, Field, Table
from catalunya.io.warehouse.relation import Relation, arrow_dataset, empty_sql, literal, quoted, scan_sql

log = get_logger(__name__)

CATALOG = "awsdatacatalog"
CANDIDATES = "candidates"  # the schema whose Glue database holds them
FOLDER = "_candidates"
UPLOADS = 8
# What dbt-athena appends to a table's name for temporary tables, which it drops unless it is killed.
_SUFFIXES = ("", "__dbt_tmp", "__tmp_not_partitioned", "__dbt_tmp__tmp_not_partitioned")
_TYPES = {glue: logical for logical, glue in GLUE_TYPES.items()}


class AthenaWorkspace:
    """Where the candidate of one model is built."""

    def __init__(self, model: Model, settings: Settings, scratch: Path) -> None:
        if "://" not in settings.lake:
            raise ConfigurationError(
                f"CATALUNYA_ENGINE=athena: expected a lake on S3, found {settings.lake}; set CATALUNYA_LAKE=s3://… or CATALUNYA_ENGINE=duckdb"
            )
        self._model, self._settings, self._scratch = model, settings, scratch
        self._lake = Lake(
            settings.lake,
            encryption=settings.lake_encryption,
            kms_key_id=settings.lake_kms_key_id,
            attempts=settings.lake_attempts,
        )
        self._database = settings.glue_database(CANDIDATES)
        self._folder = f"{FOLDER}/{model.name}"
        published = {schema: settings.glue_database(schema) for schema in SCHEMAS}
        self.databases: Databases | None = Databases(CATALOG, published, self._database)
        self.variables: Mapping[str, str] = {
            "athena_database": self._database,
            "athena_data": f"{self._lake.url(self._folder)}/",
            "athena_results": settings.athena_results,
            "athena_work_group": settings.athena_work_group,
        }

    @cached_property
    def _glue(self) -> Any:
        return client("glue")

    def clear(self) -> None:
        """Drop the candidate's tables and objects, whichever run left them. Raises WarehouseError, LakeError."""
        made = [self._model.name, *(seed_table(self._model.name, seed) for seed in self._model.seeds)]
        with self._errors("drop the candidate"):
            for name in (f"{table}{suffix}" for table in made for suffix in _SUFFIXES):
                try:
                    self._glue.delete_table(DatabaseName=self._database, Name=name)
                except self._glue.exceptions.EntityNotFoundException:
                    continue
        left = [stored.path for stored in self._lake.objects(self._folder)]
        if left:
            self._lake.delete(left)

    def register(self, relation: Relation) -> None:
        """Register an input in Glue if it is missing there: Glue could not be reached when the table was published, or the table is
        optional and was never made."""
        database = self._settings.glue_database(relation.schema)
        with self._errors(f"find {relation}"):
            try:
                self._glue.get_table(DatabaseName=database, Name=relation.name)
            except self._glue.exceptions.EntityNotFoundException:
                note = log.warning if relation.files else log.info
                note("input_was_not_in_glue", table=str(relation), database=database)
                Glue(self._settings).publish(as_table(relation, self._settings))

    def copy_previous(self, previous: Relation) -> None:
        """Copy the published rows into the candidate, from which an incremental model continues, in the partitions that
        dbt-athena's insert_overwrite will replace. They are registered, because it replaces only partitions that Glue lists."""
        import duckdb

        keys = self._model.partitioned_by
        folder, order = self._scratch / "previous", ", ".join(map(quoted, keys)) or "all"
        with duckdb.connect() as connection:
            select = empty_sql(previous)
            if previous.files:
                files = arrow_dataset(previous)
                connection.register("_files", files)
                select = scan_sql(previous, "_files", files.schema.names)
            options = "format parquet, compression zstd"
            options += f", partition_by ({order})" if keys else ", per_thread_output true"
            connection.execute(f"copy ({select} order by {order}) to {literal(str(folder))} ({options})")
        found = sorted(folder.rglob("*.parquet"))
        location = f"{self._folder}/{self._model.name}"
        places = [(file, f"{location}/{file.relative_to(folder).as_posix()}") for file in found]
        with ThreadPoolExecutor(UPLOADS) as pool:
            for done in [pool.submit(self._lake.put, path, file) for file, path in places]:
                done.result()
        Glue(self._settings).publish(
            Table(
                schema=CANDIDATES,
                name=self._model.name,
                description="",
                columns=tuple(Field(name, kind) for name, kind in previous.columns.items()),
                location=self._lake.url(location),
                code_version="",
                data_version="",
                partition_by=keys,
                partitions=_partitions((self._lake.url(path) for _, path in places), len(keys)),
                may_project=False,
            )
        )

    def first_row(self, sql: str) -> dict[str, Any] | None:
        """The first row of a data test's SQL, by column."""
        first = f"select * from ({sql}) as failures limit 1"  # noqa: S608  compiled by dbt
        rows = Athena(self._settings, ()).run(first).frame
        return rows.row(0, named=True) if rows.height else None

    def export(self, order_by: Sequence[str]) -> tuple[Path, int]:
        """The candidate as one local Parquet file, rows by `order_by`, and its number of rows."""
        import duckdb

        with self._errors("read the candidate"):
            table = self._glue.get_table(DatabaseName=self._database, Name=self._model.name)["Table"]
        keys = tuple(key["Name"] for key in table.get("PartitionKeys") or ())
        columns = [*table["StorageDescriptor"]["Columns"], *(table.get("PartitionKeys") or ())]
        kinds = {column["Name"]: _TYPES[column["Type"]] for column in columns}
        location = table["StorageDescriptor"]["Location"].removeprefix(f"{self._lake.root}/").rstrip("/")
        built = Relation(
            schema=CANDIDATES,
            name=self._model.name,
            # Athena puts partition columns last; a published table has the order of its contract.
            columns={name: kinds[name] for name in self._model.columns if name in kinds} | kinds,
            files=tuple(self._lake.url(stored.path) for stored in self._lake.objects(location) if stored.size),
            partition_by=keys,
        )
        with duckdb.connect() as connection:
            if built.files:
                connection.register("_files", arrow_dataset(built))
            select = scan_sql(built, "_files") if built.files else empty_sql(built)
            return write_sorted(connection, f"({select})", order_by, self._scratch)

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise warehouse_error(
                f"marts.{self._model.name}: cannot {verb} in {self._database}: {text_of(error)}; nothing was published: "
                "check the permissions of the role that makes the marts, or try again",
                text_of(error),
            ) from error


@contextmanager
def open_athena(
    model: Model, inputs: Sequence[Relation], previous: Relation | None, settings: Settings, scratch: Path
) -> Iterator[AthenaWorkspace]:
    """A place for the model's candidate, which is cleared afterwards in any case.

    Raises ConfigurationError when the lake is not on S3, WarehouseError when Glue or S3 refuses.
    """
    workspace = AthenaWorkspace(model, settings, scratch)
    workspace.clear()
    for relation in inputs:
        workspace.register(relation)
    try:
        if previous and model.is_incremental:
            workspace.copy_previous(previous)
        yield workspace
    finally:
        workspace.clear()


def as_table(relation: Relation, settings: Settings) -> Table:
    """A published table as Glue takes it, without what only its contract says."""
    depth = len(relation.partition_by)
    location = f"{settings.lake}/{FOLDER}/_none/{relation}"
    if relation.files:
        location = relation.files[0].rpartition("/")[0].rsplit("/", depth)[0]
    return Table(
        schema=relation.schema,
        name=relation.name,
        description="",
        columns=tuple(Field(name, kind) for name, kind in relation.columns.items()),
        location=location,
        code_version="",
        data_version="",
        partition_by=relation.partition_by,
        partitions=_partitions(relation.files, depth),
        may_project=False,
    )


def _partitions(files: Iterable[str], depth: int) -> dict[tuple[str, ...], str]:
    """The partitions that files lie in: values -> folder. The values are the last `depth` folders of a path."""
    folders = {file.rpartition("/")[0] for file in files} if depth else set[str]()
    return {tuple(unquote(name.partition("=")[2]) for name in folder.split("/")[-depth:]): folder for folder in folders}
