"""The executor refuses what Athena refuses, accepts a valid variant of each, and gives Trino's results."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from athena.account import Account
from catalunya.io.aws import client
from catalunya.io.warehouse.glue import Glue
from catalunya.io.warehouse.glue_table import Field, Table

DATABASE = "catalunya_shops_dev"
COLUMNS = {"shop_id": "string", "places": "bigint", "share": "double", "opened_date": "date", "is_open": "boolean"}
FROM = f"from {DATABASE}.shops"


@pytest.fixture(scope="module", autouse=True)
def shops(athena: Account, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A table of two rows."""
    file = tmp_path_factory.mktemp("shops") / "file.parquet"
    rows = {"shop_id": ["a", "b"], "places": [7, None], "share": [2.5, 3.5], "is_open": [True, False]}
    opened = pl.Series("opened_date", ["2026-01-31", "2026-03-01"]).str.to_date()
    pl.DataFrame(rows).with_columns(opened).write_parquet(file)
    bucket = athena.settings.lake.removeprefix("s3://")
    athena.aws.client("s3").put_object(Bucket=bucket, Key="shops/file.parquet", Body=file.read_bytes())
    Glue(athena.settings).publish(
        Table(
            schema="shops",
            name="shops",
            description="",
            columns=tuple(Field(name, kind) for name, kind in COLUMNS.items()),
            location=f"{athena.settings.lake}/shops",
            code_version="",
            data_version="",
            partitions={},
            may_project=False,
        )
    )


def run(athena: Account, sql: str) -> tuple[str, list[list[str | None]]]:
    """Why a statement failed (empty if it succeeded), and its rows as text."""
    api = client("athena")
    started = api.start_query_execution(
        QueryString=sql,
        QueryExecutionContext={"Database": DATABASE},
        WorkGroup=athena.settings.athena_work_group,
    )["QueryExecutionId"]
    status = api.get_query_execution(QueryExecutionId=started)["QueryExecution"]["Status"]
    if status["State"] == "FAILED":
        return status["StateChangeReason"], []
    found = api.get_query_results(QueryExecutionId=started)["ResultSet"]
    rows = [[cell.get("VarCharValue") for cell in row["Data"]] for row in found["Rows"]]
    return "", rows[1:]


