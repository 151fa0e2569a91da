"""Building a model on Athena: dbt makes it as a candidate, in a database and a folder where no reader looks.

What is published is never touched here: what a model refers to is read where it is published, the model itself is built in
`catalunya_candidates_{env}` under `_candidates/{model}/` of the lake, read back, and dropped. What a killed run left there
goes when the model is next built. Here: that place, and its result as Parquet. Not here: running dbt (`dbt_project.py`),
publishing and its lease (`assets/making/materialize.py`), the published tables in Glue (`glue.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import structlog

from catalunya.io.aws import client, text_of
from catalunya.io.environment import Settings
from catalunya.io.errors import ConfigurationError, WarehouseError
from catalunya.io.lake import Lake
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.dbt_project import DbtProject, Model
from catalunya.io.warehouse.duckdb_warehouse import write_sorted
from catalunya.io.warehouse.glue import Glue
from catalunya.io.warehouse.glue_table import GLUE_TYPES, Field, Table
from catalunya.io.warehouse.relation import Relation, arrow_dataset, empty_sql, literal, quoted, scan_sql

log = structlog.get_logger(__name__)

CATALOG = "awsdatacatalog"
CANDIDATES = "candidates"  # the schema whose Glue database holds them
FOLDER = "_candidates"
UPLOADS = 8
# Tables that dbt-athena makes beside the model's own, and drops unless it is killed.
_BESIDE = ("", "__dbt_tmp", "__tmp_not_partitioned", "__dbt_tmp__tmp_not_partitioned")
_TYPES = {glue: logical for logical, glue in GLUE_TYPES.items()}


class AthenaWorkplace:
    """Where the candidate of one model is."""

    def __init__(self, project: DbtProject, model: Model, settings: Settings, scratch: Path) -> None:
        if "://" not in settings.lake:
            raise ConfigurationError(
                f"CATALUNYA_ENGINE=athena: expected a lake on S3, found {settings.lake}; set CATALUNYA_LAKE=s3://… or CATALUNYA_ENGINE=duckdb"
            )
        self._model, self._settings, self._scratch = model, settings, scratch
        self._node = next(node for node in project.manifest.nodes.values() if node.name == model.name)
        self._lake = Lake(
            settings.lake,
            encryption=settings.lake_encryption,
            kms_key_id=settings.lake_kms_key_id,
            attempts=settings.lake_attempts,
        )
        self._database = settings.glue_database(CANDIDATES)
        self._folder = f"{FOLDER}/{model.name}"
        self._point(project.manifest)
        self.variables: Mapping[str, str] = {
            "athena_database": self._database,
            "athena_data": f"{self._lake.url(self._folder)}/",
            "athena_results": settings.athena_results,
            "athena_work_group": settings.athena_work_group,
        }

    @property
    def is_incremental(self) -> bool:
        """Whether the model goes on from what is published."""
        return bool(self._node.config.materialized == "incremental")

    @cached_property
    def _glue(self) -> Any:
        return client("glue")

    def _point(self, manifest: Any) -> None:
        """Have dbt build this model as a candidate, and read all others, and the sources, where they are published."""
        for node in (*manifest.nodes.values(), *manifest.sources.values()):
            if node.resource_type not in ("model", "source"):
                continue
            schema = "staging" if node.resource_type == "source" else "marts"
            schema = CANDIDATES if node is self._node else schema
            node.database, node.schema = CATALOG, self._settings.glue_database(schema)
            node.relation_name = f'"{node.database}"."{node.schema}"."{node.name}"'

    def clear(self) -> None:
        """Drop the candidate's tables and objects, whoever left them. Raises WarehouseError, LakeError."""
        with self._errors("drop the candidate"):
            for beside in _BESIDE:
                try:
                    self._glue.delete_table(DatabaseName=self._database, Name=f"{self._model.name}{beside}")
                except self._glue.exceptions.EntityNotFoundException:
                    continue
        left = [stored.path for stored in self._lake.objects(self._folder)]
        if left:
            self._lake.delete(left)

    def register(self, relation: Relation) -> None:
        """See to it that Glue has an input: it does, unless it could not be told when the table was published."""
        database = self._settings.glue_database(relation.schema)
        with self._errors(f"find {relation}"):
            try:
                self._glue.get_table(DatabaseName=database, Name=relation.name)
            except self._glue.exceptions.EntityNotFoundException:
                log.warning("table_was_not_catalogd", table=str(relation), database=database)
                Glue(self._settings).publish(as_table(relation, self._settings))

    def seed(self, previous: Relation) -> None:
        """Have the model go on from what is published: the same rows, as a candidate, in the partitions that dbt-athena's
        insert_overwrite will replace. They are registered, for it takes away only those that Glue tells it of."""
        import duckdb

        keys = [str(name) for name in self._node.config.get("partitioned_by") or ()]
        split, order = self._scratch / "previous", ", ".join(map(quoted, keys)) or "all"
        with duckdb.connect() as connection:
            query = empty_sql(previous)
            if previous.files:
                files = arrow_dataset(previous)
                connection.register("_files", files)
                query = scan_sql(previous, "_files", files.schema.names)
            options = "format parquet, compression zstd"
            options += f", partition_by ({order})" if keys else ", per_thread_output true"
            connection.execute(f"copy ({query} order by {order}) to {literal(str(split))} ({options})")
        found = sorted(split.rglob("*.parquet"))
        location = f"{self._folder}/{self._model.name}"
        places = [(file, f"{location}/{file.relative_to(split).as_posix()}") for file in found]
        with ThreadPoolExecutor(UPLOADS) as pool:
            for done in [pool.submit(self._lake.put, path, file) for file, path in places]:
                done.result()
        folders = [file.relative_to(split).parent.as_posix() for file in found] if keys else []
        Glue(self._settings).publish(
            Table(
                schema=CANDIDATES,
                name=self._model.name,
                description="",
                columns=tuple(Field(name, kind) for name, kind in previous.columns.items()),
                location=self._lake.url(location),
                code_version="",
                data_version="",
                partition_by=tuple(keys),
                partitions={
                    tuple(unquote(part.partition("=")[2]) for part in folder.split("/")): self._lake.url(
                        f"{location}/{folder}"
                    )
                    for folder in folders
                },
                may_project=False,
            )
        )

    def first_row(self, query: str) -> dict[str, Any] | None:
        """The first row of a query of dbt's, by column."""
        sql = f"select * from ({query}) as failures limit 1"  # noqa: S608  dbt's own
        rows = Athena(self._settings, ()).ask(sql).frame
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
            # Athena has partition columns last; the contract's order is every table's.
            columns={name: kinds[name] for name in self._node.columns if name in kinds} | kinds,
            files=tuple(self._lake.url(stored.path) for stored in self._lake.objects(location) if stored.size),
            partition_by=keys,
        )
        with duckdb.connect() as connection:
            if built.files:
                connection.register("_files", arrow_dataset(built))
            query = scan_sql(built, "_files") if built.files else empty_sql(built)
            return write_sorted(connection, f"({query})", order_by, self._scratch)

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise WarehouseError(
                f"marts.{self._model.name}: cannot {verb} in {self._database}: {text_of(error)}; nothing was published: "
                "see what the role of the marts may do, or try again"
            ) from error


