"""Failed builds are one clear line, and builds survive a damaged cache, other threads and interrupts."""

from __future__ import annotations

import _thread
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from structlog.testing import capture_logs

from catalunya.assets.graph.dbt_marts import mart_declarations
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.contracts.model.contract import Contract
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import DeclarationError, WarehouseError
from catalunya.io.project_folder import OURS
from catalunya.io.warehouse import dbt
from catalunya.io.warehouse.build import build_model
from catalunya.io.warehouse.dbt import DATABASE, load_models, load_project
from catalunya.io.warehouse.duckdb import create_database
from catalunya.io.warehouse.relation import Relation
from small.checkout import Checkout
from small.warehouse import BARCELONA, SERVICES, Warehouse

REPOSITORY = Path(__file__).parents[3]
CACHE = "dbt-manifest.msgpack"


def test_a_failing_test_is_reported_with_its_first_row(warehouse: Warehouse) -> None:
    warehouse.write("municipalities", [BARCELONA, BARCELONA])
    with pytest.raises(WarehouseError) as raised, capture_logs() as logged:
        warehouse.build("dim_municipalities")
    (tested,) = [line for line in logged if line["event"] == "model_tested"]
    assert (tested["failed"], tested["warned"], tested["passed"]) == (1, 0, 0)
    assert [line["test"] for line in logged if line["event"] == "test_failed"] == ["versions_follow_each_other"]
    (broken,) = warehouse.tests
    assert (broken.name, broken.failed, broken.only_warns) == ("versions_follow_each_other", 1, False)
    assert '"municipality_id": "080193"' in broken.sample
    message = str(raised.value)
    assert "\n" not in message
    assert "marts.dim_municipalities: test versions_follow_each_other failed: 1 row breaks it, the first {" in message
    assert '"municipality_id": "080193"' in message
    assert "nothing was published: fix dbt/models/marts/dimensions/dim_municipalities.sql" in message


def test_what_a_contract_says_is_not_tested_by_dbt_too(warehouse: Warehouse) -> None:
    models = load_project(warehouse.settings).models
    assert {name: model.tests for name, model in models.items() if model.tests} == {
        "dim_municipalities": ("versions_follow_each_other",),
        "fact_population_monthly": ("population_adds_up_to_the_total",),
    }


def test_a_model_that_cannot_run_is_reported_in_the_words_of_the_engine(warehouse: Warehouse) -> None:
    with pytest.raises(
        WarehouseError, match=r"marts.dim_time: the model failed.*2026-13-45.*nothing was published: fix dbt/models"
    ):
        warehouse.build("dim_time", "2026-13-45")


