"""Column lineage: what each column is made from, by the SQL, by polars' plan and as stored; and both directions of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.column_lineage import (
    LINEAGE_FILE,
    ColumnConsumer,
    ColumnLineage,
    ColumnSource,
    Origin,
    load_lineage,
    parse_column,
    read_tables,
)
from catalunya.assets.graph.discovery import declarations, load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.lineage_document import lineage_text, staging_table
from catalunya.assets.graph.spec import Landing, Layer, StagingDeclaration, Unpivot, staging
from catalunya.contracts.model.columns import PROVENANCE
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import load_settings
from catalunya.io.errors import UsageError, WarehouseError
from catalunya.io.project_folder import OURS
from catalunya.io.warehouse.sql_lineage import AS_OF, query_lineage
from small.shops import FolderSource

HEAVY = {"polars", "pandera", "sqlglot", "dbt", "duckdb"}

TABLES = {"staging.towns": ["id", "name", "people", "area"], "marts.seats": ["id", "seat"]}


def made_from(sql: str, column: str = "x") -> dict[str, str]:
    """What a column of a query is made from, in short: name -> how."""
    found = query_lineage(sql, TABLES).columns[column]
    return {f"{leaf.table}.{leaf.column}" if leaf.kind == "column" else leaf.kind: how for leaf, how in found.items()}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select people as x from staging.towns", {"staging.towns.people": "identity"}),
        ("select people x from scratch.staging.towns", {"staging.towns.people": "identity"}),
        ("select cast(people as double) as x from staging.towns", {"staging.towns.people": "identity"}),
        (
            "select 100 * people / area as x from staging.towns",
            {"staging.towns.people": "computed", "staging.towns.area": "computed"},
        ),
        ("select sum(people) as x from staging.towns group by name", {"staging.towns.people": "aggregated"}),
        (
            "select case when area > 1 then people end as x from staging.towns",
            {"staging.towns.people": "computed", "staging.towns.area": "condition"},
        ),
        (
            "select case name when 'a' then 'A' when 'b' then 'B' end as x from staging.towns",
            {"staging.towns.name": "condition"},
        ),
        (
            "select lag(people) over (partition by name order by area) as x from staging.towns",
            {"staging.towns.people": "computed", "staging.towns.name": "condition", "staging.towns.area": "condition"},
        ),
        (
            "select sum(people) filter (where area > 1) as x from staging.towns",
            {"staging.towns.people": "aggregated", "staging.towns.area": "condition"},
        ),
        ("select count(*) as x from staging.towns", {"row_count": "aggregated"}),
        ("select 'a' as x from staging.towns", {"constant": "identity"}),
        ("select null as x", {"constant": "identity"}),
        (f"select cast('{AS_OF}' as date) as x from staging.towns", {"clock": "identity"}),
        ("select current_date as x", {"clock": "identity"}),
        (
            "select n + 1 as x from (select generate_series as n from generate_series(1, 9)) as s",
            {"generated": "computed"},
        ),
        ("select v as x from (values (1), (2)) as t(v)", {"reference": "identity"}),
        ("select x from (select *, people as x from staging.towns) as t", {"staging.towns.people": "identity"}),
        (
            "with a as (select name as x from staging.towns union all select seat from marts.seats) select x from a",
            {"staging.towns.name": "identity", "marts.seats.seat": "identity"},
        ),
        (
            "select coalesce(s.seat, t.name) as x from staging.towns as t left join marts.seats as s on t.id = s.id",
            {"marts.seats.seat": "computed", "staging.towns.name": "computed"},
        ),
        (
            "select (select max(people) from staging.towns where area > 2) as x from marts.seats",
            {"staging.towns.people": "aggregated", "staging.towns.area": "condition"},
        ),
        (
            "with recursive a as (select id as x, 1 as n from staging.towns union all select x, n + 1 from a where n < 3) select x from a",
            {"staging.towns.id": "identity"},
        ),
        (
            'select s."of the year" as x from (select people as "of the year" from staging.towns) as s',
            {"staging.towns.people": "identity"},
        ),
    ],
)
def test_a_column_of_a_query_is_made_from_the_columns_in_its_expression(sql: str, expected: Mapping[str, str]) -> None:
    assert made_from(sql) == expected


def test_filters_joins_and_groups_decide_the_rows_and_are_no_source_of_a_value() -> None:
    sql = """
        with big as (select id, name from staging.towns where area > 10)
        select big.name as x, count(*) as n from big inner join marts.seats as s on big.id = s.id group by big.name
    """
    found = query_lineage(sql, TABLES)
    assert made_from(sql) == {"staging.towns.name": "identity"}
    assert [f"{leaf.table}.{leaf.column}" for leaf in found.rows] == [
        "marts.seats.id",
        "staging.towns.area",
        "staging.towns.id",
        "staging.towns.name",
    ]


def test_a_name_that_no_table_has_is_unknown_and_broken_sql_is_an_error() -> None:
    assert made_from("select t.x from staging.elsewhere as t") == {"staging.elsewhere.x": "identity"}
    assert made_from("select nothing.x as x from staging.towns, marts.seats") == {"unknown": "identity"}
    with pytest.raises(WarehouseError, match="cannot read the SQL"):
        query_lineage("select from where (", TABLES)


class RawTowns(LandingContract):
    """Towns, with a column for each year."""

    codi: str = raw("Code", required=True)
    any_2023: str = raw("People in 2023")
    any_2024: str = raw("People in 2024")
    nif: str = raw("Tax number", personal=True)


class People(Contract):
    """People by town and year."""

    town_id: str = column("Code", source=RawTowns.codi, key=True)
    year_id: str = column("Year", source="any", key=True)
    people: int = column("People", source="people")
    share: float = column("Of all towns")
    size_class: str = column("Large or small")
    label: str = column("Label, by a Python function")
    edition: str = column("The same in every row")


landing = Landing("towns", source=FolderSource(Path("towns")), contract=RawTowns, schedule="@daily")


def totals(page: pl.LazyFrame) -> pl.LazyFrame:
    """The row of the total, by year."""
    return page.filter(pl.col("codi") == "TOTAL").select("any", total=pl.col("people").cast(pl.Int64))


@staging(
    landing, contract=People, across=totals, unpivot=Unpivot(columns=r"any_(\d{4})", names_to="any", values_to="people")
)
def towns(page: pl.LazyFrame, total: pl.LazyFrame) -> pl.LazyFrame:
    """One row per town and year."""
    people = pl.col("people").cast(pl.Int64)
    return (
        page.filter(pl.col("codi") != "TOTAL")
        .join(total, on="any", how="left")
        .with_columns(
            share=people / pl.col("total"),
            size_class=pl.when(people > 10_000).then(pl.lit("large")).otherwise(pl.lit("small")),
            label=pl.col("codi").map_elements(str.title, return_dtype=pl.String),
            edition=pl.lit("1"),
        )
    )


@pytest.fixture
def small() -> AssetGraph:
    return AssetGraph([landing.asset, towns.asset])


def test_a_staging_column_is_made_from_what_polars_plan_reads_also_across_pages_and_from_wide_columns(
    small: AssetGraph,
) -> None:
    found = staging_table(towns.asset, towns, small)
    made = {
        name: ({source.column: source.how for source in each.sources}, [origin.kind for origin in each.origins])
        for name, each in found.columns.items()
    }
    years = {"any_2023", "any_2024"}
    assert made["town_id"] == ({"codi": "identity"}, [])
    assert made["year_id"] == (dict.fromkeys(years, "computed"), [])
    assert made["people"] == (dict.fromkeys(years, "computed"), [])
    assert made["share"] == ({"codi": "condition"} | dict.fromkeys(years, "computed"), [])
    assert made["size_class"] == (dict.fromkeys(years, "condition"), [])
    assert made["edition"] == ({}, ["constant"])
    assert made["label"] == ({}, ["unknown"]), "values that a Python function changes are not guessed at"
    assert {source.column for source in found.rows} == {"codi"}


@pytest.fixture
def stored(small: AssetGraph, tmp_path: Path) -> Path:
    """A project's folder with the stored lineage of the towns."""
    file = tmp_path / LINEAGE_FILE
    file.parent.mkdir()
    file.write_text(
        lineage_text(small, {towns.asset.key: towns, landing.asset.key: landing}, load_settings(), tmp_path)
    )
    return tmp_path


