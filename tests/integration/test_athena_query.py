"""`catalunya query` on Athena gives the same results as on DuckDB, and reports the cost.

Queries run on the executor of `tests/athena`. Queries that never end run on moto's Athena, which executes nothing.
"""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import obstore
import polars as pl
import pytest
import structlog
from obstore.store import S3Store

from catalunya.assets.graph.discovery import mart_contracts
from catalunya.assets.record.ledger import Stored
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import WarehouseError
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.duckdb import connect
from catalunya.ops.cli import main
from catalunya.ops.named_queries import saved_queries
from small.aws import Aws
from small.commands import Ran
from small.lakes import record
from small.warehouse import Warehouse, frame, relation

pytest.importorskip("sqlglot", reason="the tests' Athena needs sqlglot, which is not installed")

from athena.server import athena_server

GROUP = "catalunya_query"
LEAST_LIMIT = 10_000_000  # Amazon Athena API Reference: WorkGroupConfiguration.BytesScannedCutoffPerQuery
DAYS = [date(2020, 1, 1) + timedelta(days=number) for number in range(2500)]
PLACES = [("13", "Barcelonès", 100, 90), ("42", "Moianès", 40, 44)]
MARTS: dict[str, list[dict[str, Any]]] = {
    "dim_time": [{"date_id": day, "year_number": day.year, "day_of_week": day.isoweekday()} for day in DAYS],
    "dim_economic_sectors": [
        {"sector_id": sector, "sector_name_ca": sector.capitalize()} for sector in ("gdp", "services", "industry")
    ],
    "fact_population_monthly": [
        {"month_id": month, "comarca_id": comarca, "population": people, "year_id": month[:4]}
        for month in ("2025-12", "2026-01")
        for comarca, people in (("13", 2_000_000), ("42", 14_000), ("42", 1_000))
    ],
    "fact_service_usage_daily": [
        {
            "date_id": day,
            "comarca_id": comarca,
            "comarca_name": name,
            "service_group": group,
            "places": places,
            "users": users,
            "users_year": 2023,
            "occupancy_ratio": users / places,
        }
        for day in (date(2026, 8, 2), date(2026, 8, 3))
        for group in ("elderly_residence", "elderly_day_centre")
        for comarca, name, places, users in PLACES
    ],
    "fact_gdp_quarterly": [
        {
            "quarter_id": "2026-Q1",
            "sector_id": "gdp",
            "revision_date": day,
            "is_latest": latest,
            "gdp_eur_millions": value,
        }
        for day, latest, value in ((date(2026, 5, 1), False, 70_000.5), (date(2026, 6, 15), True, 70_100.0))
    ],
    "agg_population_trends_yearly": [
        {
            "year_number": year,
            "municipality_id": municipality,
            "municipality_name": f"M{municipality}",
            "comarca_name": comarca,
            "population": people,
            "previous_population": people - change,
            "population_change": change,
        }
        for year, municipality, comarca, people, change in (
            (2024, "080193", "Barcelonès", 1_700_000, 10_000),
            (2025, "080193", "Barcelonès", 1_720_000, 20_000),
            (2024, "081385", "Moianès", 6_400, 10),
            (2025, "081385", "Moianès", 6_390, -10),
        )
    ],
    "agg_economic_indicators_quarterly": [
        {
            "quarter_id": quarter,
            "sector_id": sector,
            "gdp_eur_millions": value,
            "gdp_share_pct": 100.0,
            "yearly_growth_pct": 2.34,
            "jobs": 1234.5,
            "observation_status": "advance",
        }
        for quarter, sector, value in (("2026-Q1", "gdp", 7.0), ("2026-Q2", "gdp", 7.1), ("2026-Q3", "gdp", None))
    ],
}


