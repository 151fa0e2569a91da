"""A short life of the pipeline: the work of functions, Airflow and people, each in a session of its role.

Here: the work. Not here: the account it runs in (`world.py`), what is asserted about it (`test_access_runs.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import msgspec
import polars as pl
import pytest
import watchtower
from moto.sns.models import sns_backends
from pydantic import SecretStr

from catalunya.assets.graph.spec import Layer
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.plan import plan
from catalunya.assets.making.request import Request
from catalunya.assets.record import catalog_tables
from catalunya.assets.record.answers import answer_path, wait
from catalunya.assets.record.failing import acknowledge, withdraw
from catalunya.assets.record.lease import holder, lease
from catalunya.assets.record.ledger import Ledger, Stored
from catalunya.assets.record.paths import MANIFEST, manifest_path
from catalunya.assets.record.project import Project
from catalunya.assets.record.retention import prune
from catalunya.assets.record.source_checks import SourceCheck, keep
from catalunya.assets.record.verify import repair, verify
from catalunya.cdk.first_table import apply
from catalunya.contracts.marts import DimMunicipalities
from catalunya.contracts.municipalities import Municipalities
from catalunya.io.aws import assumed
from catalunya.io.environment import load_settings
from catalunya.io.errors import LakeError
from catalunya.io.warehouse.athena import Athena, NamedQuery
from catalunya.io.warehouse.glue import Glue
from catalunya.io.warehouse.glue_table import Field, Table
from catalunya.ops import mock
from catalunya.ops.backup.make import back_up
from catalunya.ops.backup.restore import restore
from catalunya.ops.backup.store import Store
from catalunya.ops.backup.store import prune as prune_backups
from catalunya.ops.lambdas import extract, transform
from catalunya.ops.status import statuses
from catalunya.ops.watching.findings import Kind, read_board
from catalunya.ops.watching.look import look, watch
from catalunya.portal.build import Made, SiteState
from catalunya.portal.making import build_site, status, why_not
from catalunya.portal.site import read_site
from integration.cdk.account import ACCOUNT, DEV
from integration.cdk.world import BAD, MART, REAL, REPAIRING, World
from small.aws import REGION
from small.functions import Context
from small.lakes import record
from small.shops import some
from small.warehouse import BARCELONA, MOIA, frame


def functions_make_tables(world: World) -> None:
    """The handlers, as Lambda calls them. One batch is left unused."""
    with mock.serve(rows=20) as server, world.patch.context() as patch:
        variables = {"ENV": "dev", "CACHE": world.settings.cache, "MOCK_URL": server.url, "HTTP_ATTEMPTS": 1}
        for name, value in variables.items():
            patch.setenv(f"CATALUNYA_{name}", str(value))
        for run, role, function, layer in (
            ("r1", "extractor", extract, "landing"),
            ("r2", "transformer", transform, "staging"),
            ("r3", "extractor", extract, "landing"),
        ):
            answer = answer_path(Layer(layer), run)
            event = {"asset": f"{layer}.{REAL}", "run_id": run, "answer": run}
            with world.as_role(role):
                assert function(event, Context(function.__name__))["status"] == "materialized"
                assert function(event, Context(function.__name__))["why"] == "the event was delivered before"
            with world.as_role("orchestrator"):
                assert asyncio.run(wait(world.project.lake, answer, function.__name__)).status == "materialized"
            server.advance()


def tables_exist_before_they_are_made(world: World) -> None:
    definition = {"Name": "shops", "StorageDescriptor": {"Columns": []}, "Parameters": {}}
    with world.as_role("tables"):
        glue = boto3.client("glue")
        done = [apply(glue, request, DEV.database("staging"), definition) for request in ("Create", "Update", "Delete")]
    assert done == ["created", "updated", "deleted"]


def shops_open_and_close(world: World) -> None:
    """What happens to a table: changes, bad rows, a removed partition, a killed run, an update without changes."""
    world.put("landing/shops/ingested_process_at=20260101T000000000/page-00000.json", b"a run died here")
    for rows in ([*some(3), {**some(1, "Salt")[0], "codi": "T1"}, BAD], [*some(3), BAD], some(4), some(4)):
        world.source.write(rows, version=None if rows != some(4) else datetime.now(UTC).isoformat())
        with world.as_role("extractor"):
            materialize(world.shops, "landing.shops")
        for table in ("staging.shops", "staging.cities"):
            with world.as_role("transformer"):
                materialize(world.shops, table, Request(accept_change=True))
    with world.as_role("transformer"):
        register_partitions(world, "staging")


def register_partitions(world: World, schema: str) -> None:
    """A table whose partitions Athena cannot project: they are added, removed and moved, and then keyed differently."""
    glue = Glue(world.settings)
    for keys, values, folder in (
        ("city", ["Salt", "a,b"], "one"),
        ("city", ["Salt"], "one"),
        ("city", ["Salt", "Reus"], "two"),
        ("town", ["Salt"], "two"),
    ):
        glue.repair(odd(schema, keys, values, folder))
    glue.remove(schema, "odd")


def odd(schema: str, key: str, values: list[str], folder: str = "one") -> Table:
    """A table partitioned by one key."""
    location = f"{load_settings(env='dev').lake}/{schema}/{folder}"
    return Table(
        schema=schema,
        name="odd",
        description="",
        columns=(Field("shop_id", "string"), Field(key, "string")),
        location=location,
        code_version="1",
        data_version=f"{key} {values} {folder}",
        partition_by=(key,),
        partitions={(value,): f"{location}/{key}={value}" for value in values},
        may_project=False,
    )


def airflow_makes_a_mart(world: World) -> None:
    """A task's own work: it assumes the mart role for the run. The mart builds on its previous version, after two old runs."""
    before = {
        **BARCELONA,
        "province_name": "Barcelona",
        "functional_area_id": "A1",
        "functional_area_name": "Barcelona",
    }
    since = {"valid_from": date(1990, 1, 1), "is_current": True}
    published(world, "landing.municipalities")
    published(world, "staging.municipalities", frame(Municipalities, [BARCELONA, MOIA]))
    published(world, MART, frame(DimMunicipalities, [{**before, **since}]))
    for run in ("old", "older"):
        with lease(world.project.lake, MART, run, 60):
            pass
    with world.as_role("orchestrator"), assumed(DEV.role_arn("mart"), "scheduled__2026-08-03T05:00:00+00:00"):
        project = world.project
        plan(project.state(), [project.graph[MART]])
        # A mart's gate asks whether a landing batch that its inputs still need is there.
        for key in project.graph.descendants(f"landing.{REAL}"):
            project.state().waits_for(key)
        assert materialize(project, MART, Request(force=True, accept_change=True)).status == "materialized"
        interrupted(Athena(world.settings, []))
        partitioned = odd("staging", "city", ["Salt", "a,b"])
        assert Glue(world.settings).publish(partitioned)
        register_partitions(world, "marts")
        register_partitions(world, "candidates")
    world.admin.client("glue").delete_table(DatabaseName=DEV.database("staging"), Name=partitioned.name)


