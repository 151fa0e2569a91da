"""Glue has every table as last recorded: when it is made, after a killed run or a manual change, and after `catalog sync`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.ledger import Stored
from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import CatalogError, TransientError
from catalunya.io.warehouse.glue import Glue
from catalunya.io.warehouse.glue_table import COMMENT_BYTES, Field, Table, table_input
from catalunya.ops.cli import main
from small.aws import Aws
from small.lakes import record
from small.shops import FolderSource, declare, some

STAGING, MARTS = "catalunya_staging_prod", "catalunya_marts_prod"
Command = Callable[..., Any]


@pytest.fixture
def settings(aws: Aws, bucket: str, tmp_path: Path) -> Iterator[Settings]:
    """prod, with an empty lake and an empty catalog; other tests share the databases of dev."""
    yield load_settings(env="prod", lake=bucket, cache=tmp_path)
    glue = aws.client("glue")
    for each in glue.get_databases()["DatabaseList"]:
        if each["Name"] in (STAGING, MARTS):
            glue.delete_database(Name=each["Name"])


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    source, _ = declare(tmp_path / "source")
    source.write(some(3))
    return source


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Project:
    return _project(settings, tmp_path)


def _project(settings: Settings, folder: Path) -> Project:
    return Project(settings, declare(folder / "source")[1])


def _make(project: Project) -> None:
    for key in ("landing.shops", "staging.shops"):
        materialize(project, key)


def _in_two_cities() -> list[dict[str, Any]]:
    return [*some(3), {"codi": "V1", "ciutat": "Valls", "places": "1", "telefon": "900"}]


def _found(aws: Aws, name: str = "shops", database: str = STAGING) -> dict[str, Any]:
    found: dict[str, Any] = aws.client("glue").get_table(DatabaseName=database, Name=name)["Table"]
    return found


def test_a_staging_table_is_in_glue_as_its_contract_declares(aws: Aws, source: FolderSource, project: Project) -> None:
    source.write(_in_two_cities())
    _make(project)
    found = _found(aws)
    assert found["Description"] == "Shops by city."
    assert found["TableType"] == "EXTERNAL_TABLE"
    assert found["StorageDescriptor"]["Columns"] == [
        {"Name": "shop_id", "Type": "string", "Comment": "Code of the shop"},
        {"Name": "capacity_places", "Type": "bigint", "Comment": "Places"},
    ]
    assert found["PartitionKeys"] == [{"Name": "city", "Type": "string", "Comment": "City"}]
    folder = f"{project.settings.lake}/staging/shops/"
    assert found["StorageDescriptor"]["Location"] == folder
    entry = project.ledger.latest("staging.shops")
    assert entry
    parameters = found["Parameters"]
    assert (parameters["catalunya.data_version"], parameters["catalunya.code_version"]) == (
        entry.data_version,
        entry.code_version,
    )
    assert parameters["classification"] == "parquet"
    assert parameters["projection.city.values"] == "Reus,Valls"
    assert parameters["storage.location.template"] == folder + "city=${city}/"


def test_a_run_with_nothing_to_do_writes_nothing(aws: Aws, source: FolderSource, project: Project) -> None:
    _make(project)
    before = _found(aws)["VersionId"]
    assert materialize(project, "staging.shops").status == "skipped"
    assert _found(aws)["VersionId"] == before


def test_partitions_are_added_and_removed_with_the_table(
    aws: Aws, source: FolderSource, settings: Settings, project: Project, tmp_path: Path
) -> None:
    _make(project)
    assert _found(aws)["Parameters"]["projection.city.values"] == "Reus"
    source.write([row | {"ciutat": "Valls"} for row in some(3)])
    _make(_project(settings, tmp_path))
    assert _found(aws)["Parameters"]["projection.city.values"] == "Valls"


@pytest.mark.parametrize("by_hand", ["deleted", "another type", "projection off", "an older version"])
def test_a_manual_change_is_corrected_by_the_next_run(
    aws: Aws, source: FolderSource, project: Project, by_hand: str
) -> None:
    _make(project)
    glue, wanted = aws.client("glue"), _found(aws)
    changed = {
        name: wanted[name] for name in ("Name", "Description", "TableType", "PartitionKeys", "StorageDescriptor")
    }
    changed["Parameters"] = dict(wanted["Parameters"]) | {"owner": "a person"}
    if by_hand == "deleted":
        glue.delete_table(DatabaseName=STAGING, Name="shops")
    elif by_hand == "another type":
        changed["StorageDescriptor"]["Columns"][1]["Type"] = "int"
    elif by_hand == "projection off":
        changed["Parameters"] |= {"projection.enabled": "false", "projection.year.type": "integer"}
    else:
        changed["Parameters"]["catalunya.data_version"] = "older"
    if by_hand != "deleted":
        glue.update_table(DatabaseName=STAGING, TableInput=changed)
    assert materialize(project, "staging.shops").status == "skipped"
    now = _found(aws)
    assert now["StorageDescriptor"]["Columns"][1]["Type"] == "bigint"
    assert {name: value for name, value in now["Parameters"].items() if name != "owner"} == wanted["Parameters"]
    assert (now["Parameters"].get("owner") == "a person") is (by_hand != "deleted")


def test_an_unreachable_catalog_loses_no_record_and_is_updated_by_the_next_run(
    aws: Aws, source: FolderSource, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        project = _project(settings, tmp_path)
        materialize(project, "landing.shops")
        with pytest.raises(
            CatalogError, match=r"cannot write staging.shops in Glue: .*the table itself is recorded"
        ) as e:
            materialize(project, "staging.shops")
        assert isinstance(e.value, TransientError)
    history = project.ledger.history("staging.shops")
    assert [entry.status for entry in history] == ["materialized"]
    monkeypatch.delenv("AWS_ENDPOINT_URL_GLUE")
    again = _project(settings, tmp_path)
    assert materialize(again, "staging.shops").status == "skipped"
    assert _found(aws)["Parameters"]["catalunya.data_version"] == history[0].data_version


def _mart(years: range, *, data_version: str = "v1", folder: str = "s3://lake/marts/facts/fact_x") -> Table:
    return Table(
        schema="marts",
        name="fact_x",
        description="A fact by year.",
        columns=(Field("x", "double", "A figure", "EUR millions"), Field("year_id", "string", "Its year")),
        location=folder,
        code_version="code",
        data_version=data_version,
        partition_by=("year_id",),
        partitions={(str(year),): f"{folder}/year_id={year}" for year in years},
        may_project=False,
    )


def _partitions(aws: Aws) -> dict[str, str]:
    pages = aws.client("glue").get_paginator("get_partitions").paginate(DatabaseName=MARTS, TableName="fact_x")
    return {each["Values"][0]: each["StorageDescriptor"]["Location"] for page in pages for each in page["Partitions"]}


def test_all_partitions_of_a_mart_are_registered_however_many(aws: Aws, settings: Settings) -> None:
    glue = Glue(settings)
    assert glue.publish(_mart(range(1900, 2030)))
    assert len(_partitions(aws)) == 130
    assert _partitions(aws)["1999"] == "s3://lake/marts/facts/fact_x/year_id=1999/"
    table = _found(aws, "fact_x", MARTS)
    assert not [name for name in table["Parameters"] if name.startswith("projection")]
    assert table["StorageDescriptor"]["Columns"][0]["Comment"] == "A figure [EUR millions]"
    assert not glue.publish(_mart(range(1900, 2030)))
    assert glue.compare(_mart(range(1900, 2030))) == []
    assert glue.publish(_mart(range(1950, 2031), data_version="v2"))
    assert sorted(_partitions(aws)) == [str(year) for year in range(1950, 2031)]


def test_changed_partitions_are_reported_and_repaired(aws: Aws, settings: Settings) -> None:
    glue, mart = Glue(settings), _mart(range(2020, 2024))
    glue.publish(mart)
    client = aws.client("glue")
    client.delete_partition(DatabaseName=MARTS, TableName="fact_x", PartitionValues=["2021"])
    client.create_partition(DatabaseName=MARTS, TableName="fact_x", PartitionInput={"Values": ["1066"]})
    elsewhere = {"Values": ["2022"], "StorageDescriptor": {"Location": "s3://other/"}}
    client.update_partition(
        DatabaseName=MARTS, TableName="fact_x", PartitionValueList=["2022"], PartitionInput=elsewhere
    )
    assert sorted(each.what for each in glue.compare(mart)) == [
        "partition year_id=1066",
        "partition year_id=2021",
        "partition year_id=2022",
    ]
    assert glue.repair(mart)
    assert glue.compare(mart) == []
    assert not glue.repair(mart)
    assert _partitions(aws)["2022"].endswith("/year_id=2022/")


def test_a_table_with_other_partition_columns_is_created_again(aws: Aws, settings: Settings) -> None:
    glue, mart = Glue(settings), _mart(range(2020, 2022))
    glue.publish(mart)
    assert glue.publish(replace(mart, partition_by=(), partitions={}, data_version="v2"))
    assert _found(aws, "fact_x", MARTS)["PartitionKeys"] == []


def test_partitions_with_special_characters_are_registered_instead_of_projected(aws: Aws, settings: Settings) -> None:
    values = {
        ("a,b",): "s3://l/x/city=a%2Cb",
        ("__HIVE_DEFAULT_PARTITION__",): "s3://l/x/city=__HIVE_DEFAULT_PARTITION__",
    }
    odd = replace(_mart(range(0)), schema="staging", partition_by=("city",), partitions=values, may_project=True)
    Glue(settings).publish(odd)
    found = aws.client("glue").get_partitions(DatabaseName=STAGING, TableName="fact_x")["Partitions"]
    assert sorted(each["Values"][0] for each in found) == ["__HIVE_DEFAULT_PARTITION__", "a,b"]
    assert "projection.enabled" not in _found(aws, "fact_x")["Parameters"]


def test_comments_are_cut_to_the_limit_of_glue() -> None:
    long = replace(_mart(range(0)), columns=(Field("x", "double", "à " * 200, "m"),), partition_by=())
    comment = table_input(long)["StorageDescriptor"]["Columns"][0]["Comment"]
    assert len(comment.encode()) <= COMMENT_BYTES
    assert comment.endswith("… [m]")


@pytest.fixture
def command(
    settings: Settings, aws: Aws, compiled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run a command in prod and read the JSON it prints: (exit code, document)."""
    monkeypatch.setenv("CATALUNYA_ENV", "prod")
    monkeypatch.setenv("CATALUNYA_LAKE", settings.lake)
    monkeypatch.setenv("CATALUNYA_CACHE", str(compiled))
    # moto keeps work groups and their named queries for the session: each test has its own group.
    group = settings.lake.removeprefix("s3://")
    monkeypatch.setenv("CATALUNYA_ATHENA_READERS", group)
    aws.client("athena").create_work_group(Name=group)

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main([*arguments, "--json"])
        printed = capsys.readouterr()
        assert printed.err == ""
        return code, json.loads(printed.out)

    yield run
    structlog.reset_defaults()