@pytest.fixture(scope="module")
def account(
    tmp_path_factory: pytest.TempPathFactory, compiled: Path
) -> Iterator[tuple[Warehouse, dict[str, str], Settings]]:
    """Staging tables and marts, small: put on S3 and recorded; and an Athena that knows of them by `catalog sync`."""
    folder = tmp_path_factory.mktemp("tables")
    warehouse = Warehouse(folder, load_settings(env="local", cache=compiled))
    warehouse.write_all()
    for name, rows in MARTS.items():
        frame(mart_contracts()[name], rows).write_parquet(folder / f"{name}.parquet")
        warehouse.tables[name] = relation("marts", name, mart_contracts()[name], folder / f"{name}.parquet")
    with athena_server() as (aws, _), pytest.MonkeyPatch.context() as patch:
        variables = aws.environment | {
            "CATALUNYA_ENV": "prod",
            "CATALUNYA_LAKE": aws.make_bucket("catalunya-query"),
            "CATALUNYA_CACHE": str(compiled),
            "CATALUNYA_ATHENA_READERS": GROUP,
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        settings = load_settings()
        project = Project(settings)
        store = S3Store.from_url(settings.lake, client_options={"allow_http": True})
        for table in warehouse.tables.values():
            _publish(project, store, str(table), Path(table.files[0]))
        aws.client("athena").create_work_group(Name=GROUP)
        assert main(["catalog", "sync"]) == 0
        yield warehouse, variables, settings
        for schema in ("staging", "marts"):
            aws.client("glue").delete_database(Name=settings.glue_database(schema))
    structlog.reset_defaults()


def _publish(project: Project, store: S3Store, key: str, file: Path) -> None:
    """Put a table on S3 as a materialization does: in a folder per partition, and recorded."""
    asset, table = project.graph[key], pl.read_parquet(file)
    parts = table.partition_by(*asset.partition_by, as_dict=True) if asset.partition_by else {(): table}
    stored = []
    for values, rows in parts.items():
        folders = [f"{name}={value}" for name, value in zip(asset.partition_by, values, strict=True)]
        path = "/".join([asset.prefix, *folders, "file.parquet"])
        local = file.with_name("part.parquet")
        rows.drop(asset.partition_by).write_parquet(local)
        obstore.put(store, path, local)
        stored.append(Stored(path=path, bytes=local.stat().st_size, rows=rows.height, sha256="0"))
    record(project, key, stored)


@dataclass
class QueryCommand:
    """The command in an environment that uses Athena, and the same tables on DuckDB."""

    warehouse: Warehouse
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        self.capsys.readouterr()
        code = main(["query", *arguments])
        printed = self.capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    def on_duckdb(self, sql: str) -> list[dict[str, Any]]:
        with connect(list(self.warehouse.tables.values())) as connection:
            rows: list[dict[str, Any]] = json.loads(json.dumps(connection.sql(sql).pl().to_dicts(), default=str))
        return rows


@pytest.fixture
def query(
    account: tuple[Warehouse, dict[str, str], Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> QueryCommand:
    warehouse, variables, _ = account
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return QueryCommand(warehouse, capsys)


@pytest.mark.parametrize("name", [each.name for each in saved_queries()])
def test_a_saved_query_gives_the_same_rows_on_both_engines(query: QueryCommand, name: str) -> None:
    sql = next(each.sql for each in saved_queries() if each.name == name)
    ran = query("--named", name, "--json")
    assert (ran.code, ran.err.count("\n")) == (0, 1)
    answer = json.loads(ran.out)
    assert answer == query.on_duckdb(sql)
    assert answer


def test_the_bytes_scanned_and_the_cost_are_printed_to_stderr(query: QueryCommand) -> None:
    ran = query("select count(*) as days from marts.dim_time", "--csv")
    days = query.on_duckdb("select count(*) as days from marts.dim_time")[0]["days"]
    assert ran.out == f"days\n{days}\n"
    assert ran.err.strip().endswith("kB scanned, about 0.000048 USD (the minimum charge)")


def test_types_and_partition_columns_are_kept(query: QueryCommand) -> None:
    sql = (
        "select year_id, half_year_id, observed_date, cast(sum(population) as bigint) as people, max(population) is null as unknown "
        "from staging.population where year_id = '2024' and sex = 'total' group by 1, 2, 3 order by 2"
    )
    assert json.loads(query(sql, "--json").out) == query.on_duckdb(sql)


def test_many_rows_are_read_in_pages_and_a_terminal_shows_the_first(query: QueryCommand, tmp_path: Path) -> None:
    sql = "select date_id from marts.dim_time order by date_id"
    assert query(sql, "--output", str(tmp_path / "days.parquet")).code == 0
    written = pl.read_parquet(tmp_path / "days.parquet")
    assert written["date_id"].cast(pl.String).to_list() == [row["date_id"] for row in query.on_duckdb(sql)]
    assert written.height > 2000
    out = query(sql, "--limit", "3").out
    assert "2020-01-03" in out
    assert "2020-01-04" not in out
    assert "the first 3 rows" in out


@pytest.mark.parametrize(
    ("sql", "code", "message"),
    [
        ("select 1 from marts.dim_tim", 2, "marts.dim_tim"),
        ("select nothing from marts.dim_time", 2, "nothing"),
        ("select * from marts.dim_time where day_of_week = '1'", 2, "Athena cannot run the query: "),
        ("drop table marts.dim_time", 2, "expected one query"),
        ("select '", 2, "is not closed"),
    ],
)
def test_an_invalid_query_is_reported_in_one_line(query: QueryCommand, sql: str, code: int, message: str) -> None:
    ran = query(sql)
    assert (ran.code, ran.err.count("\n"), ran.out) == (code, 1, "")
    assert ran.err.startswith("error: ")
    assert message in ran.err
    assert "catalunya_marts_prod" not in ran.err


@pytest.fixture
def heavy(account: tuple[Warehouse, dict[str, str], Settings]) -> Iterator[str]:
    """A table larger than the smallest limit that a work group can have, and a work group with that limit."""
    _, variables, settings = account
    store = S3Store.from_url(settings.lake, client_options={"allow_http": True})
    file, group = io.BytesIO(), "catalunya_limited"
    pl.DataFrame({"ballast": [os.urandom(LEAST_LIMIT)]}).write_parquet(file, compression="uncompressed")
    obstore.put(store, "marts/dimensions/dim_time/ballast.parquet", file.getvalue())
    Aws(variables["AWS_ENDPOINT_URL"]).client("athena").create_work_group(
        Name=group, Configuration={"BytesScannedCutoffPerQuery": LEAST_LIMIT}
    )
    yield group
    obstore.delete(store, "marts/dimensions/dim_time/ballast.parquet")


def test_a_query_that_would_scan_more_than_the_work_group_allows_is_stopped(
    query: QueryCommand, heavy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "select count(*) as days from marts.dim_time"
    assert query(sql, "--json").code == 0
    monkeypatch.setenv("CATALUNYA_ATHENA_READERS", heavy)
    ran = query(sql, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"error: the query was stopped: Bytes scanned limit was exceeded; work group {heavy} limits the bytes that a query may "
        "scan: select fewer columns, or filter by partition (docs/athena.md)\n"
    )
    assert query("select count(*) as sectors from marts.dim_economic_sectors", "--json").code == 0


def test_either_sql_or_a_name_is_required_and_the_names_are_listed(query: QueryCommand) -> None:
    assert "expected either SQL or --named" in query().err
    assert "expected either SQL or --named" in query("select 1", "--named", "gdp_revisions").err
    assert all(each.name in query("--list").out for each in saved_queries())


@pytest.fixture
def slow(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Callable[[], list[str]]]]:
    """moto's Athena with queries that never end, and the states of those that were started."""
    from moto.moto_api import state_manager

    group = "catalunya_slow"
    monkeypatch.setenv("CATALUNYA_ENV", "prod")
    client = aws.client("athena")
    client.create_work_group(Name=group)
    state_manager.set_transition("athena::execution", {"progression": "manual", "times": 1_000_000})

    def states() -> list[str]:
        ids = client.list_query_executions(WorkGroup=group)["QueryExecutionIds"]
        return [client.get_query_execution(QueryExecutionId=i)["QueryExecution"]["Status"]["State"] for i in ids]

    yield load_settings(env="prod", athena_readers=group, lake="s3://anywhere"), states
    state_manager.unset_transition("athena::execution")
    client.delete_work_group(WorkGroup=group, RecursiveDeleteOption=True)


def test_ctrl_c_cancels_the_query(slow: tuple[Settings, Callable[[], list[str]]]) -> None:
    settings, states = slow
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))

    def started(state: str, _: float, __: int) -> None:
        if not timer.is_alive() and not timer.finished.is_set():
            timer.start()

    with pytest.raises(KeyboardInterrupt):
        Athena(settings, [], for_readers=True).run("select 1", on_progress=started)
    assert states() == ["CANCELLED"]


def test_a_query_cancelled_by_another_user_is_reported(
    aws: Aws, slow: tuple[Settings, Callable[[], list[str]]]
) -> None:
    settings, _ = slow
    athena = aws.client("athena")

    def cancel(*_: object) -> None:
        for each in athena.list_query_executions(WorkGroup=settings.athena_readers)["QueryExecutionIds"]:
            athena.stop_query_execution(QueryExecutionId=each)

    with pytest.raises(WarehouseError, match="the query was cancelled in work group catalunya_slow"):
        Athena(settings, [], for_readers=True).run("select 1", on_progress=cancel)


def test_a_missing_work_group_is_named(aws: Aws) -> None:
    settings = load_settings(env="prod", athena_readers="missing_group", lake="s3://anywhere")
    with pytest.raises(WarehouseError, match=r"work group missing_group: .*deploy the infrastructure"):
        Athena(settings, [], for_readers=True).run("select 1")
