"""The parent process of all of Airflow on this machine: it imports Airflow once and forks the components.

This is the one module that depends on names Airflow does not document: it preloads the modules listed here and calls
`airflow.__main__.main` in forked children instead of starting the documented commands. The preloaded modules are shared by the
scheduler and by every task that LocalExecutor forks from it. Measured on Airflow 3.3.2 and 2 cores, against `airflow api-server`,
`airflow scheduler` and `airflow dag-processor` as separate commands: `make run` takes 53 s of CPU instead of 94, and 20 s instead
of 30 when everything is up to date; memory is the same (1.5 GB). tests/integration/test_launcher.py fails when Airflow moves one of
these names; at run time a moved module is reported in launcher.log and only costs time.

Run as a file by `server.py`, in a session of its own, with Airflow's settings in the environment. It ends when its parent ends,
and stops everything with it. It imports `catalunya` only for one run: while Airflow stays up, tasks must read the code as it is when
they start. It must not import polars, which does not survive a fork.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

FOR_TASKS = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "httpx",
    "msgspec",
    "pydantic",
    "obstore.store",
    "duckdb",
    "dbt.cli.main",
    "dbt.adapters.duckdb",
    "dbt.parser.manifest",
)
FOR_ONE_RUN = (
    "catalunya.dags.build",
    "catalunya.assets.making.materialize",
    "catalunya.io.sources.http",
    "catalunya.io.warehouse.duckdb",
)
FOR_SCHEDULING = (
    "airflow.jobs.scheduler_job_runner",
    "airflow.executors.local_executor",
    "airflow.dag_processing.manager",
)
FOR_SERVERS = ("airflow.api_fastapi.app",)
FOR_API = (
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.core_api.routes.public",
    "airflow.api_fastapi.core_api.routes.ui",
)
VERSIONS, ROUTES = "airflow.api_fastapi.execution_api.versions", "airflow.api_fastapi.execution_api.routes"
FOR_EXECUTION_API = ("airflow.api_fastapi.execution_api.app", VERSIONS, ROUTES)  # of the dag-processor, too
PARSER, MAIN = "airflow.cli.cli_parser", "airflow.__main__"
MIGRATE = ("db", "migrate")
API = ("api-server", "--apps", "core")
EXECUTION_API = ("api-server", "--apps", "execution", "--port")
DAG_PROCESSOR = "dag-processor"
COMPONENTS = {
    DAG_PROCESSOR: (DAG_PROCESSOR,),
    "scheduler": ("scheduler", "--skip-serve-logs"),  # logs are read from this machine's disk
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
DATABASE, MIGRATED = "airflow.db", "migrated"
POLL_S = 0.2
GRACE_S = 3.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop(Exception):
    """A signal was received, or the parent has ended: stop everything."""


class ComponentEnded(Exception):
    """A component ended by itself."""


def main(parent: int, execution_port: str, stays: str, components: Sequence[str]) -> int:
    """Start the API servers and the components, and wait. Returns 0 when stopped, 1 when a component ended by itself.

    `parent` is the process without which it stops; `stays` is empty if Airflow is there for one run. Tasks have an API server of their own:
    building its routes takes as long as all the rest of a start, on one core. With it a run in which nothing changed took 12.0 s, with one
    server for both 13.6 s and 200 MB less.
    """
    # Importing creates hundreds of thousands of objects that stay: garbage collection in between doubles the time.
    gc.disable()
    running: dict[int, str] = {}
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        _check(parent)
        migrated = is_migrated()  # first: a database that is damaged ends the start here
        preload(PARSER, *FOR_SCHEDULING, *FOR_SERVERS)
        importlib.import_module("sqlalchemy.orm").configure_mappers()  # of Airflow's models; each component would do it
        ready = os.pipe()
        running[_fork("api-server", API, FOR_API, wait_for=ready)] = "api-server"
        preload(*FOR_EXECUTION_API)
        keep_newest_version()
        running[_fork("execution-api", (*EXECUTION_API, execution_port), wait_for=ready)] = "execution-api"
        database = None if migrated else _fork("db", MIGRATE)
        if database:
            running[database] = "db"

        def begin() -> None:
            """Let the servers work, and have the DAGs parsed, now that there is a database."""
            os.write(ready[1], b"11")
            running[_fork(DAG_PROCESSOR, COMPONENTS[DAG_PROCESSOR])] = DAG_PROCESSOR

        # Creating an asset makes Airflow read its providers' URI handlers.
        importlib.import_module("airflow.sdk").Asset(name="launcher", uri="catalunya://launcher")
        if not database:
            begin()
        preload(*FOR_TASKS)
        if not stays:
            preload_project()
        gc.freeze()
        if database:
            while database in running:
                _watch(running, parent)
            remember_migration()
            begin()
        for name in components:
            running[_fork(name, COMPONENTS[name])] = name
        while True:
            _watch(running, parent)
    except Stop:
        return 0
    except ComponentEnded as ended:
        sys.stderr.write(f"{ended}\n")
        return 1
    finally:
        _end(running)


def is_migrated() -> bool:
    """Whether this Airflow has migrated this database before: it says so itself, and `db migrate` takes seconds to find nothing to do."""
    noted, revision = Path(os.environ["AIRFLOW_HOME"], MIGRATED), _revision()
    return noted.exists() and noted.read_bytes() == revision.encode()


def remember_migration() -> None:
    """Note that this Airflow has migrated the database to the revision that it is at now."""
    Path(os.environ["AIRFLOW_HOME"], MIGRATED).write_text(_revision(), encoding="utf-8")


def _revision() -> str:
    """The installed Airflow, and the revision of the schema that the database says it has; the version alone if there is no such database."""
    database = Path(os.environ["AIRFLOW_HOME"], DATABASE)
    found = None
    if database.exists():
        with closing(sqlite3.connect(database)) as connection, suppress(sqlite3.OperationalError):  # no such table
            found = connection.execute("select version_num from alembic_version").fetchone()
    return f"{version('apache-airflow')} {found}"


def preload(*names: str) -> None:
    """Import modules ahead of the forks. One that is missing only costs time: whoever needs it imports it, or fails."""
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            package = name.partition(".")[0]
            if package != str(error.name).partition(".")[0]:
                raise
            if package == "airflow":
                sys.stderr.write(f"not preloaded, Airflow has moved it: {name}\n")


def keep_newest_version() -> None:
    """Have the tasks' API build the newest of its versions only. All tasks are of this Airflow, and building the eight others took 2 s of CPU."""
    try:
        from cadwyn import HeadVersion, Version, VersionBundle
        from cadwyn.route_generation import _DELETED_ROUTE_TAG as ONLY_IN_OLDER

        versions: Any = importlib.import_module(VERSIONS)
        router = importlib.import_module(ROUTES).execution_api_router
        versions.bundle = VersionBundle(HeadVersion(), Version(versions.bundle.versions[0].value))
        router.routes[:] = [route for route in router.routes if ONLY_IN_OLDER not in getattr(route, "tags", ())]
    except (ImportError, AttributeError) as error:
        sys.stderr.write(f"the tasks' API builds all its versions, Airflow has moved them: {error}\n")


