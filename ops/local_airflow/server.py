"""Airflow 3.3 on this machine as a context manager: SQLite, LocalExecutor, on 127.0.0.1, no login, nothing left running.

Here: its settings, its home folder, starting and stopping. Not here: its processes (`launcher.py`), what runs on it
(`pipeline_run.py`).
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from catalunya.assets.graph.discovery import check_declarations, load_graph
from catalunya.io.environment import Settings
from catalunya.io.errors import AirflowError, UsageError
from catalunya.ops.deployed_airflow.processes import PARALLELISM, POOL, POOL_SLOTS, common_settings, variables
from catalunya.ops.local_airflow.client import Client
from catalunya.ops.processes import check_free, child, free_ports, listens

HOME = Path(".airflow")
START_S = 180.0
POLL_S = 0.15


@dataclass(frozen=True, slots=True)
class Server:
    """A running Airflow: UI and API at `url`, files below `home`, every DAG parsed at `started_at` or later."""

    url: str
    home: Path
    client: Client
    started_at: datetime
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise AirflowError if it has ended by itself."""
        if self.process.poll() is not None:
            raise AirflowError(f"Airflow ended unexpectedly; {_last_error(self.home / 'logs')}")


@contextmanager
def airflow(
    settings: Settings,
    *,
    home: Path = HOME,
    port: int | None = None,
    stays: bool = False,
    retry_delay_s: int = 2,
    idle_s: float = 0.2,
    dags: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Iterator[Server]:
    """Start Airflow for the assets of `settings`; stop all of it when the block ends, however it ends.

    `home` keeps the database and logs between runs; one server at a time may use it. `port` is the UI's, by default a free
    one. `stays` means hours instead of one run: cron schedules are active, and an idle scheduler looks for work every second, not every
    `idle_s`. `dags` is a folder of other DAGs with the same ids (`bench/wave.py`). Raises UsageError if Airflow is not installed, the
    port is in use or the home is in use, AirflowError if it does not start.
    """
    if importlib.util.find_spec("airflow") is None:
        raise UsageError("Airflow is not installed; run `make setup`, or `pip install 'catalunya[airflow]'`")
    if port:
        check_free(port, "the Airflow UI", "catalunya up --port")
    home = home.absolute()
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ports = free_ports(4)
    ports[0] = port or ports[0]
    url, execution_url = (f"http://127.0.0.1:{number}" for number in ports[:2])
    env = environment(settings, home, ports, stays=stays, retry_delay_s=retry_delay_s, idle_s=idle_s)
    if dags:
        env |= variables({"CORE__DAGS_FOLDER": dags.absolute()})
    started_at = datetime.now(UTC)
    # One short run without deferrable tasks needs no triggerer, and no one checks its health.
    needs_triggerer = stays or settings.functions or settings.manifests_queue
    components = ("scheduler", *(("triggerer",) if needs_triggerer else ()))
    launcher = str(Path(__file__).with_name("launcher.py"))
    command = [sys.executable, "-P", launcher, str(os.getpid()), str(ports[1]), "stays" if stays else "", *components]
    with _locked(home), child(command, log=logs / "launcher.log", env=env) as process, Client(url) as client:
        server = Server(url, home, client, started_at, process)
        Thread(target=_warm_up, args=[server, execution_url], name="warm-up", daemon=True).start()
        check_declarations(settings)  # while Airflow starts on the other core
        _wait_until(server, client.is_alive, "its API did not answer")
        report("the API answers; waiting for the DAGs to be parsed")
        client.ensure_pool(POOL, POOL_SLOTS)
        _wait_until(server, lambda: _has_parsed(server, settings), "not every DAG was parsed")
        # The first tasks wait for its routes, as the scheduler needs a while to start them.
        _wait_until(server, lambda: listens(ports[1]), "the API of the tasks did not answer")
        yield server


def environment(
    settings: Settings, home: Path, ports: Sequence[int], *, stays: bool, retry_delay_s: int, idle_s: float
) -> dict[str, str]:
    """Airflow's environment: this process's without its AIRFLOW variables, the project's settings, and Airflow's."""
    port, execution_port, worker_port, trigger_port = ports
    airflow_settings: dict[str, object] = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": PARALLELISM,
        "CORE__DEFAULT_TASK_RETRY_DELAY": retry_delay_s,
        # The first parse compiles the graph, maybe on a busy machine.
        "CORE__DAGBAG_IMPORT_TIMEOUT": START_S,
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": START_S,
        # One run needs no second parse. If a DAG is parsed just when a run of it ends, Airflow 3.3.2 starts no other one until the next parse.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 30 if stays else 3600,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{execution_port}/execution/",
        # Only this machine's user reaches 127.0.0.1: a password would add nothing.
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{quote(str(home / 'airflow.db'))}",
        # The launcher has migrated it before they start; each process would read all migrations of Airflow to find that out.
        "DATABASE__CHECK_MIGRATIONS": False,
        # No one gets metrics from here; for the old names, processes read a table of them.
        "METRICS__LEGACY_NAMES_ON": False,
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__WORKERS": 1,
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "LOGGING__WORKER_LOG_SERVER_PORT": worker_port,
        "LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_port,
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 1 if stays else idle_s,
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        # How long it can take to notice that a task's process has ended after closing its pipes.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": 1,
        # The next scheduler adopts the tasks of a killed one within seconds instead of minutes.
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 15,
    }
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        **{f"CATALUNYA_{name.upper()}": value for name, value in _as_variables(settings).items()},
        "CATALUNYA_SOURCES_POOL": POOL,
        "CATALUNYA_AIRFLOW_URL": f"http://127.0.0.1:{port}",
        "CATALUNYA_CLOCKS": "on" if stays else "off",
        "AIRFLOW_HOME": str(home),
        **common_settings(),
        **variables(airflow_settings),
        "PYTHONUNBUFFERED": "1",
    }