def test_what_is_stored_is_what_was_found(small: AssetGraph, stored: Path) -> None:
    lineage = load_lineage(small, stored)
    assert lineage.tables == {"staging.towns": staging_table(towns.asset, towns, small)}
    assert lineage.is_known("staging.towns")
    assert lineage.fields("staging.towns", "size_class") == tuple(
        ColumnSource("landing.towns", name, "condition") for name in ("any_2023", "any_2024")
    )
    assert lineage.consumers_of("landing.towns", "codi") == (
        ColumnConsumer("staging.towns", "town_id", "identity"),
        ColumnConsumer("staging.towns", "share", "condition"),
    )
    assert lineage.row_consumers_of("landing.towns", "codi") == ("staging.towns",)
    assert lineage.consumers_of("landing.towns", "nif") == ()


def test_what_is_stored_of_other_code_is_not_used_but_what_the_contract_says_is(
    small: AssetGraph, stored: Path
) -> None:
    changed = AssetGraph([landing.asset, replace(towns.asset, code_version="other")])
    lineage = load_lineage(changed, stored)
    assert not lineage.is_known("staging.towns")
    assert lineage.column_sources("staging.towns", "town_id") == (ColumnSource("landing.towns", "codi", "identity"),)
    assert lineage.origins("staging.towns", "edition") == (Origin("unknown"),)
    assert lineage.row_sources("staging.towns") == ()


