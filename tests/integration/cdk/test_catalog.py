"""A deployment defines tables in Glue as the pipeline does, and does not change those that the pipeline published."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.record import catalog_tables
from catalunya.cdk.naming import Names
from catalunya.io.warehouse.athena import Athena
from catalunya.io.warehouse.glue import SCHEMAS, Glue, about_database
from catalunya.io.warehouse.glue_table import DATA_VERSION, MARK, Table, table_input
from catalunya.ops.named_queries import for_work_group
from small.aws import Aws
from small.templates import Template

Handler = Callable[[dict[str, Any], object], None]


@pytest.fixture
def answers() -> Any:
    """A stand-in for CloudFormation: the address for answers, and the answers it received."""
    received: list[dict[str, Any]] = []

    class CloudFormation(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), CloudFormation)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()


@pytest.fixture
def dev(templates: dict[str, Template]) -> Template:
    """dev's stack, for tests that apply it; prod's is the same with other names."""
    return templates["CatalunyaData-dev"]


@pytest.fixture
def handler(dev: Template, tmp_path: Path) -> Handler:
    """The function in the template, from its inline code."""
    code = dev.named("AWS::Lambda::Function", Names.of("dev").tables_function)["Code"]["ZipFile"]
    path = tmp_path / "index.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("index", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler  # type: ignore[no-any-return]


def deploy(template: Template, handler: Handler, answers: Any, kind: str = "Create") -> list[str]:
    """Do what CloudFormation does with the staging tables. Returns the answers' statuses."""
    url, received = answers
    received.clear()
    for logical, properties in template.of("Custom::StagingTable").items():
        ids = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": logical}
        handler({"RequestType": kind, "ResponseURL": url, "ResourceProperties": properties, **ids}, None)
    return [answer["Status"] for answer in received]


def make_databases(aws: Aws, template: Template) -> None:
    """Create the databases, empty: tests share a server."""
    glue = aws.client("glue")
    there = {each["Name"] for each in glue.get_databases()["DatabaseList"]}
    for database in template.of("AWS::Glue::Database").values():
        wanted = database["DatabaseInput"]
        if wanted["Name"] in there:
            glue.delete_database(Name=wanted["Name"])
        glue.create_database(DatabaseInput=wanted)


def published(names: Names, graph: AssetGraph) -> Table:
    """staging.population as a run published it: two years, projected."""
    asset = graph["staging.population"]
    made = catalog_tables.unmade(names.settings.lake, asset)
    years = {(year,): f"{made.location}/year_id={year}" for year in ("2024", "2025")}
    return replace(made, partitions=years, code_version="c1", data_version="d1")


def test_a_table_in_the_template_is_defined_as_the_pipeline_defines_it(
    graph: AssetGraph, template: Template, names: Names
) -> None:
    tables = {each["TableInput"]["Name"]: each for each in template.of("Custom::StagingTable").values()}

    for asset in graph.select("layer:staging"):
        wanted = table_input(catalog_tables.unmade(names.settings.lake, asset))
        for unknown in (MARK, DATA_VERSION):  # known once it is published
            wanted["Parameters"].pop(unknown)
        assert tables[asset.name]["TableInput"] == wanted
        assert tables[asset.name]["Database"] == names.database("staging")


def test_the_databases_are_the_ones_that_the_pipeline_would_create(template: Template, names: Names) -> None:
    made = [each["DatabaseInput"] for each in template.of("AWS::Glue::Database").values()]

    assert {each["Name"]: each["Description"] for each in made} == {
        names.settings.glue_database(schema): about_database(schema) for schema in (*SCHEMAS, "candidates")
    }


def test_lake_formation_leaves_new_tables_to_iam_whatever_the_default_of_the_account_is(
    templates: dict[str, Template], template: Template
) -> None:
    by_iam = [{"Permissions": ["ALL"], "Principal": {"DataLakePrincipalIdentifier": "IAM_ALLOWED_PRINCIPALS"}}]
    made = [each["DatabaseInput"] for each in template.of("AWS::Glue::Database").values()]
    assert [each["CreateTableDefaultPermissions"] for each in made] == [by_iam] * len({*SCHEMAS, "candidates"})
    for each in templates.values():  # the account's settings are not ours: they are for all its databases
        assert not each.of("AWS::LakeFormation::DataLakeSettings")


def test_a_deployment_leaves_no_drift_before_and_after_a_table_is_published(
    aws: Aws, graph: AssetGraph, dev: Template, handler: Handler, answers: Any
) -> None:
    names = Names.of("dev")
    make_databases(aws, dev)
    glue, table = Glue(names.settings), published(names, graph)
    count = len(graph.select("layer:staging"))

    assert deploy(dev, handler, answers) == ["SUCCESS"] * count
    assert glue.unknown([]) == []  # `catalog sync` would remove what is unknown
    assert glue.publish(table)
    assert deploy(dev, handler, answers, "Update") == ["SUCCESS"] * count
    assert glue.compare(table) == []
    # The same if the tables existed before the deployment.
    assert deploy(dev, handler, answers, "Create") == ["SUCCESS"] * count
    assert glue.compare(table) == []


def test_deleting_the_stack_deletes_only_tables_that_were_never_published(
    aws: Aws, graph: AssetGraph, dev: Template, handler: Handler, answers: Any
) -> None:
    names = Names.of("dev")
    make_databases(aws, dev)
    deploy(dev, handler, answers)
    Glue(names.settings).publish(published(names, graph))
    statuses = deploy(dev, handler, answers, "Delete")
    left = aws.client("glue").get_tables(DatabaseName=names.database("staging"))["TableList"]

    assert set(statuses) == {"SUCCESS"}
    assert [table["Name"] for table in left] == ["population"]
    assert set(deploy(dev, handler, answers, "Delete")) == {"SUCCESS"}


def test_a_failure_to_create_a_table_is_reported_to_cloudformation(aws: Aws, handler: Handler, answers: Any) -> None:
    url, received = answers
    nowhere = {"Database": "nowhere", "TableInput": {"Name": "x"}}
    ids = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": "x"}
    handler({"RequestType": "Create", "ResponseURL": url, "ResourceProperties": nowhere, **ids}, None)

    assert received[0]["Status"] == "FAILED"
    assert "nowhere" in received[0]["Reason"]


def test_the_readers_group_has_the_named_queries_that_catalog_sync_would_save(
    graph: AssetGraph, template: Template, names: Names
) -> None:
    kept = template.of("AWS::Athena::NamedQuery").values()
    athena = Athena(names.settings, [asset.key for asset in graph], for_readers=True)

    assert {(each["Name"], each["Description"], each["QueryString"]) for each in kept} == {
        (each.name, each.title, each.sql) for each in for_work_group(athena)
    }
    assert {each["WorkGroup"] for each in kept} == {names.settings.athena_readers}


def test_readers_are_limited_and_the_pipeline_sets_its_own_table_locations(template: Template, names: Names) -> None:
    groups = {each["Name"]: each["WorkGroupConfiguration"] for each in template.of("AWS::Athena::WorkGroup").values()}
    readers, makers = groups[names.settings.athena_readers], groups[names.settings.athena_work_group]

    assert readers["EnforceWorkGroupConfiguration"] is True
    assert readers["BytesScannedCutoffPerQuery"] == 2**30
    assert readers["ResultConfiguration"]["OutputLocation"] == f"s3://{names.results_bucket}/"
    assert makers["EnforceWorkGroupConfiguration"] is False
    assert makers["ResultConfiguration"]["OutputLocation"] == names.settings.athena_results
    assert readers["ResultConfiguration"]["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}