def _as_variables(settings: Settings) -> dict[str, str]:
    """The settings as the environment variables they are read from, with absolute paths."""
    found: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, Path):
            value = value.absolute()
        elif name in ("lake", "backup", "portal_folder") and "://" not in value:
            value = Path(value).absolute()
        if value is not None:
            found[name] = str(value)
    return found


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Lock the home folder. Raises UsageError if another server uses it."""
    with (home / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise UsageError(
                f"another Airflow is running from {home} (process {lock.read().strip() or 'unknown'}); stop it first"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _warm_up(server: Server, url: str) -> None:
    """Have the tasks' API build its routes, which takes seconds, while the DAGs are parsed."""
    while server.process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.get(f"{url}/execution/health", timeout=START_S, trust_env=False)
            return
        time.sleep(POLL_S)


def _has_parsed(server: Server, settings: Settings) -> bool:
    """Whether Airflow has every asset's DAG. Parsing them compiles the graph, if need be: where dbt is imported already."""
    parsed, errors = server.client.parsed(server.started_at), server.client.import_errors(server.started_at)
    if not parsed and not errors:
        return False
    keys = {asset.key for asset in load_graph(settings)}  # raises what is wrong with a declaration
    if errors:
        raise AirflowError(f"Airflow cannot import the DAGs: {errors[0]}; fix the error and start again")
    return keys <= parsed


def _wait_until(server: Server, is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + START_S
    while not is_so():
        server.check()
        if time.monotonic() > until:
            raise AirflowError(
                f"Airflow did not start: after {START_S:.0f} s {what}; {_last_error(server.home / 'logs')}"
            )
        time.sleep(POLL_S)


def _last_error(logs: Path) -> str:
    """The last error of the component that ended, and its log file."""
    ended = (logs / "launcher.log").read_text(errors="replace", encoding="utf-8").split()
    name = ended[0] if ended and (logs / f"{ended[0]}.log").exists() else "launcher"
    log = logs / f"{name}.log"
    lines = [line.strip() for line in log.read_text(errors="replace", encoding="utf-8").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\[error|\w(Error|Exception): ", line)]
    found = (errors or lines or ["(empty)"])[-1]
    home = f"delete {logs.parent}, which is"
    again = "and start again: it holds Airflow's runs and logs, no tables"
    if re.search(r"\b(DatabaseError|UnicodeDecodeError|configparser\.\w+): ", found):
        found = f"{found}; {home} damaged, {again}"
    elif "Can't locate revision" in found:  # alembic's, such as after a step back to an earlier commit
        found = f"{found}; {home} of a newer Airflow, {again}"
    return f"last error in {log}: {found}"
