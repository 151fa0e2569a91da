"""Airflow's database in docker-compose.yml, on a real PostgreSQL: its schema and pools, who is to blame when nothing answers, its backup.

All services at once, and a change of a source that goes through them, are in tests/e2e/test_compose_run.py.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.errors import BackupError
from catalunya.ops.backup.database import dumper, restore_database
from catalunya.ops.backup.make import back_up
from catalunya.ops.backup.store import Store
from catalunya.ops.processes import free_ports
from small.composed import BIN, Composed, postgres_programs


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """The database, and what migrates it; no other service."""
    if postgres_programs() is None:
        pytest.skip("no PostgreSQL server on this machine: apt-get install -y postgresql")
    composed = Composed.of(tmp_path_factory.mktemp("compose"))
    with ExitStack() as stack:
        composed.start(stack, "migrate")
        composed.wait_for_end("migrate")
        yield composed


def address_of(composed: Composed) -> str:
    return composed.environment("scheduler")["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_the_database_has_airflows_schema_and_the_pool_of_the_sources(composed: Composed) -> None:
    with psycopg.connect(address_of(composed)) as database:
        pools = database.execute("select slots, include_deferred from slot_pool where pool = 'sources'").fetchall()
        assert pools == [(4, True)]
        assert database.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_a_process_that_does_not_answer_is_unhealthy_while_its_database_answers_others(composed: Composed) -> None:
    (nothing,) = free_ports(1)
    env = composed.environment("api-server") | {"AIRFLOW__API__PORT": str(nothing)}
    command = [BIN / "catalunya", "healthy", "api-server"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: api-server: no answer from port {nothing}")


def test_a_backup_dumps_the_database_and_restores_it_into_an_empty_one(
    composed: Composed, compiled: Path, tmp_path: Path
) -> None:
    address = address_of(composed)
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("create database another")
    another = address.rpartition("/")[0] + "/another"
    places = {"lake": str(tmp_path / "lake"), "backup": str(tmp_path / "backups")}
    settings = load_settings(env="local", cache=compiled, airflow_database=address, **places)
    target = settings.model_copy(update={"airflow_database": SecretStr(another)})

    store, backup = Store.of(settings), back_up(Project(settings), "dumped", database=dumper(settings))
    assert backup.is_complete
    restore_database(target, store, backup)
    with psycopg.connect(another) as restored, psycopg.connect(address) as database:
        for sql in (
            "select version_num from alembic_version",
            "select pool, slots, include_deferred from slot_pool order by id",
        ):
            rows = restored.execute(sql).fetchall()
            assert rows == database.execute(sql).fetchall()
            assert rows
        with pytest.raises(BackupError, match="is in use by 1 other connections"):
            restore_database(target, store, backup, replace=True)
    with psycopg.connect(another) as restored:
        restored.execute("create table of_a_newer_airflow (id int)")
    with pytest.raises(BackupError, match="is not empty"):
        restore_database(target, store, backup)
    restore_database(target, store, backup, replace=True)
    with psycopg.connect(another) as restored:
        tables = "select count(*) from pg_tables where tablename = 'of_a_newer_airflow'"
        assert restored.execute(tables).fetchone() == (0,)