REFUSED = {
    "a function of DuckDB's": (
        f"select strftime(opened_date, '%Y') {FROM}",
        "Function 'strftime' not registered",
        f"select year(opened_date) {FROM}",
    ),
    "DuckDB's isodow": (
        f"select isodow(opened_date) {FROM}",
        "Function 'isodow' not registered",
        f"select day_of_week(opened_date) {FROM}",
    ),
    "any_value of another engine": (
        f"select list(shop_id) {FROM}",
        "Function 'list' not registered",
        f"select array_join(array_agg(shop_id), ',') {FROM}",
    ),
    "a cast by colons": (
        f"select places::varchar {FROM}",
        "mismatched input ':'",
        f"select cast(places as varchar) {FROM}",
    ),
    "QUALIFY": (
        f"select shop_id {FROM} qualify row_number() over (order by shop_id) = 1",
        "mismatched input 'QUALIFY'",
        f"select shop_id from (select shop_id, row_number() over (order by shop_id) as n {FROM}) as q where n = 1",
    ),
    "backticks in a query": (
        f"select `shop_id` {FROM}",
        "backquoted identifiers are not supported",
        f'select "shop_id" {FROM}',
    ),
    "double quotes in DDL": (
        'create schema if not exists "more"',
        "cannot recognize input near",
        "create schema if not exists `more`",
    ),
    "a text of double quotes": (
        f'select shop_id {FROM} where shop_id = "a"',
        "Column 'a'",
        f"select shop_id {FROM} where shop_id = 'a'",
    ),
    "a number beside a text": (
        f"select 1 {FROM} where places = '7'",
        "Cannot apply operator: bigint = varchar(1)",
        f"select 1 {FROM} where places = 7",
    ),
    "a date beside a text": (
        f"select 1 {FROM} where opened_date > '2026-01-01'",
        "Cannot apply operator: date > varchar(10)",
        f"select 1 {FROM} where opened_date > date '2026-01-01'",
    ),
    "a timestamp beside a text": (
        f"select 1 {FROM} where cast(opened_date as timestamp) > '2026-01-01 00:00:00'",
        "Cannot apply operator: timestamp > varchar(19)",
        f"select 1 {FROM} where cast(opened_date as timestamp) > timestamp '2026-01-01 00:00:00'",
    ),
    "texts among numbers": (
        f"select 1 {FROM} where places in ('7')",
        "Cannot check if bigint is IN varchar(1)",
        f"select 1 {FROM} where places in (7)",
    ),
    "an alias of the same SELECT": (
        f"select places as p, p + 1 {FROM}",
        "Column 'p'",
        f"select places as p, places + 1 {FROM}",
    ),
    "an alias in WHERE": (
        f"select places as p {FROM} where p = 7",
        "Column 'p'",
        f"select places as p {FROM} where places = 7",
    ),
    "an alias in GROUP BY": (
        f"select upper(shop_id) as u, count(*) {FROM} group by u",
        "Column 'u'",
        f"select upper(shop_id) as u, count(*) {FROM} group by 1",
    ),
    "an alias in HAVING": (
        f"select shop_id, count(*) as n {FROM} group by shop_id having n > 0",
        "Column 'n' cannot be resolved",
        f"select shop_id, count(*) as n {FROM} group by shop_id having count(*) > 0",
    ),
    "a column that is not grouped": (
        f"select shop_id, count(*) {FROM}",
        "shop_id",
        f"select shop_id, count(*) {FROM} group by shop_id",
    ),
    "division of decimals": (f"select places / 1.5 {FROM}", "division of decimals", f"select places / 1.5e0 {FROM}"),
    "the mean of decimals": (
        f"select avg(places * 1.5) {FROM}",
        "avg of decimals",
        f"select avg(cast(places as double)) {FROM}",
    ),
    "a number joined to a text": (
        f"select shop_id || places {FROM}",
        "Unexpected parameters (bigint)",
        f"select shop_id || cast(places as varchar) {FROM}",
    ),
    "a text function of a number": (
        f"select lpad(places, 2, '0') {FROM}",
        "Unexpected parameters (bigint) for function",
        f"select lpad(cast(places as varchar), 2, '0') {FROM}",
    ),
    "a date function of a text": (
        f"select year(shop_id) {FROM}",
        "Unexpected parameters (varchar) for function year",
        f"select year(opened_date) {FROM}",
    ),
    "a day added by plus": (
        f"select opened_date + 1 {FROM}",
        "Cannot apply operator: date + integer",
        f"select date_add('day', 1, opened_date) {FROM}",
    ),
    "a sum of texts": (
        f"select sum(shop_id) {FROM}",
        "Unexpected parameters (varchar) for function sum",
        f"select sum(places) {FROM}",
    ),
    "CASE of two types": (
        f"select case when is_open then 1 else 'no' end {FROM}",
        "All CASE results must be the same type",
        f"select case when is_open then 1 else 0 end {FROM}",
    ),
    "COALESCE of two types": (
        f"select coalesce(places, '-') {FROM}",
        "All COALESCE operands must be the same type",
        f"select coalesce(places, 0) {FROM}",
    ),
    "UNION of two types": (
        f"select places {FROM} union all select shop_id {FROM}",
        "column 1 in UNION query has incompatible types: bigint, varchar",
        f"select places {FROM} union all select 1 {FROM}",
    ),
    "a condition that is a number": (
        f"select 1 {FROM} where places",
        "WHERE clause must evaluate to a boolean",
        f"select 1 {FROM} where places > 0",
    ),
    "a double shown as text": (
        f"select cast(share as varchar) {FROM}",
        "reads differently on Athena",
        f"select cast(places as varchar) {FROM}",
    ),
    "division of whole numbers by zero": (
        f"select 1 / (places - 7) {FROM} where places = 7",
        "DIVISION_BY_ZERO",
        f"select 1 / nullif(places - 7, 0) {FROM}",
    ),
    "a table that is not there": ("select * from nowhere.shops", "does not exist", f"select * {FROM}"),
    "two statements": (f"select 1 {FROM}; select 2 {FROM}", "Only one sql statement is allowed", f"select 1 {FROM};"),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_a_statement_is_refused_with_athenas_message_and_its_valid_variant_is_not(athena: Account, rule: str) -> None:
    refused, reason, allowed = REFUSED[rule]
    assert reason in run(athena, refused)[0]
    assert run(athena, allowed)[0] == ""


RESULTS = {
    "whole numbers divide to whole ones": ("select places / 2, -7 / 2, mod(places, 4)", ["3", "-3", "3"]),
    "a double is rounded, halves away from zero": ("select cast(share as bigint), cast(-share as bigint)", ["3", "-3"]),
    "a sum of whole numbers is a bigint": ("select sum(places)", ["7"]),
    "a date and days are a date": ("select date_add('month', 1, opened_date)", ["2026-02-28"]),
    "date_diff counts whole units": (
        "select date_diff('month', opened_date, date '2026-02-27'), date_diff('day', opened_date, date '2026-02-27')",
        ["0", "27"],
    ),
    "the week begins with 1 on Monday and ends with 7": (
        "select day_of_week(opened_date), day_of_week(date '2026-02-01')",
        ["6", "7"],
    ),
    "greatest of a null is null": ("select greatest(places, null)", [None]),
    "days between dates in milliseconds": ("select to_milliseconds(date '2026-02-01' - opened_date)", ["86400000"]),
    "normalize composes characters": ("select normalize('e\u0300', nfc), normalize('e\u0300')", ["è", "è"]),
    "regexp_replace replaces every match": ("select regexp_replace('a b\u00a0c', '[\\s\u00a0]', '')", ["abc"]),
    "timestamps keep milliseconds": ("select timestamp '2026-01-01 00:00:00.123'", ["2026-01-01 00:00:00.123"]),
}


@pytest.mark.parametrize("claim", RESULTS)
def test_results_are_those_of_trino(athena: Account, claim: str) -> None:
    sql, expected = RESULTS[claim]
    assert run(athena, f"{sql} {FROM} where shop_id = 'a'") == ("", [expected])


def create(athena: Account, name: str, query: str, *, by: str = "", location: str = "") -> str:
    """CREATE TABLE AS below the lake. Returns why it failed."""
    place = location or f"{athena.settings.lake}/made/{name}"
    partitioned = f", partitioned_by = ARRAY['{by}']" if by else ""
    return run(
        athena, f"create table {name} with (format = 'PARQUET', external_location = '{place}'{partitioned}) as {query}"
    )[0]


def test_a_table_is_created_once_in_an_empty_location_and_rows_are_added(athena: Account) -> None:
    assert create(athena, "made", f"select shop_id, places {FROM}") == ""
    assert "TABLE_ALREADY_EXISTS" in create(athena, "made", f"select shop_id {FROM}")
    assert "HIVE_PATH_ALREADY_EXISTS" in create(
        athena, "made_too", f"select shop_id {FROM}", location=f"{athena.settings.lake}/made/made"
    )
    assert (
        "mismatched column types"
        in run(athena, f"insert into made (shop_id, places) (select shop_id, shop_id {FROM})")[0]
    )
    assert run(athena, f"insert into made (shop_id, places) (select shop_id, places {FROM})")[0] == ""
    assert run(athena, "select count(*) from made") == ("", [["4"]])
    assert run(athena, "drop table `made`")[0] == ""
    assert athena.objects("made/made/") != []  # dropping an external table keeps its objects


def test_partition_columns_are_last_registered_and_at_most_a_hundred_per_statement(athena: Account) -> None:
    assert "HIVE_COLUMN_ORDER_MISMATCH" in create(athena, "torn", f"select shop_id, places {FROM}", by="shop_id")
    assert create(athena, "parted", f"select places, shop_id {FROM}", by="shop_id") == ""
    glue = athena.aws.client("glue")
    found = glue.get_partitions(DatabaseName=DATABASE, TableName="parted")["Partitions"]
    assert sorted(partition["Values"] for partition in found) == [["a"], ["b"]]
    glue.batch_delete_partition(DatabaseName=DATABASE, TableName="parted", PartitionsToDelete=[{"Values": ["a"]}])
    assert run(athena, "select shop_id from parted") == ("", [["b"]])  # an unregistered partition is not read
    many = "select 1 as one, n from unnest(sequence(1, 101)) as t (n)"
    assert "HIVE_TOO_MANY_OPEN_PARTITIONS" in create(athena, "many", many, by="n")


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ("null as nothing", "unknown type"),
        ("places + 1", "Column name not specified"),
        ("current_timestamp as now_at", "Unsupported Hive type"),
    ],
)
def test_a_table_with_columns_that_hive_cannot_store_is_refused(athena: Account, column: str, reason: str) -> None:
    assert reason in create(athena, "odd", f"select {column} {FROM}")


