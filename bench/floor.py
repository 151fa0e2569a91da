"""The floor: the same work written as directly as possible, with no ledger, no contract and no care for a crash.

Four threads fetch pages to disk; DuckDB parses them with typed columns, drops duplicates and checks values; polars writes
the partitions. Prints one JSON line of seconds. Run by `bench/run.py`.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import polars as pl

PAGE = 50_000
COLUMNS = {
    "registre": "VARCHAR", "nom": "VARCHAR", "tipologia": "VARCHAR", "inscripcio": "VARCHAR", "capacitat": "BIGINT",
    "adreca": "VARCHAR", "municipi": "VARCHAR", "districte": "VARCHAR", "cp": "VARCHAR", "comarca": "VARCHAR",
    "entitat_titular": "VARCHAR", "qualificacio": "VARCHAR",
}  # fmt: skip


def fetch(url: str, rows: int, folder: Path) -> float:
    """Fetch all pages to disk by four threads. Returns seconds."""

    def page(number: int) -> None:
        query = f"$limit={PAGE}&$offset={number * PAGE}&$order=registre,:id"
        body = urllib.request.urlopen(f"{url}/resource/ivft-vegh.json?{query}").read()
        (folder / f"{number:05}.json").write_bytes(body)

    started = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(page, range(-(-rows // PAGE))))
    return time.perf_counter() - started


def parse(folder: Path, out: Path) -> float:
    """Pages to partitioned Parquet. Returns seconds."""
    started = time.perf_counter()
    table = duckdb.sql(
        f"""
        select * exclude (districte, inscripcio, n), cast(inscripcio as date) as registered_date,
               case when municipi = 'Barcelona' then lpad(districte, 2, '0') else '00' end as district_id
        from (select *, row_number() over (partition by registre) as n
              from read_json('{folder}/*.json', format = 'array', columns = {COLUMNS}))
        where n = 1 and (capacitat is null or capacitat >= 0) and registre is not null
        """
    ).pl()
    table.lazy().sink_parquet(pl.PartitionBy(out, key="district_id", include_key=False), compression="zstd", mkdir=True)
    return time.perf_counter() - started


def main() -> None:
    url, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    pages = folder / "pages"
    pages.mkdir(parents=True)
    result = {"fetch": fetch(url, rows, pages), "parse": parse(pages, folder / "out")}
    result["bytes"] = sum(page.stat().st_size for page in pages.iterdir())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
