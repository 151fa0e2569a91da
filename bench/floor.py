"""The floor: the same work as directly as possible, with no ledger, contract, quarantine or crash safety.

Four threads fetch pages to disk; DuckDB parses them with typed columns, trims text, looks up municipality and group (once per
distinct value), drops duplicates; polars writes the partitions. Prints one JSON line of seconds. `bench/run.py` runs it.
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
from peers.groups import GROUPS, PAGE

COLUMNS = {
    "registre": "VARCHAR", "nom": "VARCHAR", "tipologia": "VARCHAR", "inscripcio": "VARCHAR", "capacitat": "BIGINT",
    "adreca": "VARCHAR", "municipi": "VARCHAR", "districte": "VARCHAR", "cp": "VARCHAR", "comarca": "VARCHAR",
    "entitat_titular": "VARCHAR", "qualificacio": "VARCHAR",
}  # fmt: skip


def fetch(url: str, rows: int, folder: Path) -> float:
    """Fetch all pages to disk with four threads. Returns seconds."""

    def page(number: int) -> None:
        query = f"$limit={PAGE}&$offset={number * PAGE}&$order=registre,:id"
        body = urllib.request.urlopen(f"{url}/resource/ivft-vegh.json?{query}").read()
        (folder / f"{number:05}.json").write_bytes(body)

    started = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(page, range(-(-rows // PAGE))))
    return time.perf_counter() - started


def parse(folder: Path, municipalities: Path, out: Path) -> float:
    """Pages to partitioned Parquet: types, trimmed text, municipality, group, one row per key. Returns seconds."""
    started = time.perf_counter()
    text = [name for name in COLUMNS if name != "capacitat"]
    trimmed = ", ".join(
        f"case when trim({n}) not in ('', 'null', 'NULL', 'N/A') then trim({n}) end as {n}" for n in text
    )
    groups = " ".join(
        f"when regexp_matches(lower(tipologia), '{words}') then '{group}'" for group, words in GROUPS.items()
    )
    folded = "regexp_replace(lower(strip_accents({})), 'l[.·•‧]l', 'll', 'g')"
    table = duckdb.sql(
        f"""
        with raw as (select {trimmed}, capacitat from read_json('{folder}/*.json', format = 'array', columns = {COLUMNS})),
        known as (
            select codi, codi_comarca, {folded.format("nom")} as place, {folded.format("nom_comarca")} as area
            from read_json('{municipalities}', format = 'array')
        ),
        places as (
            select municipi, comarca, codi as municipality_id, codi_comarca as comarca_id
            from (select distinct municipi, comarca from raw) r
            join known k on k.place = {folded.format("r.municipi")}
                and k.area = replace({folded.format("r.comarca")}, 'val d' || chr(39), '')
        ),
        types as (
            select tipologia, regexp_replace(tipologia, 'l[.•‧]l', 'l·l', 'g') as service_type,
                   case {groups} else 'other' end as service_group
            from (select distinct tipologia from raw)
        )
        select raw.* exclude (districte, inscripcio, tipologia), cast(inscripcio as date) as registered_date,
               service_type, service_group, municipality_id, comarca_id,
               case when municipality_id = '080193' then lpad(districte, 2, '0') else '00' end as district_id
        from raw join places using (municipi, comarca) join types using (tipologia)
        where registre is not null and (capacitat is null or capacitat >= 0)
        qualify row_number() over (partition by registre) = 1
        """
    ).pl()
    table.lazy().sink_parquet(pl.PartitionBy(out, key="district_id", include_key=False), compression="zstd", mkdir=True)
    return time.perf_counter() - started


def main() -> None:
    url, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    pages = folder / "pages"
    pages.mkdir(parents=True)
    municipalities = folder / "municipalities.json"
    municipalities.write_bytes(
        urllib.request.urlopen(f"{url}/resource/9aju-tpwc.json?$limit={PAGE}&$order=codi").read()
    )
    result = {"fetch": fetch(url, rows, pages), "parse": parse(pages, municipalities, folder / "out")}
    result["bytes"] = sum(page.stat().st_size for page in pages.iterdir())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
