"""A person's queries read the published tables, on disk and on S3, and can change nothing."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from catalunya.io.environment import Settings
from catalunya.io.errors import WarehouseError
from catalunya.io.lake import Lake
from catalunya.io.warehouse.duckdb import connect
from catalunya.io.warehouse.relation import Relation
from small.warehouse import Warehouse

COLUMNS = {"shop_id": "string", "places": "bigint", "city": "string"}


@pytest.fixture
def shops(tmp_path: Path) -> Relation:
    files = []
    for city in ("01", "02"):
        files.append(tmp_path / "lake" / f"city={city}" / "file.parquet")
        files[-1].parent.mkdir(parents=True)
        pl.DataFrame({"shop_id": ["a", "b"], "places": [1, 2]}).write_parquet(files[-1])
    return Relation("staging", "shops", COLUMNS, tuple(map(str, files)), partition_by=("city",))


def test_tables_have_their_names_and_types(shops: Relation) -> None:
    nothing = Relation("marts", "dim_nothing", {"date_id": "date"}, ())
    with connect([shops, nothing]) as connection:
        found = connection.execute("select city, sum(places) from staging.shops group by city order by city").fetchall()
        assert found == [("01", 3), ("02", 3)]
        assert connection.execute("select count(date_id) from marts.dim_nothing").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "attempt",
    [
        "copy (select 1 as x) to '{file}' (format parquet, use_tmp_file false)",
        "copy (select 1) to '{folder}/new.csv'",
        "export database '{folder}/all'",
        "attach '{folder}/other.duckdb'",
        "select * from read_csv('{file}')",
        "select * from '/etc/hostname'",
        "set enable_external_access = true",
        "install httpfs",
    ],
)
def test_a_query_cannot_write_or_read_anything_else(shops: Relation, tmp_path: Path, attempt: str) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with connect([shops]) as connection, pytest.raises(duckdb.Error):
        connection.execute(attempt.format(file=shops.files[0], folder=tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_table_with_a_missing_file_is_named(shops: Relation) -> None:
    Path(shops.files[0]).unlink()
    with pytest.raises(WarehouseError, match=r"staging.shops: cannot read its files: .*catalunya verify"):
        connect([shops])


def test_tables_on_s3_are_queried_and_built_from(bucket: str, tmp_path: Path, settings: Settings) -> None:
    warehouse = Warehouse(tmp_path, settings)
    warehouse.write_all()
    local = warehouse.tables["municipalities"]
    lake = Lake(bucket)
    lake.put("staging/municipalities/file.parquet", Path(local.files[0]))
    url = lake.url("staging/municipalities/file.parquet")
    remote = Relation("staging", "municipalities", local.columns, (url,))
    with connect([remote]) as connection:
        assert connection.execute("select count(*) from staging.municipalities").fetchall() == [(2,)]
    warehouse.tables["municipalities"] = remote
    assert warehouse.build("dim_municipalities")["municipality_id"].unique().sort().to_list() == ["080193", "081385"]