@contextmanager
def open_athena(
    project: DbtProject,
    model: Model,
    inputs: Sequence[Relation],
    previous: Relation | None,
    settings: Settings,
    scratch: Path,
) -> Iterator[AthenaWorkplace]:
    """A place for the model's candidate, from which it is gone afterwards, whatever happens.

    Raises ConfigurationError where there is no lake on S3, WarehouseError when Glue or S3 refuses.
    """
    place = AthenaWorkplace(project, model, settings, scratch)
    place.clear()
    for relation in inputs:
        place.register(relation)
    try:
        if previous and place.is_incremental:
            place.seed(previous)
        yield place
    finally:
        place.clear()


def as_table(relation: Relation, settings: Settings) -> Table:
    """A published table as the catalog takes it, without what only its contract tells."""
    parts = len(relation.partition_by)
    folders = {file.rpartition("/")[0] for file in relation.files}
    location = next(iter(folders)).rsplit("/", parts)[0] if folders else f"{settings.lake}/{FOLDER}/_none/{relation}"
    return Table(
        schema=relation.schema,
        name=relation.name,
        description="",
        columns=tuple(Field(name, kind) for name, kind in relation.columns.items()),
        location=location,
        code_version="",
        data_version="",
        partition_by=relation.partition_by,
        partitions={
            tuple(unquote(part.partition("=")[2]) for part in folder.split("/")[-parts:]): folder
            for folder in folders
            if parts
        },
        may_project=False,
    )
