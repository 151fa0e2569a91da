"""What the named queries read on Athena, against the partitions and columns that their answers need: `python bench/athena_bytes.py LAKE`,
a lake on this machine whose marts were made. Prints one JSON line for each query, in bytes of column chunks (Parquet footers say them).

Each mart is laid out as on Athena, a file for each partition, and those that are made daily get `DAYS` days. Then, for each query:

- `needed`: the chunks of the columns that it reads, in the partitions without which its answer changes;
- `pruned`: in the partitions left if Athena applies what a subquery finds (`date_id = (select max(date_id) …)`) to the list of partitions,
  as Trino's dynamic filters do;
- `all`: in all partitions, if it does not.

Limits: Athena itself is not asked, and whether it prunes by a subquery is not known here; it also reads footers (some KB a file) and bills 10 MB
for a query at least, which is more than any of these tables has. Row groups that statistics exclude are counted as read.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from figures import Figure, mock

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.named_queries import saved_queries

DAYS = 60
DAILY = "fact_service_usage_daily"
_PARTITIONED = re.compile(r"replacing\('\w+', partitioned_by=\['(\w+)'\]\)")


def partition_column(project: Project, key: str) -> str | None:
    """The column by which a mart is partitioned on Athena: locally, its declaration has none."""
    found = _PARTITIONED.search(Path(project.graph[key].module).read_text(encoding="utf-8"))
    return found[1] if found else None


def lay_out(project: Project, folder: Path) -> dict[str, str | None]:
    """Write each mart as Athena has it. Returns its partition column."""
    columns: dict[str, str | None] = {}
    for asset in project.graph.select("layer:marts"):
        entry = project.ledger.latest(asset.key)
        assert entry, f"{asset.key} was never made"
        rows = f"select * from read_parquet({[project.lake.url(stored.path) for stored in entry.objects]}, hive_partitioning = true)"
        if asset.name == DAILY:
            days = "date_id - cast(n as integer) as date_id, places + n as places, occupancy_ratio + n / 1e6 as occupancy_ratio"
            rows = f"select * replace ({days}) from ({rows}), range({DAYS}) as days(n)"
        column = columns[asset.name] = partition_column(project, asset.key)
        by = f", partition_by ({column})" if column else ""
        to = folder / asset.name if column else folder / asset.name / "file.parquet"
        to.parent.mkdir(exist_ok=True)
        (folder / asset.name).mkdir(exist_ok=True)
        duckdb.sql(f"copy ({rows}) to '{to}' (format parquet, compression zstd{by})")
    return columns


def measured(folder: Path, columns: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """The bytes of each query."""
    sizes = {
        name: {str(file): _chunks(file) for file in sorted((folder / name).rglob("*.parquet"))} for name in columns
    }
    for query in saved_queries():
        tables = {name for name in columns if f"marts.{name}" in query.sql}
        read = {name: _columns_read(query.sql, name, sizes) for name in tables}
        answer = _answer(query.sql, {name: list(files) for name, files in sizes.items()})
        needed = {
            name: {file for file in sizes[name] if _is_needed(query.sql, sizes, name, file, answer)} for name in tables
        }
        whole = sum(_bytes(sizes[name][file], read[name]) for name in tables for file in sizes[name])
        pruned = sum(
            _bytes(sizes[name][file], read[name])
            for name in tables
            for file in (needed[name] if _compares_partition(query.sql, columns[name]) else sizes[name])
        )
        least = sum(_bytes(sizes[name][file], read[name]) for name in tables for file in needed[name])
        yield {
            "query": query.name,
            "needed": least,
            "pruned": pruned,
            "all": whole,
            "pruned_ratio": round(pruned / least, 2),
            "all_ratio": round(whole / least, 2),
            "partitions": {name: f"{len(needed[name])} of {len(sizes[name])}" for name in sorted(tables)},
        }


def _chunks(file: Path) -> dict[str, int]:
    rows = duckdb.sql(
        f"select path_in_schema, sum(total_compressed_size)::bigint from parquet_metadata('{file}') group by all"
    ).fetchall()
    return dict(rows)


def _bytes(chunks: dict[str, int], names: set[str]) -> int:
    return sum(size for name, size in chunks.items() if name in names)


def _columns_read(sql: str, name: str, sizes: dict[str, dict[str, dict[str, int]]]) -> set[str]:
    """The columns of the file that the query names: the query fails on a table without them."""
    known = set(next(iter(sizes[name].values())))
    return {column for column in known if re.search(rf"\b{column}\b", sql)}


def _answer(sql: str, files: dict[str, list[str]]) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        for name, paths in files.items():
            connection.execute(f"create view marts.{name} as from read_parquet({paths}, hive_partitioning = true)")
        return connection.execute(sql).fetchall()


def _is_needed(
    sql: str, sizes: dict[str, dict[str, dict[str, int]]], name: str, file: str, answer: list[tuple[Any, ...]]
) -> bool:
    """Whether the answer is another one without this file. A table's only file is."""
    left = [other for other in sizes[name] if other != file]
    if not left:
        return True
    return _answer(sql, {table: left if table == name else list(files) for table, files in sizes.items()}) != answer


def _compares_partition(sql: str, column: str | None) -> bool:
    return bool(column and re.search(rf"\b{column} = \(\s*select", sql))


def figures(work: Path, _repeat: int) -> Iterator[Figure]:
    """What each query reads, if Athena prunes by what a subquery finds, beside what it needs."""
    import structlog

    from catalunya.assets.making.materialize import materialize

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with mock(20_000) as url:
        project = Project(load_settings(lake=str(work / "queried"), mock_url=url))
        for asset in project.graph:
            materialize(project, asset.key)
    (work / "athena").mkdir()
    for each in measured(work / "athena", lay_out(project, work / "athena")):
        name = f"{each['query']}: bytes scanned on Athena"
        others = {"all partitions": each["all"]}
        yield Figure(name, each["pruned"], "bytes", each["needed"], others, {"floor": 1.2})


def main() -> None:
    project = Project(load_settings(lake=sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        for each in measured(Path(folder), lay_out(project, Path(folder))):
            print(json.dumps(each), flush=True)


if __name__ == "__main__":
    main()