def _record(project: Project, key: str, *folders: str) -> None:
    """Record a materialization of an asset."""
    asset = project.graph[key]
    places = ["/".join([asset.prefix, *folder.split(), "file.parquet"]) for folder in folders]
    record(project, key, [Stored(path=path, bytes=1, rows=1, sha256="0") for path in places])


def test_check_reports_differences_and_sync_fixes_them(
    aws: Aws, settings: Settings, compiled: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(load_settings(env="prod", lake=settings.lake, cache=compiled))
    _record(project, "staging.social_services", "district_id=00", "district_id=01")
    _record(project, "marts.dim_time", "")
    code, found = command("catalog", "check")
    assert code == 1
    missing = {each["where"] for each in found["drift"]}
    assert {"staging.social_services", "marts.dim_time", "query occupancy_by_comarca"} <= missing

    code, done = command("catalog", "sync")
    assert (code, done["written"]) == (0, ["marts.dim_time", "staging.social_services"])
    assert command("catalog", "check") == (0, {"tables": 2, "drift": []})
    assert command("catalog", "sync")[1] == {"written": [], "removed": [], "queries": [], "failed": {}}
    assert _found(aws, "social_services")["Parameters"]["projection.district_id.values"] == "00,01"

    glue = aws.client("glue")
    ours = {"Name": "fact_gone", "Parameters": {"catalunya.code_version": "x"}}
    glue.create_table(DatabaseName=MARTS, TableInput=ours)
    glue.create_table(DatabaseName=MARTS, TableInput={"Name": "of_another_team"})
    glue.delete_table(DatabaseName=MARTS, Name="dim_time")
    code, found = command("catalog", "check")
    assert (code, [(each["where"], each["what"]) for each in found["drift"]]) == (
        1,
        [("marts.dim_time", "table"), ("marts.fact_gone", "table")],
    )
    assert command("catalog", "sync")[1]["removed"] == ["marts.fact_gone"]
    names = {each["Name"] for each in glue.get_tables(DatabaseName=MARTS)["TableList"]}
    assert names == {"dim_time", "of_another_team"}


def test_a_saved_query_changed_by_hand_is_reported_and_saved_again(
    aws: Aws, settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.athena.responses import AthenaResponse

    def update_named_query(self: Any) -> str:
        """An action that moto does not have."""
        saved = self.athena_backend.get_named_query(self._get_param("NamedQueryId"))
        saved.description, saved.query_string = self._get_param("Description"), self._get_param("QueryString")
        return "{}"

    monkeypatch.setattr(AthenaResponse, "update_named_query", update_named_query, raising=False)
    assert len(command("catalog", "sync")[1]["queries"]) >= 4
    athena, group = aws.client("athena"), settings.lake.removeprefix("s3://")
    ids = athena.list_named_queries(WorkGroup=group)["NamedQueryIds"]
    changed = athena.get_named_query(NamedQueryId=ids[0])["NamedQuery"]["Name"]
    athena.update_named_query(NamedQueryId=ids[0], Name=changed, Description="mine", QueryString="select 1")
    assert [each["where"] for each in command("catalog", "check")[1]["drift"]] == [f"query {changed}"]
    assert command("catalog", "sync")[1]["queries"] == [changed]
    assert command("catalog", "check")[0] == 0
    assert len(athena.list_named_queries(WorkGroup=group)["NamedQueryIds"]) == len(ids)


def test_without_a_work_group_the_tables_are_updated_and_the_queries_are_reported(
    settings: Settings,
    compiled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CATALUNYA_ENV", "local")
    monkeypatch.setenv("CATALUNYA_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("CATALUNYA_CACHE", str(compiled))
    assert main(["catalog", "check"]) == 0
    assert "has no catalog: duckdb reads its objects" in capsys.readouterr().out
    monkeypatch.setenv("CATALUNYA_ENV", "prod")
    monkeypatch.setenv("CATALUNYA_LAKE", settings.lake)
    monkeypatch.setenv("CATALUNYA_ATHENA_READERS", "missing_group")
    assert main(["catalog", "sync"]) == 1
    assert "work group missing_group: " in capsys.readouterr().err
    structlog.reset_defaults()
