"""What goes wrong in the warehouse is told in one line; what can be endured is endured."""

from __future__ import annotations

import _thread
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import WarehouseError
from catalunya.io.warehouse.build import build_model
from catalunya.io.warehouse.dbt import ROOT, load_project
from catalunya.io.warehouse.relation import Relation
from small.warehouse import SERVICES, Warehouse, service

REPOSITORY = Path(__file__).parents[3]


def test_a_failing_data_test_is_told_with_its_first_row(dims: Warehouse) -> None:
    dims.write("social_services", [*SERVICES, service(3, "41", "disability", 8)])
    with pytest.raises(WarehouseError) as raised:
        dims.build("fact_service_usage_daily")
    message = str(raised.value)
    assert "\n" not in message
    assert "marts.fact_service_usage_daily: test not_null_fact_service_usage_daily_comarca_name failed" in message
    assert '1 row breaks it, the first {"date_id": "2026-08-03", "comarca_id": "41"' in message
    assert "so did relationships_fact_service_usage_daily_comarca_id" in message
    assert "mend dbt/models/marts/facts/fact_service_usage_daily.sql" in message


def test_a_day_that_is_not_in_the_calendar_breaks_the_relationship(dims: Warehouse) -> None:
    with pytest.raises(
        WarehouseError, match=r"test relationships_fact_service_usage_daily_date_id.* failed: 2 rows break it"
    ):
        dims.build("fact_service_usage_daily", "2028-01-01")


def test_a_model_that_cannot_run_is_told_with_the_engines_words(warehouse: Warehouse) -> None:
    with pytest.raises(
        WarehouseError, match=r"marts.dim_time: the model failed.*2026-13-45.*nothing was published: mend dbt/models"
    ):
        warehouse.build("dim_time", "2026-13-45")