def test_a_model_that_does_not_match_its_contract_is_reported_with_the_columns_that_differ(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    project = deepcopy(load_project(warehouse.settings))
    columns = project._manifest.nodes["model.catalunya.dim_time"].columns
    columns["is_weekend"].data_type = "varchar"
    columns["festival"] = columns.pop("quarter_id").replace(name="festival")
    create_database(tmp_path / DATABASE, [])
    variables = {"as_of": "2026-08-03", "warehouse": str(tmp_path / DATABASE)}
    (failed,) = (each for each in project.build("dim_time", variables=variables, folder=tmp_path) if each.failed)
    assert failed.message == (
        "its columns differ from its contract: festival is missing in definition; is_weekend is BOOLEAN, the contract says VARCHAR; "
        "quarter_id is missing in contract"
    )


def test_a_model_is_not_built_unless_it_is_given_everything_it_reads(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"marts.fact_service_usage_daily reads marts.dim_municipalities, which"):
        build_model(
            "fact_service_usage_daily",
            inputs=[warehouse.tables["social_services"], warehouse.tables["service_usage"]],
            previous=None,
            variables={"as_of": "2026-08-03"},
            order_by=["date_id"],
            settings=warehouse.settings,
            scratch=tmp_path,
        )


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(warehouse: Warehouse, tmp_path: Path) -> None:
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


def test_an_input_without_a_declared_column_is_named(warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "old.parquet"
    pl.DataFrame({"municipality_id": ["080193"]}).write_parquet(file)
    known = warehouse.tables["municipalities"]
    warehouse.tables["municipalities"] = Relation("staging", "municipalities", known.columns, (str(file),))
    with pytest.raises(
        WarehouseError, match=r"staging.municipalities: expected Parquet with the columns .*municipality_name"
    ):
        warehouse.build("dim_municipalities")


def test_a_column_declared_since_the_last_build_is_null_in_earlier_rows(dims: Warehouse) -> None:
    facts = dims.build("fact_service_usage_daily", "2026-08-03")
    known = dims.tables["fact_service_usage_daily"]
    Path(known.files[0]).unlink()
    facts.drop("users_year").write_parquet(known.files[0])
    second = dims.build("fact_service_usage_daily", "2026-08-04")
    assert second["users_year"].to_list() == [None, None, 2023, None]


def test_a_relation_without_files_is_an_empty_table(dims: Warehouse) -> None:
    known = dims.tables["service_usage"]
    dims.tables["service_usage"] = Relation("staging", "service_usage", known.columns, ())
    assert dims.build("fact_service_usage_daily")["users"].null_count() == len(SERVICES)


def test_partition_columns_are_read_from_the_path_as_text(dims: Warehouse, tmp_path: Path) -> None:
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
    assert {"01", "02"} <= set(dims.build("fact_service_usage_daily")["comarca_id"])


def test_threads_that_build_at_once_all_succeed(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(3) as pool:
        built = list(
            pool.map(lambda name: warehouse.build(name, publish=False), ["dim_time", "dim_municipalities", "dim_time"])
        )
    assert [table.height for table in built] == [13879, 3, 13879]


def test_a_build_prints_nothing_and_does_not_touch_the_dbt_folder(
    warehouse: Warehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (OURS / "dbt").rglob("*")}
    warehouse.build("dim_municipalities")
    with pytest.raises(WarehouseError):
        warehouse.build("dim_municipalities", "never")
    printed = capfd.readouterr()
    assert "dbt" not in printed.out.replace("dbt/models", "")
    assert printed.err == ""
    assert {path: path.stat().st_mtime_ns for path in (OURS / "dbt").rglob("*")} == before


def test_a_build_leaves_no_file_open_and_no_thread_running(warehouse: Warehouse) -> None:
    warehouse.build("dim_municipalities")
    threads = threading.active_count()
    warehouse.build("dim_municipalities")
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system has no /proc that lists open files")
    held = [str(path.readlink()) for path in descriptors.iterdir() if path.is_symlink()]
    assert [path for path in held if path.startswith(str(warehouse.folder))] == []
    assert threading.active_count() <= threads


def test_an_interrupt_ends_the_build(warehouse: Warehouse) -> None:
    def interrupt() -> None:
        # By then dbt runs nodes. An interrupt while it starts up was sometimes lost on a machine under load.
        while not any(warehouse.folder.glob("*/target/*/catalunya/models/**/*.sql")):
            time.sleep(0.01)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        warehouse.build("dim_municipalities")
    assert warehouse.build("dim_municipalities").height == 3


@pytest.mark.parametrize("damage", [b"", b"no such thing"])
def test_a_damaged_cache_is_not_read(tmp_path: Path, settings: Settings, damage: bytes) -> None:
    cache = tmp_path / CACHE
    cache.write_bytes(damage)
    assert dbt._read_cache(cache, dbt._fingerprint()) is None
    assert dbt._read_cache(settings.cache / CACHE, dbt._fingerprint()) is not None
    assert dbt._read_cache(settings.cache / CACHE, "another fingerprint") is None


def test_the_models_are_known_without_dbt_after_the_first_time_also_to_a_copy(
    settings: Settings, compiled: Path, tmp_path: Path
) -> None:
    known = load_models(settings)
    assert known == load_project(settings).models
    ask = (
        "import sys; from catalunya.io.environment import load_settings; from catalunya.io.warehouse.dbt import load_models;"
        "print(len(load_models(load_settings(env='local'))), 'dbt.contracts' in sys.modules)"
    )
    here = {**os.environ, "CATALUNYA_CACHE": str(settings.cache)}
    for environment in (here, dict(Checkout.at(tmp_path, compiled).environment)):
        done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(len(known)), "False"]


def test_a_truncated_cache_is_written_again(tmp_path: Path, settings: Settings) -> None:
    good = (settings.cache / CACHE).read_bytes()
    (tmp_path / CACHE).write_bytes(good[: len(good) // 2])
    assert "dim_time" in load_project(load_settings(env="local", cache=tmp_path)).models
    assert (tmp_path / CACHE).read_bytes()[:64] == good[:64]


def test_a_build_works_without_a_writable_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = Warehouse(tmp_path, load_settings(env="local", cache=tmp_path / "file" / "cache"))
    assert made.build("dim_time").height == 13879


def test_a_model_without_a_contract_is_an_error_that_names_the_class_to_write(settings: Settings) -> None:
    contracts = {name: contract for name, contract in mart_contracts().items() if name != "dim_time"}
    with pytest.raises(
        DeclarationError, match=r"marts.dim_time: expected a contract class DimTime in contracts/marts.py"
    ):
        mart_declarations(contracts, settings)


def test_a_contract_without_a_model_is_an_error_that_names_the_file_to_write(settings: Settings) -> None:
    class DimStars(Contract):
        """Stars: one row per star."""

    with pytest.raises(
        DeclarationError, match=r"contract DimStars in contracts/marts.py has no model: expected dim_stars.sql"
    ):
        mart_declarations({**mart_contracts(), "dim_stars": DimStars}, settings)


# Parses the project once per line that it is sent: dbt is imported once for all changes that are tried.
PARSE = """
import gc, json, sys
gc.set_threshold(200_000, 20, 20)  # as for a command
from pathlib import Path
from catalunya.assets.graph.dbt_marts import mart_declarations
from catalunya.assets.graph.discovery import mart_contracts
from catalunya.io.environment import load_settings
from catalunya.io.errors import CatalunyaError
settings = load_settings(env="local", cache=Path(sys.argv[1]))
for _ in sys.stdin:
    try:
        found = {each.asset.key: each.asset.code_version for each in mart_declarations(mart_contracts(), settings)}
    except CatalunyaError as error:
        found = {type(error).__name__: str(error)}
    print(json.dumps(found), flush=True)
"""


@dataclass
class ProjectCopy:
    """A copy of dbt's project that a test changes, and a process that parses it."""

    dbt: Path
    process: subprocess.Popen[str]

    def parse(self) -> dict[str, str]:
        """The code version of each mart, or the error."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: dict[str, str] = json.loads(self.process.stdout.readline())
        return found


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProjectCopy]:
    copy = tmp_path_factory.mktemp("copy")
    for folder in ("src", "assets", "contracts", "io", "dbt"):
        shutil.copytree(REPOSITORY / folder, copy / folder, symlinks=True)
    (copy / "cache").mkdir()
    command = [sys.executable, "-c", PARSE, str(copy / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, cwd=copy, text=True, **pipes) as process:
        yield ProjectCopy(copy / "dbt", process)
        process.communicate()


@pytest.fixture
def copy(parser: ProjectCopy) -> ProjectCopy:
    """The copy, with dbt's project and the macros of the engine as they are in the repository."""
    for folder in ("dbt", "io/warehouse/macros"):
        shutil.rmtree(parser.dbt.parent / folder)
        shutil.copytree(REPOSITORY / folder, parser.dbt.parent / folder)
    return parser


def test_the_code_version_of_a_mart_changes_with_a_macro_it_calls_or_a_seed_it_reads(
    copy: ProjectCopy, settings: Settings
) -> None:
    before = {each.asset.key: each.asset.code_version for each in mart_declarations(mart_contracts(), settings)}
    macros, seed = copy.dbt.parent / "io/warehouse/macros/days.sql", copy.dbt / "seeds/section_sectors.csv"
    macros.write_text(macros.read_text().replace("isodow", "dayofweek"))
    seed.write_text(seed.read_text().replace("CCAE-2025,V,", "CCAE-2025,W,"))
    after = copy.parse()
    assert {key for key in before if before[key] != after[key]} == {"marts.dim_time", "marts.dim_economic_sectors"}
    macros.write_text(macros.read_text().replace('{{ var("as_of") }}', '{{ var("as_of") | trim }}'))
    assert {key for key, version in copy.parse().items() if after[key] != version} == {
        "marts.dim_time",
        "marts.dim_municipalities",
        "marts.fact_service_usage_daily",
    }


def test_a_model_that_dbt_cannot_parse_is_named(copy: ProjectCopy) -> None:
    sql = copy.dbt / "models/marts/aggregates/agg_population_trends_yearly.sql"
    sql.write_text("{% if %} select 1")
    message = copy.parse()["WarehouseError"]
    assert message.startswith("dbt cannot parse the project")
    assert sql.name in message
