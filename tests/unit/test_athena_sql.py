"""A person's SQL for Athena: schemas become Glue databases, and statements that write are refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.discovery import declarations
from catalunya.io.errors import UsageError
from catalunya.io.warehouse.athena import LEAST_BYTES, TERABYTE, cost, to_frame
from catalunya.io.warehouse.athena_sql import for_athena, with_schemas
from catalunya.ops.named_queries import saved_queries, saved_query

DATABASES = {"staging": "catalunya_staging_dev", "marts": "catalunya_marts_dev"}
TABLES = ["staging.gdp", "marts.dim_time"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("select * from marts.dim_time", "select * from catalunya_marts_dev.dim_time"),
        ("SELECT 1 FROM Staging . GDP;", "SELECT 1 FROM catalunya_staging_dev . GDP"),
        ('select 1 from "marts"."dim_time"', 'select 1 from "catalunya_marts_dev"."dim_time"'),
        (
            "select marts.dim_time.date_id from marts.dim_time",
            "select catalunya_marts_dev.dim_time.date_id from catalunya_marts_dev.dim_time",
        ),
        ("select 'marts.dim_time' -- marts.dim_time\n", "select 'marts.dim_time' -- marts.dim_time"),
        ("select 'it''s', 1 from marts.typo", "select 'it''s', 1 from catalunya_marts_dev.typo"),
        ("with marts as (select 1 as x) select marts.x from marts", None),
        (
            "with marts as (select 1 as x) select marts.x from marts, marts.dim_time",
            "with marts as (select 1 as x) select marts.x from marts, catalunya_marts_dev.dim_time",
        ),
        ("select x.marts.y from x", None),
        ("show tables in marts", "show tables in catalunya_marts_dev"),
        ("describe staging.gdp", "describe catalunya_staging_dev.gdp"),
        ("((select 1)) union select 2", None),
        ("values (1)", None),
        ("select ';' as \";\", 'marts.dim_time' from x", None),
        ('select "." as marts, marts.x from y', None),
        ("explain (type distributed) select 1", None),
        ("explain analyze select 1 from staging.gdp", "explain analyze select 1 from catalunya_staging_dev.gdp"),
    ],
)
def test_only_schema_names_are_replaced(written: str, sent: str | None) -> None:
    assert for_athena(written, DATABASES, TABLES) == (sent or written)


@pytest.mark.parametrize(
    ("sql", "advice"),
    [
        ("drop table marts.dim_time", "expected one query .* found DROP"),
        ("insert into marts.dim_time select 1", "found INSERT"),
        ("create table x as select 1", "found CREATE"),
        ("unload (select 1) to 's3://x'", "found UNLOAD"),
        ("explain analyze insert into marts.dim_time select 1", "found EXPLAIN"),
        ("/* select */ delete from marts.dim_time", "found DELETE"),
        ("select 1; drop table marts.dim_time", "found several"),
        ("from staging.gdp", "no query that begins with from"),
        ("  -- nothing", "found nothing"),
        ("", "found nothing"),
        ("select 'open", "a ' in line 1 of the SQL is not closed"),
        ("select 1\n/* open", "a comment in the SQL is not closed"),
        ('select 1,\n"open', 'a " in line 2 of the SQL is not closed'),
        ("select x'marts' from y", "the SQL cannot be read: Numeric string contains invalid characters"),
        ("select 1 /* /* */; drop table marts.dim_time --*/", "found several"),
    ],
)
def test_anything_but_one_query_is_refused_in_one_line(sql: str, advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        for_athena(sql, DATABASES, TABLES)


def test_messages_of_athena_have_the_schema_names_that_the_person_wrote() -> None:
    message = "TABLE_NOT_FOUND: Table 'awsdatacatalog.catalunya_marts_dev.nothing' does not exist"
    assert with_schemas(message, DATABASES) == "TABLE_NOT_FOUND: Table 'marts.nothing' does not exist"


def test_the_cost_is_per_whole_megabyte_with_a_minimum_of_ten() -> None:
    assert cost(0) == cost(LEAST_BYTES) == pytest.approx(10 / 2**20 * 5)
    assert cost(LEAST_BYTES + 1) == pytest.approx(11 / 2**20 * 5)
    assert cost(TERABYTE) == 5.0
    assert cost(TERABYTE, is_ddl=True) == 0.0


def test_results_have_the_types_of_athena() -> None:
    kinds = ["varchar", "bigint", "integer", "double", "boolean", "date", "timestamp", "decimal(5,2)", "array(integer)"]
    row = ["à", "-1", "2", "1.5E-3", "true", "2026-08-03", "2026-08-03 10:20:30.123", "3.14", "[1, 2]"]
    columns = [{"Name": f"c{at}", "Type": kind, "Precision": 5, "Scale": 2} for at, kind in enumerate(kinds)]
    frame = to_frame(columns, [row, [None] * len(row)])
    assert [str(kind) for kind in frame.dtypes[:6]] == ["String", "Int64", "Int32", "Float64", "Boolean", "Date"]
    assert str(frame["c6"][0]) == "2026-08-03 10:20:30.123000"
    assert (str(frame["c7"][0]), frame["c3"][0], frame["c8"][0]) == ("3.14", 0.0015, "[1, 2]")
    assert all(value is None for value in frame.row(1))


def test_special_doubles_and_repeated_column_names_are_kept() -> None:
    columns = [{"Name": "x", "Type": "double"}, {"Name": "x", "Type": "varchar"}]
    frame = to_frame(columns, [["NaN", "a"], ["Infinity", "b"], ["-Infinity", None]])
    assert frame.columns == ["x", "x_1"]
    assert frame["x"].is_nan()[0]
    assert frame["x"][1:].is_infinite().all()


def test_the_rows_of_describe_are_split_at_tabs() -> None:
    columns = [{"Name": name, "Type": "string"} for name in ("col_name", "data_type", "comment")]
    frame = to_frame(columns, [["date_id             \tdate                \tThe day"]])
    assert frame.row(0) == ("date_id", "date", "The day")
    assert to_frame([], []).equals(pl.DataFrame())


def test_every_saved_query_has_a_title_and_runs_on_athena() -> None:
    known = saved_queries()
    assert len(known) >= 4
    for each in known:
        assert each.title
        assert "catalunya_marts_dev." in for_athena(each.sql, DATABASES, TABLES)
    with pytest.raises(
        UsageError, match=r"there is no saved query 'ocupancy_by_comarca'; did you mean occupancy_by_comarca"
    ):
        saved_query("ocupancy_by_comarca")


def test_the_page_on_athena_lists_every_saved_query_and_every_partition_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "athena.md").read_text()
    for each in saved_queries():
        assert f"| `{each.name}` | {each.title} |" in page
    for declaration in declarations().values():
        asset = declaration.asset
        if asset.partition_by:
            assert f"| `{asset.key}` | `{', '.join(asset.partition_by)}` |" in page