@pytest.mark.parametrize("content", ["", "[]", '{"format": "0", "tables": {}}', '{"format": "1", "tables": {"a": {}}}'])
def test_a_file_that_cannot_be_read_is_as_none(stored: Path, content: str, small: AssetGraph) -> None:
    (stored / LINEAGE_FILE).write_text(content)
    assert read_tables(stored) == {}
    (stored / LINEAGE_FILE).unlink()
    assert load_lineage(small, stored).tables == {}


def test_a_column_that_does_not_exist_is_an_error_with_the_nearest_names(small: AssetGraph, stored: Path) -> None:
    lineage = load_lineage(small, stored)
    with pytest.raises(UsageError, match=r"staging\.towns has no column 'shore'; did you mean share"):
        lineage.made("staging.towns", "shore")
    with pytest.raises(UsageError, match="it has town_id, year_id, people"):
        parse_column("staging.towns.zzz", small)
    with pytest.raises(UsageError, match=r"there is no asset staging\.twons; did you mean staging\.towns"):
        parse_column("staging.twons.share", small)
    assert parse_column("staging.towns.share", small) == ("staging.towns", "share")
    assert parse_column("staging.towns", small) is None


@pytest.fixture(scope="module")
def lineage(compiled: Path) -> ColumnLineage:
    """The project's, as committed."""
    return load_lineage(load_graph(load_settings(cache=compiled)))


def columns_of(lineage: ColumnLineage, layer: Layer) -> Iterator[tuple[str, str]]:
    return ((a.key, c.name) for a in lineage.graph if a.layer is layer for c in a.columns)


def test_the_lineage_of_every_table_is_stored_for_its_code(lineage: ColumnLineage) -> None:
    stale = [asset.key for asset in lineage.graph if not lineage.is_known(asset.key)]
    assert not stale, f"{LINEAGE_FILE} is stale: run make generate"


def test_every_staging_column_comes_from_a_field_of_its_source_and_those_with_a_source_from_that_one(
    lineage: ColumnLineage,
) -> None:
    for key, name in columns_of(lineage, Layer.STAGING):
        declared = next(each for each in lineage.graph[key].columns if each.name == name)
        fields = lineage.fields(key, name)
        if declared.source == PROVENANCE:  # made by the engine, not read from a field
            assert (fields, lineage.origins(key, name)) == ((), (Origin("provenance"),))
            continue
        assert fields, (key, name)
        assert not lineage.origins(key, name), (key, name)
        if declared.source:
            assert declared.source in {field.column for field in fields if field.how == "identity"}, (key, name)