def test_a_model_is_not_built_without_all_that_it_and_its_tests_read(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(
        WarehouseError, match=r"marts.fact_service_usage_daily reads marts.dim_municipalities, marts.dim_time, which"
    ):
        build_model(
            "fact_service_usage_daily",
            inputs=[warehouse.tables["social_services"], warehouse.tables["service_usage"]],
            previous=None,
            variables={"as_of": "2026-08-03"},
            order_by=["date_id"],
            settings=warehouse.settings,
            scratch=tmp_path,
        )


def test_an_unknown_model_is_told_with_those_there_are(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(
        WarehouseError, match=r"no dbt model dim_star; the models are agg_.*, dim_municipalities, dim_time, fact_"
    ):
        build_model(
            "dim_star",
            inputs=[],
            previous=None,
            variables={},
            order_by=[],
            settings=warehouse.settings,
            scratch=tmp_path,
        )


def test_an_input_that_lacks_a_column_is_named(warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "old.parquet"
    pl.DataFrame({"municipality_id": ["080193"]}).write_parquet(file)
    known = warehouse.tables["municipalities"]
    warehouse.tables["municipalities"] = Relation("staging", "municipalities", known.columns, (str(file),))
    with pytest.raises(
        WarehouseError, match=r"staging.municipalities: expected Parquet with the columns .*municipality_name"
    ):
        warehouse.build("dim_municipalities")


def test_a_column_declared_since_the_last_build_is_empty_in_what_was_built_before(dims: Warehouse) -> None:
    facts = dims.build("fact_service_usage_daily", "2026-08-03")
    known = dims.tables["fact_service_usage_daily"]
    Path(known.files[0]).unlink()
    facts.drop("users_year").write_parquet(known.files[0])
    second = dims.build("fact_service_usage_daily", "2026-08-04")
    assert second["users_year"].to_list() == [None, None, 2023, None]


def test_an_empty_table_is_a_table_without_files(dims: Warehouse) -> None:
    known = dims.tables["service_usage"]
    dims.tables["service_usage"] = Relation("staging", "service_usage", known.columns, ())
    assert dims.build("fact_service_usage_daily")["users"].null_count() == len(SERVICES)


def test_partition_columns_come_from_the_path_and_stay_text(dims: Warehouse, tmp_path: Path) -> None:
    known = dims.tables["social_services"]
    rows = pl.read_parquet(known.files[0])
    files = []
    for group in ("elderly_residence", "disability"):
        files.append(tmp_path / "it's" / f"comarca_id=0{len(files) + 1}" / "file.parquet")
        files[-1].parent.mkdir(parents=True)
        rows.filter(pl.col("service_group") == group).drop("comarca_id").write_parquet(files[-1])
    dims.tables["social_services"] = Relation(
        "staging", "social_services", known.columns, tuple(map(str, files)), partition_by=("comarca_id",)
    )
    with pytest.raises(WarehouseError, match=r'"comarca_id": "0[12]"'):  # neither comarca is known: shown as read
        dims.build("fact_service_usage_daily")


def test_threads_that_build_at_once_all_succeed(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(3) as pool:
        built = list(
            pool.map(lambda name: warehouse.build(name, publish=False), ["dim_time", "dim_municipalities", "dim_time"])
        )
    assert [table.height for table in built] == [13879, 2, 13879]


def test_nothing_is_printed_and_the_dbt_folder_is_left_alone(
    warehouse: Warehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in ROOT.rglob("*")}
    warehouse.build("dim_municipalities")
    with pytest.raises(WarehouseError):
        warehouse.build("dim_municipalities", "never")
    printed = capfd.readouterr()
    assert "dbt" not in printed.out.replace("dbt/models", "")
    assert printed.err == ""
    assert {path: path.stat().st_mtime_ns for path in ROOT.rglob("*")} == before


def test_no_file_stays_open_and_no_thread_alive(warehouse: Warehouse) -> None:
    warehouse.build("dim_municipalities")
    threads = threading.active_count()
    warehouse.build("dim_municipalities")
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc here to see open files in")
    held = [str(path.readlink()) for path in descriptors.iterdir() if path.is_symlink()]
    assert [path for path in held if path.startswith(str(warehouse.folder))] == []
    assert threading.active_count() <= threads


def test_an_interrupt_is_not_swallowed(warehouse: Warehouse) -> None:
    def interrupt() -> None:
        while not list(warehouse.folder.glob("*/target")):
            time.sleep(0.01)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        warehouse.build("dim_municipalities")
    assert warehouse.build("dim_municipalities").height == 2


@pytest.mark.parametrize("damage", [b"", b"no such thing", b"cut"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, settings: Settings, damage: bytes) -> None:
    cache = tmp_path / "cache" / "dbt-manifest.msgpack"
    cache.parent.mkdir()
    good = (settings.cache / cache.name).read_bytes()
    cache.write_bytes(good[: len(good) // 2] if damage == b"cut" else damage)
    assert "dim_time" in load_project(load_settings(env="local", cache=cache.parent)).models
    assert cache.read_bytes()[:64] == good[:64]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = Warehouse(tmp_path, load_settings(env="local", cache=tmp_path / "file" / "cache"))
    assert made.build("dim_time").height == 13879


# Builds what it is asked for, a model a line: dbt is imported once for all that is tried in the copy.
BUILD = """
import sys, tempfile
from pathlib import Path
from catalunya.assets.graph.dbt_marts import mart_declarations
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError
from catalunya.io.warehouse.build import build_model
settings = load_settings(env="local", cache=Path(sys.argv[1]))
for model in map(str.strip, sys.stdin):
    try:
        declared = mart_declarations(mart_contracts(), settings)
        print(*(d.asset.key for d in declared))
        print(*(f"{d.asset.key}={d.asset.code_version}" for d in declared))
        scratch = Path(tempfile.mkdtemp(dir=sys.argv[1]))
        build_model(model, inputs=[], previous=None, variables={"as_of": "2026-08-03"}, order_by=[], settings=settings, scratch=scratch)
        print("built", model)
    except CatalunyaError as error:
        print(type(error).__name__, error)
    print("that was", model, flush=True)
"""


@dataclass
class Workshop:
    """A copy of the project, to be changed, and a process that builds in it."""

    dbt: Path
    process: subprocess.Popen[str]

    def build(self, model: str) -> str:
        """What building the model says."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{model}\n")
        self.process.stdin.flush()
        return "".join(iter(self.process.stdout.readline, f"that was {model}\n"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    copy = tmp_path_factory.mktemp("workshop")
    for folder in ("src", "assets", "contracts", "io", "dbt"):
        shutil.copytree(REPOSITORY / folder, copy / folder, symlinks=True)
    (copy / "cache").mkdir()
    command = [sys.executable, "-c", BUILD, str(copy / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, cwd=copy, text=True, **pipes) as process:
        yield Workshop(copy / "dbt", process)
        process.communicate()


@pytest.fixture
def copy(opened: Workshop) -> Workshop:
    """The copy, with dbt's project as it is here."""
    shutil.rmtree(opened.dbt)
    shutil.copytree(REPOSITORY / "dbt", opened.dbt)
    return opened


def test_a_model_without_a_contract_is_told_which_class_it_lacks(copy: Workshop) -> None:
    (copy.dbt / "models/marts/dimensions/dim_halves.sql").write_text(
        "select half_year_id, count(*) as days from {{ ref('dim_time') }} group by half_year_id"
    )
    expected = "DeclarationError marts.dim_halves: expected a contract class DimHalves in contracts/marts.py"
    assert expected in copy.build("dim_time")


def test_the_code_version_of_a_mart_changes_with_a_macro_it_calls_or_a_seed_it_reads(copy: Workshop) -> None:
    def versions() -> dict[str, str]:
        said = copy.build("dim_star")
        return dict(pair.split("=") for pair in said.splitlines()[1].split())

    before = versions()
    macros = copy.dbt / "macros/days.sql"
    macros.write_text(macros.read_text().replace("isodow", "dayofweek"))
    seed = copy.dbt / "seeds/section_sectors.csv"
    seed.write_text(seed.read_text().replace("CCAE-2025,V,", "CCAE-2025,W,"))
    after = versions()
    assert {name for name in before if before[name] != after[name]} == {"marts.dim_time", "marts.dim_economic_sectors"}
    macros.write_text(macros.read_text().replace('{{ var("as_of") }}', '{{ var("as_of") | trim }}'))
    assert {name for name, version in versions().items() if after[name] != version} == {
        "marts.dim_time",
        "marts.dim_municipalities",
        "marts.fact_service_usage_daily",
    }


def test_a_contract_without_a_model_and_a_broken_model_are_told(copy: Workshop) -> None:
    sql = copy.dbt / "models/marts/aggregates/agg_population_trends_yearly.sql"
    sql.write_text("{% if %} select 1")
    said = copy.build("dim_time")
    assert "WarehouseError dbt cannot parse the project" in said
    assert sql.name in said
    sql.unlink()
    sql.with_name(f"{sql.stem}_unit_tests.yml").unlink()
    said = copy.build("dim_time")
    expected = "contract AggPopulationTrendsYearly in contracts/marts.py has no model: expected agg_population_trends_yearly.sql"
    assert f"DeclarationError {expected}" in said
