"""Airflow's whole database in a backup: history, connections and all, dumped by `pg_dump` and restored by `pg_restore`.

Connections and variables are in it as Airflow stores them, encrypted with its Fernet key, which is in no backup: without the key of the
Airflow that was dumped, a restored one cannot read them. Both programs must be at least as new as the server; the image has those of
the server's version. Not here: settings that can be read and restored without a dump (`airflow.py`).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from catalunya.io.environment import Settings
from catalunya.io.errors import BackupError, UsageError
from catalunya.io.safe_text import safe_text
from catalunya.ops.backup.make import Dump
from catalunya.ops.backup.store import Backup, Store

# A hanging server must not stop later backups. A dump of years of history takes a minute.
TIMEOUT_S = 1800


def dumper(settings: Settings) -> Dump | None:
    """What writes a dump of the configured database to a file, or None if no database is configured."""
    if settings.airflow_database is None:
        return None
    address = settings.airflow_database.get_secret_value()
    return lambda to: dump(address, to)


def dump(address: str, to: Path) -> None:
    """Dump the database to a file, as of one moment, while others write to it. Raises BackupError."""
    _run("pg_dump", ["--format=custom", "--no-owner", "--no-acl", f"--file={to}"], address)


def restore_database(
    settings: Settings, store: Store, backup: Backup, *, replace: bool = False, dry_run: bool = False
) -> None:
    """Restore the dump of a backup into the configured database, after its content was hashed. Safe to run again.

    Raises UsageError when no database is configured, BackupError when the backup has no dump, when the database is in use, or when it
    is not empty and `replace` was not given.
    """
    if settings.airflow_database is None:
        raise UsageError(
            "CATALUNYA_AIRFLOW_DATABASE is not set: expected the address of Airflow's database, as postgresql://…"
        )
    if backup.database is None:
        problem = f" ({backup.database_problem})" if backup.database_problem else ""
        raise BackupError(
            f"backup {backup.name} does not contain Airflow's database{problem}; use another: `catalunya restore --from NAME`"
        )
    address = settings.airflow_database.get_secret_value()
    _parts(address)
    with TemporaryDirectory(prefix="catalunya-", dir=settings.scratch) as scratch:
        file = Path(scratch, "dump")
        store.fetch(backup.database.sha256, file)
        _check(address, replace=replace)
        if dry_run:
            return
        _empty(address)
        options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-acl"]
        _run("pg_restore", options, address, file)


def _check(address: str, *, replace: bool) -> None:
    """Raise BackupError if the database is in use, or if it is not empty and `replace` was not given."""
    import psycopg

    try:
        # Without a transaction, which would see the connections of its beginning.
        with psycopg.connect(address, autocommit=True) as connection:
            others = _others(connection)
            tables = _count(connection, "select count(*) from pg_tables where schemaname = 'public'")
            if others:
                raise BackupError(
                    f"Airflow's database is in use by {others} other connections; stop Airflow first, nothing was changed"
                )
            if tables and not replace:
                raise BackupError(
                    f"Airflow's database is not empty: it has {tables} tables; nothing was changed, add --replace to lose what is in it"
                )
    except psycopg.Error as error:
        raise BackupError(f"Airflow's database does not answer: {safe_text(error)}") from error


def _empty(address: str) -> None:
    """Drop everything in the database: one that a newer Airflow used has tables that the dump does not know."""
    import psycopg

    with psycopg.connect(address) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")


def _parts(address: str) -> dict[str, Any]:
    """What an address consists of. Raises BackupError if it is none."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return dict(conninfo_to_dict(address))
    except ProgrammingError:  # its text has the address, password and all
        raise BackupError(
            "CATALUNYA_AIRFLOW_DATABASE (value not shown): expected an address such as postgresql://user:password@host:5432/airflow"
        ) from None


def _others(connection: Any) -> int:
    """How many other connections the database has. Those that end within a second are none: the server notices that a client has gone, such
    as a dump of a moment ago, a little later."""
    sql = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    until = time.monotonic() + 1
    while (others := _count(connection, sql)) and time.monotonic() < until:
        time.sleep(0.05)
    return others


def _count(connection: Any, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])


def _run(program: str, options: Sequence[str], address: str, *files: Path) -> None:
    """Run a program of PostgreSQL on the database; its password is not on the command line, which others can see."""
    from psycopg.conninfo import make_conninfo

    parts = _parts(address)
    password = parts.pop("password", None)
    env = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    command = [program, *options, "--no-password", f"--dbname={make_conninfo(**parts)}", *map(str, files)]
    try:
        subprocess.run(  # noqa: S603  our own command
            command, env=env, check=True, capture_output=True, encoding="utf-8", errors="replace", timeout=TIMEOUT_S
        )
    except FileNotFoundError:
        raise BackupError(
            f"{program} is not installed: expected PostgreSQL's client programs, at least as new as the server"
        ) from None
    except subprocess.CalledProcessError as error:
        raise BackupError(
            f"{program} failed: {' '.join(error.stderr.split()) or f'exit code {error.returncode}'}"
        ) from None
    except subprocess.TimeoutExpired:
        raise BackupError(f"{program} did not finish within {TIMEOUT_S} s") from None