def interrupted(athena: Athena) -> None:
    """A query that its caller cancels."""

    def give_up(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        athena.run("select 1", on_progress=give_up)


def published(world: World, key: str, *tables: pl.DataFrame) -> None:
    """A recorded table that was never registered in Glue."""
    stored = []
    for number, table in enumerate(tables):
        file = io.BytesIO()
        table.write_parquet(file)
        path = f"{world.project.graph[key].prefix}/part-{number}.parquet"
        world.put(path, file.getvalue())
        digest = hashlib.sha256(file.getvalue()).hexdigest()
        stored.append(Stored(path=path, bytes=len(file.getvalue()), rows=table.height, sha256=digest))
    record(world.project, key, stored)


def airflow_maintains_the_lake(world: World) -> None:
    """What `dags/tasks.py` and `dags/functions.py` do before invoking a function; retention; backups."""
    settings, later = world.settings, datetime.now(UTC) + timedelta(days=1000)
    world.put("landing/shops/ingested_process_at=20260101T000000000/page-00000.json", b"a run died here")
    with world.as_role("orchestrator"):
        for project in (world.shops, world.project):
            assert inspected(project)
        back_up(world.shops, "b1")
        back_up(world.shops, "b2")
        assert prune_backups(Store.of(settings), settings, "b3", now=later).backups
        assert prune(world.shops, "p1", now=later).removals
        assert prune(world.project, "p2", [world.project.graph[MART]], now=later).removals


def inspected(project: Project) -> list[Any]:
    """Every asset's state, as `ops.reconcile` and a task that invokes a function read it."""
    state = project.state()
    return [
        (state.stale(asset.key), state.waits_for(asset.key), holder(project.lake, asset.key), plan(state, [asset]))
        for asset in project.graph
    ]


def the_sources_are_checked(world: World) -> None:
    """`ops.sources` keeps what it found, and `ops.reconcile` and monitoring read it."""
    landing = world.project.graph[f"landing.{REAL}"]
    with world.as_role("orchestrator"):
        keep(
            world.project.lake, SourceCheck(asset=landing.key, source="a source", at=datetime.now(UTC), answered=False)
        )
    for who in ("orchestrator", "monitoring"):
        with world.as_role(who):
            assert statuses(world.project.state(), [landing])


def ops_watch_looks(world: World) -> None:
    """A look of `ops.watch` that notifies the topic, what Airflow's pages read, and a person who looks."""
    topic = sns_backends[ACCOUNT][REGION].create_topic(DEV.topic)  # in the account that its address names
    told = Project(world.settings.model_copy(update={"notify": SecretStr(topic.arn)}), world.declared)
    later = datetime.now(UTC) + timedelta(days=3)
    with world.as_role("orchestrator"):
        found = watch(told, later)
        assert "backup_old:backups" in {each.identity for each in found.board.open}
        assert read_board(told.lake).open == found.board.open
    (sent,) = topic.sent_notifications
    assert "backup" in sent[1]
    for who in ("monitoring", "engineer"):
        with world.as_role(who):
            board = look(world.shops, later + timedelta(hours=2)).board
            assert not {Kind.LEDGER_UNREADABLE} & {each.kind for each in board.open}
            (old,) = [each for each in board.open if each.kind is Kind.BACKUP_OLD]
            assert "cannot be read" not in old.what


def the_public_pages_are_published(world: World) -> None:
    """`ops.portal` builds what changed and deletes what no page is on any more; monitoring sees how the pages stand."""
    left = SiteState(
        built_at=datetime.now(UTC), parts={"of an earlier release": Made("1", {"en/old.html": ("0" * 64, 1)})}
    )
    world.put("portal/portal.json", msgspec.json.encode(left))
    world.put("portal/en/old.html", b"x")
    with world.as_role("orchestrator"):
        assert not why_not(world.project)
        built = build_site(world.project, "b1")
        assert (built.deleted, built.written > 0) == (1, True)
    with world.as_role("monitoring"):
        assert status(read_site(world.project)).state == "fresh"


def airflow_logs(world: World) -> None:
    """Airflow's remote logs on CloudWatch, with the handler that its provider uses."""
    with world.as_role("orchestrator"):
        logs: Any = boto3.client("logs")
        handler = watchtower.CloudWatchLogHandler(DEV.airflow_log_group, "run", use_queues=False, boto3_client=logs)
        handler.emit(logging.makeLogRecord({"msg": "made"}))
        handler.close()
        assert logs.get_log_events(logGroupName=DEV.airflow_log_group, logStreamName="run")["events"]


def people_monitor_and_query(world: World) -> None:
    partitioned = {
        role: odd(schema, "city", ["Salt"]) for role, schema in (("transformer", "staging"), ("mart", "marts"))
    }
    for role, table in partitioned.items():
        with world.as_role(role):
            Glue(world.settings).publish(table)
    with world.as_role("monitoring"):
        assert statuses(world.project.state(), world.project.graph)
        glue, lake = Glue(world.settings), world.project.lake
        tables = [*catalog_tables.tables(world.project), *partitioned.values()]
        assert [glue.compare(table) for table in tables]
        glue.unknown([str(table) for table in tables])
        for layer in Layer:
            found = next(each for each in lake.objects(str(layer)) if not each.path.endswith(MANIFEST))
            assert lake.get(found.path)
    for table in partitioned.values():
        world.admin.client("glue").delete_table(DatabaseName=DEV.database(table.schema), Name=table.name)
    for who in ("reader", "engineer"):
        with world.as_role(who):
            group = Athena(world.settings, [MART], for_readers=True)
            assert group.run(f"select * from {MART}").frame.height
            assert group.named_queries()
            interrupted(group)


def a_failure_is_acknowledged(world: World) -> None:
    """A table whose ledger is damaged: an engineer acknowledges that, others see it, and it is withdrawn."""
    key = "staging.cities"
    with world.as_role("engineer", **REPAIRING):
        acknowledge(world.shops.state(), key, by="maria")
    for who in ("monitoring", "orchestrator"):
        with world.as_role(who):
            (found,) = statuses(world.shops.state(), [world.shops.graph[key]])
            assert found.acknowledged
    with world.as_role("engineer", **REPAIRING):
        assert withdraw(world.shops.lake, key)


def an_engineer_repairs(world: World) -> None:
    """In a repair session: damaged objects are moved away, lost ones restored, quarantined rows replayed, Glue synchronized."""
    world.source.write([*some(6), BAD, {**BAD, "codi": "B2"}])
    with world.as_role("extractor"):
        landed = materialize(world.shops, "landing.shops").entry
    with world.as_role("transformer"):
        materialize(world.shops, "staging.shops")
    assert landed
    assert landed.batch
    for path in (
        manifest_path(landed.batch),
        "staging/shops/city=Reus/unknown.parquet",
        "_superseded/staging/shops/city=Reus/0000000000000000.parquet",
        "_ledger/staging/cities/unknown",
        "marts/dimensions/dim_municipalities/unknown.parquet",
        Ledger.path("staging.cities", 3),
    ):
        world.put(path, b"damaged")
    a_failure_is_acknowledged(world)
    of_the_mart = [world.project.graph[MART]]
    with world.as_role("engineer"):
        findings = verify(world.shops).findings
        others = verify(world.project, of_the_mart).findings
        with pytest.raises(LakeError, match="access denied"):
            repair(world.shops, findings)
    replaced = world.shops.ledger.latest("staging.shops")
    assert replaced
    assert replaced.quarantine
    rows = pl.read_parquet(io.BytesIO(world.shops.lake.get(replaced.quarantine)))
    fixed = io.BytesIO()
    rows.with_columns(ciutat=pl.when(codi="B1").then(pl.lit("Reus")).otherwise("ciutat")).write_parquet(fixed)
    world.put(replaced.quarantine, fixed.getvalue())
    with world.as_role("engineer", **REPAIRING):
        assert repair(world.project, others)
    world.shops.lake.delete([found.path for found in world.shops.lake.objects("marts/dimensions")])
    with world.as_role("engineer", **REPAIRING):
        assert repair(world.shops, findings)
        assert (
            materialize(world.shops, "staging.shops", Request(replay=True, accept_change=True)).status == "materialized"
        )
        glue = Glue(world.settings)
        tables = catalog_tables.tables(world.shops)
        assert [glue.compare(table) for table in tables]
        glue.unknown([str(table) for table in tables])
        register_partitions(world, "staging")
        register_partitions(world, "marts")
        store = Store.of(world.settings)
        for project, key in ((world.shops, "staging.shops"), (world.project, MART)):
            backup = store.find("dev", "b2")
            assert restore(project, store, backup, "x1", assets=[project.graph[key]], replace_newer=True)
        group = Athena(world.settings, [MART], for_readers=True)
        group.save([NamedQuery("places", "Places by comarca", "select 1")])