def test_every_mart_column_reaches_a_field_of_a_source_or_says_what_it_is_instead(lineage: ColumnLineage) -> None:
    columns = list(columns_of(lineage, Layer.MARTS))
    made = {at: lineage.made(*at) for at in columns}
    without = {at: {origin.kind for origin in each.origins} for at, each in made.items() if not each.sources}
    assert len(columns) == 106
    assert all(without.values())
    assert not any("unknown" in {origin.kind for origin in each.origins} for each in made.values())
    assert Counter(key for key, _ in without) == {
        "marts.dim_time": 15,
        "marts.dim_economic_sectors": 3,
        "marts.dim_municipalities": 3,
        "marts.fact_service_usage_daily": 2,
        "marts.fact_gdp_quarterly": 1,
    }
    assert without["marts.dim_time", "day_of_week"] == {"generated"}
    assert without["marts.dim_time", "public_holiday_name_ca"] == {"reference"}
    assert without["marts.dim_economic_sectors", "level_number"] == {"reference"}
    assert without["marts.dim_municipalities", "valid_from"] == {"clock", "history", "reference"}
    assert without["marts.fact_gdp_quarterly", "is_latest"] == {"constant"}
    assert without["marts.fact_service_usage_daily", "registered_services"] == {"row_count"}
    assert without["marts.fact_service_usage_daily", "date_id"] == {"clock"}
    reaching = [at for at in columns if lineage.fields(*at)]
    only_calendar = {at for at in made.keys() - without.keys() if not lineage.fields(*at)}
    assert only_calendar == {("marts.fact_population_monthly", name) for name in ("month_id", "date_id", "year_id")} | {
        ("marts.agg_population_trends_yearly", name) for name in ("year_number", "date_id")
    }
    assert len(reaching) == 106 - 24 - 5


def test_a_mart_column_is_followed_through_other_marts_to_the_fields(lineage: ColumnLineage) -> None:
    growth = lineage.fields("marts.agg_economic_indicators_quarterly", "yearly_growth_pct")
    assert growth == (
        ColumnSource("landing.gdp", "value", "aggregated"),
        ColumnSource("landing.gdp", "table", "condition"),
    )
    assert {str(field) for field in lineage.fields("marts.agg_population_trends_yearly", "municipality_name")} == {
        "landing.municipalities.nom"
    }


def test_the_columns_that_a_field_of_a_source_breaks_are_known_down_to_the_marts(lineage: ColumnLineage) -> None:
    hit = lineage.consumers_of("landing.gdp", "time")
    assert [str(consumer) for consumer in hit if consumer.asset.startswith("staging")] == ["staging.gdp.quarter_id"]
    assert {str(consumer) for consumer in hit} >= {
        "marts.fact_gdp_quarterly.date_id",
        "marts.agg_economic_indicators_quarterly.quarter_id",
    }
    assert "marts.fact_gdp_quarterly" in lineage.row_consumers_of("landing.gdp", "time")
    assert lineage.consumers_of("landing.municipalities", "utm_x")[-1].asset == "staging.municipalities"
    assert lineage.consumers_of("landing.social_services", "nif") == ()


def test_what_is_stored_for_staging_is_what_its_functions_do_now(lineage: ColumnLineage) -> None:
    for key, declared in declarations().items():
        if isinstance(declared, StagingDeclaration):
            found = staging_table(lineage.graph[key], declared, lineage.graph)
            assert lineage.tables[key] == found, f"{key}: delete {LINEAGE_FILE} and run make generate"


def test_reading_lineage_imports_nothing_heavy_and_takes_milliseconds() -> None:
    program = f"""
import sys, time
import catalunya.assets.graph.column_lineage as lineage
from catalunya.io.project_folder import active
started = time.perf_counter()
assert len(lineage.read_tables(active().folder)) == 15
print(time.perf_counter() - started, sorted({HEAVY} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(" ", 1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 0.5


def test_the_committed_file_has_one_line_per_column() -> None:
    text = (OURS / LINEAGE_FILE).read_text(encoding="utf-8")
    tables = json.loads(text)["tables"]
    assert text.count("\n") == sum(len(table["columns"]) + 6 for table in tables.values()) + 5  # the lines around them
