"""The marts on Athena: dbt-athena builds them on two days, and every row is the same as on DuckDB.

The statements run on this repository's executor (`tests/athena`), which refuses what Athena refuses.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
import pytest

from athena.account import Account
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.contracts.marts import DimMunicipalities
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError, WarehouseError
from catalunya.io.project_folder import OURS
from catalunya.io.warehouse import dbt
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.athena_build import AthenaWorkspace, as_table
from catalunya.io.warehouse.dbt import DATABASE, load_project
from catalunya.io.warehouse.duckdb import create_database
from catalunya.io.warehouse.glue import Glue
from catalunya.io.warehouse.relation import Relation
from small.warehouse import (
    BARCELONA,
    BUILD_ORDER,
    EMPLOYMENT,
    GDP,
    MOIA,
    POPULATION,
    SERVICES,
    Warehouse,
    accounts,
    employed,
    import_dbt,
    inhabitants,
    municipality,
    relation,
    service,
)

SEEDS = [path.stem for path in (OURS / "dbt" / "seeds").glob("*.csv")]
DAYS = ("2026-08-03", "2026-08-04")
INCREMENTAL = ["dim_municipalities", "fact_gdp_quarterly", "fact_service_usage_daily"]


@dataclass
class Builds:
    """The marts after each day, by day and name, on DuckDB and on Athena; dbt's catalog of Athena after the last day."""

    duckdb: dict[str, dict[str, pl.DataFrame]]
    athena: dict[str, dict[str, pl.DataFrame]]
    catalog: dict[str, dict[str, dict[str, dict[str, str]]]]


OLOT, ESTANY = municipality("171143", "Olot", "19", "Garrotxa"), municipality("080790", "Estany, l'", "42", "Moianès")


def begin(warehouse: Warehouse) -> None:
    """The sources on the first day: in one quarter, there are jobs for every comarca and section."""
    warehouse.write_all()
    warehouse.write("municipalities", [BARCELONA, MOIA, OLOT, ESTANY])
    jobs = [
        row
        for comarca, sections in (("13", "KP"), ("42", "GKP"))
        for section in sections
        for row in employed("2024-Q1", comarca, section, (10, 5))
    ]
    warehouse.write("employment", [*EMPLOYMENT, *jobs])


def move_on(warehouse: Warehouse) -> None:
    """The sources on the next day: a municipality changed comarca, one is missing, one is spelled otherwise; figures were revised, a
    service was added, a quarter withdrawn."""
    spelled = ESTANY | {"municipality_name": "ESTANY,  l’", "comarca_name": unicodedata.normalize("NFD", "Moianès")}
    warehouse.write("municipalities", [BARCELONA, municipality("081385", "Moià", "07", "Bages"), spelled])
    warehouse.write("social_services", [*SERVICES, service(3, "13", "elderly_residence", None)])
    later = [*inhabitants("2025-H2", "080193", 901, 815, 1784), *inhabitants("2025-H2", "081385", 35, 33, 1784)]
    warehouse.write("population", [*POPULATION[6:], *later])
    revised = date(2026, 8, 4)
    new = [row for sector in ("gdp", "agriculture") for row in accounts("2025-Q1", sector, 80_000, 107.5, revised)]
    unchanged = [
        row
        for row in GDP
        if (row["quarter_id"], row["sector_id"]) not in {(n["quarter_id"], n["sector_id"]) for n in new}
        and row["quarter_id"] != "2024-Q2"
    ]
    warehouse.write("gdp", [*unchanged, *new])


@pytest.fixture(scope="module")
def days(athena: Account, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Relation]]:
    """The staging tables of each day, as local files."""
    warehouse = Warehouse(tmp_path_factory.mktemp("staging"), athena.settings)
    begin(warehouse)
    first = dict(warehouse.tables)
    move_on(warehouse)
    return dict(zip(DAYS, (first, warehouse.tables), strict=True))