def preload_project() -> None:
    """Import what every task imports of `catalunya`, and have dbt read its project."""
    preload(*FOR_ONE_RUN)
    from catalunya.io.environment import load_settings
    from catalunya.io.warehouse.dbt import warm_up

    warm_up(load_settings())


def _watch(running: dict[int, str], parent: int) -> None:
    """Wait for POLL_S. Raises Stop when the parent has ended, ComponentEnded when a child has that should not."""
    time.sleep(POLL_S)
    _check(parent)
    pid, status = os.waitpid(-1, os.WNOHANG)
    name = running.pop(pid, None)
    if name and (name != "db" or status != 0):
        raise ComponentEnded(f"{name} ended with {os.waitstatus_to_exitcode(status)}")


def _check(parent: int) -> None:
    """Raise Stop when the parent has ended."""
    if os.getppid() != parent:
        raise Stop


def _fork(
    name: str, command: Sequence[str], modules: Sequence[str] = (), wait_for: tuple[int, int] | None = None
) -> int:
    """A child that runs one Airflow command, its output in `<name>.log`. Returns its process id."""
    # A signal received in between would run this process's handler in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    pid = os.fork()
    if not pid:
        _become(name, command, modules, wait_for)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return pid


def _become(name: str, command: Sequence[str], modules: Sequence[str], wait_for: tuple[int, int] | None) -> NoReturn:
    code = 1
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        log = Path(os.environ["AIRFLOW_HOME"], "logs", f"{name}.log")
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        preload(*modules)
        if wait_for:
            os.close(wait_for[1])
            if not os.read(wait_for[0], 1):
                os._exit(1)  # the launcher has ended
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        gc.enable()
        sys.argv = ["airflow", *command]
        importlib.import_module(MAIN).main()
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except BaseException:  # noqa: BLE001  a forked child must never return into its parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(running: dict[int, str]) -> None:
    """Ask the children to end; after GRACE_S kill whatever is left of this session. Tasks are safe to kill at any time."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for pid in running:
        os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while running and time.monotonic() < until:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if pid:
            running.pop(pid, None)
        else:
            time.sleep(POLL_S / 4)
    import psutil  # type: ignore[import-untyped]

    # By session: each task has its own process group, and renames itself.
    session = os.getsid(0)
    for pid in psutil.pids():
        try:
            if pid != os.getpid() and os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _stop(_: int, __: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    code = main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
    sys.stderr.flush()
    os._exit(code)  # without interpreter shutdown, in which libraries that were only preloaded report errors