def test_a_file_with_another_type_than_glue_has_is_bad_data(athena: Account, tmp_path: Path) -> None:
    assert create(athena, "typed", f"select shop_id, places {FROM}") == ""
    bucket = athena.settings.lake.removeprefix("s3://")
    file = tmp_path / "file.parquet"
    pl.DataFrame({"shop_id": ["c"], "places": ["many"]}).write_parquet(file)
    for key in athena.objects("made/typed/"):
        athena.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    assert "HIVE_BAD_DATA" in run(athena, "select * from typed")[0]


def test_a_csv_table_has_text_columns_without_nulls(athena: Account) -> None:
    location = f"{athena.settings.lake}/seeded"
    bucket = athena.settings.lake.removeprefix("s3://")
    athena.aws.client("s3").put_object(Bucket=bucket, Key="seeded/s.csv", Body=b'"code","name"\n"01","a, b"\n"02",""\n')
    create_csv = (
        "create external table `{name}` (`code` {kind}, `name` string) row format serde "
        f"'org.apache.hadoop.hive.serde2.OpenCSVSerde' location '{location}' tblproperties ('skip.header.line.count'='1')"
    )
    assert "all columns string" in run(athena, create_csv.format(name="typed_csv", kind="int"))[0]
    assert run(athena, create_csv.format(name="seeded", kind="string"))[0] == ""
    assert "already exists" in run(athena, create_csv.format(name="seeded", kind="string"))[0]
    assert run(athena, "select code, name, name is null from seeded order by 1") == (
        "",
        [["01", "a, b", "false"], ["02", "", "false"]],
    )