@pytest.fixture(scope="module")
def builds(
    athena: Account,
    days: Mapping[str, Mapping[str, Relation]],
    compiled_for_athena: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Builds:
    """All marts on two days: one invocation of dbt per day and engine."""
    import_dbt()
    folder, glue = tmp_path_factory.mktemp("dbt"), Glue(athena.settings)
    queries = Athena(athena.settings, [f"marts.{name}" for name in BUILD_ORDER])
    local = load_settings(env="local", cache=athena.settings.cache)
    places = {
        "duckdb": (local, {"warehouse": str(folder / DATABASE)}),
        "athena": (
            athena.settings,
            {
                "athena_database": athena.settings.glue_database("marts"),
                "athena_data": f"{athena.settings.lake}/built-by-dbt/",
                "athena_results": athena.settings.athena_results,
                "athena_work_group": athena.settings.athena_work_group,
            },
        ),
    }
    made = Builds({}, {}, {})
    create_database(folder / DATABASE, list(days[DAYS[0]].values()))
    for day, staging in days.items():
        for table in athena.publish_all(staging).values():
            glue.publish(as_table(table, athena.settings))
        with duckdb.connect(str(folder / DATABASE)) as connection:
            for name, table in staging.items():
                connection.execute(f"create or replace view staging.{name} as from '{table.files[0]}'")
        for settings, variables in places.values():
            project = load_project(settings)
            manifest = dbt._usable(deepcopy(project._manifest))
            for node in manifest.nodes.values():
                node.schema = variables.get("athena_database", node.schema)
            # The seeds and the calendar do not change on the second day, so neither is built again, as in production.
            command = ["build", "--resource-type", "model", "--resource-type", "seed"]
            if day != DAYS[0]:
                command = ["run", "--exclude", "dim_time"]
            ran = dbt._invoke(command, {"as_of": day, **variables}, folder, project._target, manifest)
            assert ran.success, [(one.node.name, one.message) for one in ran.result.results if one.status == "error"]
        with duckdb.connect(str(folder / DATABASE)) as connection:
            made.duckdb[day] = {
                name: pl.from_arrow(connection.execute(f"from marts.{name}").to_arrow_table()) for name in BUILD_ORDER
            }
        made.athena[day] = {
            name: made.athena[DAYS[0]][name]
            if name == "dim_time" and day != DAYS[0]
            else queries.run(f"select * from marts.{name}").frame
            for name in BUILD_ORDER
        }
    command = ["docs", "generate"]
    dbt._invoke(command, {"as_of": day, **variables}, folder, project._target, manifest, write_json=True)
    made.catalog = json.loads((folder / "target" / "catalog.json").read_text())["nodes"]
    return made


@pytest.mark.parametrize("model", BUILD_ORDER)
def test_every_row_is_the_same_as_on_duckdb_on_the_first_day_and_incrementally(builds: Builds, model: str) -> None:
    for day in DAYS:
        expected, found = builds.duckdb[day][model], builds.athena[day][model]
        key = mart_contracts()[model].key()
        assert found.height == expected.height > 0
        assert dict(found.schema) == dict(expected.schema)
        assert found.select(expected.columns).sort(key).equals(expected.sort(key)), day


def test_every_incremental_model_changes_on_the_second_day(builds: Builds) -> None:
    first, second = (builds.duckdb[day] for day in DAYS)
    assert not [name for name in INCREMENTAL if first[name].equals(second[name])]
    history = second["dim_municipalities"].filter(pl.col("municipality_id").is_in(["171143", "080790"]))
    assert sorted(
        history.filter("is_current").select("municipality_name", "valid_from", "missing_since_date").rows()
    ) == [
        ("ESTANY,  l’", date(2015, 4, 30), None),
        ("Olot", date(1990, 1, 1), date(2026, 8, 4)),
    ]
    assert second["fact_gdp_quarterly"]["is_withdrawn"].any()
    assert first["agg_economic_indicators_quarterly"]["jobs"].drop_nulls().len()


def test_docs_have_every_mart_and_its_types_from_glue(builds: Builds) -> None:
    marts = {name.rpartition(".")[2]: table["columns"] for name, table in builds.catalog.items()}
    assert set(marts) == {*BUILD_ORDER, *SEEDS}
    assert marts["dim_time"]["date_id"]["type"] == "date"
    assert marts["fact_gdp_quarterly"]["gdp_eur_millions"]["type"] == "double"


def test_an_incremental_mart_is_partitioned_and_its_partitions_are_registered(builds: Builds, athena: Account) -> None:
    glue = athena.aws.client("glue")
    found = glue.get_partitions(
        DatabaseName=athena.settings.glue_database("marts"), TableName="fact_service_usage_daily"
    )
    assert sorted(partition["Values"] for partition in found["Partitions"]) == [[day] for day in DAYS]


@pytest.fixture
def published(athena: Account, days: Mapping[str, Mapping[str, Relation]]) -> dict[str, Relation]:
    """The staging tables of the first day, in the lake only."""
    return athena.publish_all(days[DAYS[0]])


def test_a_mart_is_built_as_a_hidden_candidate_that_continues_from_the_published_one(
    athena: Account, builds: Builds, days: Mapping[str, Mapping[str, Relation]], tmp_path: Path
) -> None:
    name = "dim_municipalities"
    earlier, expected = (builds.duckdb[day][name] for day in DAYS)
    earlier.write_parquet(tmp_path / "earlier.parquet")
    first = athena.publish(relation("marts", name, DimMunicipalities, tmp_path / "earlier.parquet"))
    tables = {**athena.publish_all(days[DAYS[1]]), name: first}
    seen, known = athena.objects("marts/"), athena.tables("marts")
    continued = pl.read_parquet(Warehouse(tmp_path, athena.settings, tables).build_file(name, DAYS[1]))
    assert continued.equals(expected.sort(mart_contracts()[name].key()))
    assert set(continued["valid_to"].drop_nulls()) == {date(2015, 4, 30), date(2026, 8, 4)}
    assert athena.objects("marts/") == seen
    assert athena.tables("marts") == known
    assert athena.tables("candidates") == set()
    assert athena.objects("_candidates/") == []


def test_a_failed_test_reports_the_row_and_leaves_nothing_not_even_from_a_killed_run(
    athena: Account, published: dict[str, Relation], tmp_path: Path
) -> None:
    model = load_project(athena.settings).models["dim_municipalities"]
    killed = AthenaWorkspace(model, athena.settings, tmp_path)
    nowhere = Relation("marts", "dim_municipalities", {"municipality_id": "string", "province_id": "string"}, ())
    killed.copy_previous(nowhere)
    athena.aws.client("s3").put_object(
        Bucket=athena.settings.lake.removeprefix("s3://"), Key="_candidates/dim_municipalities/left", Body=b"half"
    )
    warehouse = Warehouse(tmp_path, athena.settings, dict(published))
    twice = Warehouse(tmp_path, athena.settings)
    twice.write("municipalities", [BARCELONA, BARCELONA])
    warehouse.tables["municipalities"] = athena.publish(twice.tables["municipalities"])
    with pytest.raises(WarehouseError) as raised:
        warehouse.build_file("dim_municipalities", DAYS[0])
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("marts.dim_municipalities: test versions_follow_each_other failed: ")
    assert '"municipality_id": "080193"' in message
    assert athena.tables("candidates") == set()
    assert athena.objects("_candidates/") == []


def test_an_error_of_athena_is_reported_in_its_words(
    athena: Account, published: dict[str, Relation], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.parquet"
    pl.DataFrame({name: ["x"] for name in published["municipalities"].columns}).write_parquet(wrong)
    bad = athena.publish(replace(published["municipalities"], files=(str(wrong),)))
    with pytest.raises(
        WarehouseError, match=r"marts.dim_municipalities: the model failed: .*HIVE_BAD_DATA: Field longitude_deg"
    ):
        Warehouse(tmp_path, athena.settings, {"municipalities": bad}).build_file("dim_municipalities", DAYS[0])


def test_athena_is_refused_without_a_target_or_a_lake_on_s3(athena: Account, tmp_path: Path) -> None:
    for settings in (
        load_settings(env="local", engine="athena", cache=tmp_path),
        load_settings(env="dev", engine="athena", lake=str(tmp_path), cache=athena.settings.cache),
    ):
        with pytest.raises(ConfigurationError, match="CATALUNYA_ENGINE=athena: expected"):
            Warehouse(tmp_path, settings).build("dim_time")


def test_the_code_version_of_a_mart_is_the_same_on_both_engines(athena: Account) -> None:
    local = load_project(load_settings(env="local", cache=athena.settings.cache)).models
    versions = {name: model.sql_version for name, model in load_project(athena.settings).models.items()}
    assert versions == {name: model.sql_version for name, model in local.items()}


def test_an_optional_table_that_was_never_made_is_an_empty_one(
    athena: Account, published: dict[str, Relation], tmp_path: Path
) -> None:
    glue, database = athena.aws.client("glue"), athena.settings.glue_database("staging")
    if "employment" in athena.tables("staging"):
        glue.delete_table(DatabaseName=database, Name="employment")
    never_made = replace(published["employment"], files=())
    tables = {"gdp": published["gdp"], "employment": never_made}
    made = pl.read_parquet(Warehouse(tmp_path, athena.settings, tables).build_file("dim_economic_sectors", DAYS[0]))
    assert set(made["classification"]) == {"GDP"}
    assert "employment" in athena.tables("staging")
    assert Athena(athena.settings, ["staging.employment"]).run("select * from staging.employment").frame.is_empty()
    glue.delete_table(DatabaseName=database, Name="employment")
