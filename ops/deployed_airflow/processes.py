"""The processes of a deployed Airflow, and the environment that each is started with.

Compose and Dokku start them by name (`catalunya serve scheduler`), so that Airflow's settings are written once, here: those it gets
wherever it runs (`common_settings`, which `ops/local_airflow` uses too) and those of a deployment. A variable that is already set
wins. Addresses in the form that platforms provide (DATABASE_URL, REDIS_URL, PORT) are accepted. Not here: health checks
(`health.py`), and what happens when they fail (`supervisor.py`).
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import catalunya
from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.io.project_folder import active

POOL = "sources"
POOL_SLOTS = 4
POOL_ABOUT = "landing tasks: limits the load on the sources"
# Tasks at once. Each takes memory, and 38 at once made SQLite fail.
PARALLELISM = 4

MIGRATE = "migrate"
LOCAL, CELERY = "LocalExecutor", "CeleryExecutor"
DATABASE, BROKER = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CELERY__BROKER_URL"
PORT = "AIRFLOW__API__PORT"
# Must be the same for all processes of one deployment. Airflow would otherwise generate some of it, differently in each process.
SHARED = {
    DATABASE: "the metadata database, as postgresql://…, or DATABASE_URL",
    "AIRFLOW__CORE__FERNET_KEY": "the key that encrypts connections: 32 bytes, as URL-safe base64",
    "AIRFLOW__API__SECRET_KEY": "the key that signs sessions and log requests",
    "AIRFLOW__API_AUTH__JWT_SECRET": "the key that signs the tokens of tasks",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "where tasks reach the api-server: http://host:port/execution/",
}


@dataclass(frozen=True, slots=True)
class Process:
    """One process: Airflow's command, and the job whose heartbeat in the database shows that it is alive."""

    command: tuple[str, ...]
    job: str | None = None


PROCESSES: Mapping[str, Process] = {
    "api-server": Process(("api-server",)),
    # Task logs are read from a shared folder or from remote logging; only a worker serves the log it is writing.
    "scheduler": Process(("scheduler", "--skip-serve-logs"), job="SchedulerJob"),
    "dag-processor": Process(("dag-processor",), job="DagProcessorJob"),
    "triggerer": Process(("triggerer", "--skip-serve-logs"), job="TriggererJob"),
    "worker": Process(("celery", "worker")),
}


def serve(name: str) -> NoReturn:
    """Replace this process with the Airflow process, supervised unless that is switched off.

    Raises ConfigurationError if a variable is missing, UsageError for an unknown name.
    """
    from catalunya.io.environment import load_settings
    from catalunya.ops.deployed_airflow import supervisor

    process, every_s = known(name), load_settings().liveness_s
    command = airflow_command(arguments(process, os.environ))
    _become(name, supervisor.command(name, every_s, command) if every_s else command)


def become(name: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process with Airflow's command with these arguments, in the environment of `name`. Raises what `serve` raises."""
    _become(name, airflow_command(arguments))


def airflow_command(arguments: Sequence[str]) -> list[str]:
    """Airflow's command in this Python. -P: do not import from the current folder."""
    return [sys.executable, "-P", "-m", "airflow", *arguments]


def _become(name: str, command: list[str]) -> NoReturn:
    if importlib.util.find_spec("airflow") is None:
        raise UsageError(f"{name}: Airflow is not installed; run `make setup`")
    env = environment(os.environ)
    check_environment(name, env)
    os.execve(sys.executable, command, env)  # noqa: S606


def known(name: str) -> Process:
    """The process of this name. Raises UsageError, listing the names, if there is none."""
    if name not in PROCESSES:
        raise UsageError(f"unknown process {name!r}; expected one of {', '.join((*PROCESSES, MIGRATE))}")
    return PROCESSES[name]


def arguments(process: Process, env: Mapping[str, str]) -> list[str]:
    """Airflow's arguments. Behind a proxy (FORWARDED_ALLOW_IPS lists the trusted ones) it uses the address in the proxy's headers."""
    proxied = process.command == ("api-server",) and env.get("FORWARDED_ALLOW_IPS")
    return [*process.command, *(["--proxy-headers"] if proxied else [])]


def migrate() -> None:
    """Migrate the database to this Airflow's schema, and create the sources' pools. Raises ConfigurationError.

    An existing pool stays as it is: operators may change its slots.
    """
    env = environment(os.environ)
    check_environment(MIGRATE, env)
    os.environ.update(env)
    sys.argv = ["airflow", "db", "migrate"]
    from airflow.__main__ import main

    main()  # type: ignore[no-untyped-call]
    from airflow.models.pool import Pool

    from catalunya.io.environment import load_settings

    for pool in load_settings().pools:
        if Pool.get_pool(pool) is None:
            # A deferred landing task keeps its slot: its Lambda function is reading from the source meanwhile.
            Pool.create_or_update_pool(pool, POOL_SLOTS, POOL_ABOUT, include_deferred=True)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process: the given variables, over this project's defaults. Raises ConfigurationError."""
    from catalunya.io.environment import load_settings

    env = addresses(given)
    executor = env.setdefault("AIRFLOW__CORE__EXECUTOR", CELERY if _is_set(env, BROKER) else LOCAL)
    deployed: dict[str, object] = {
        "API__HOST": "0.0.0.0",  # noqa: S104  inside a container; its network decides who reaches it
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the name under which other containers reach this one
        "LOGGING__JSON_LOGS": load_settings().log_format == "json",
    }
    if executor == LOCAL:
        deployed["CORE__PARALLELISM"] = PARALLELISM
    else:
        deployed["CELERY__WORKER_CONCURRENCY"] = PARALLELISM
        # Longer than any task runs: a task that is not acknowledged by then is delivered to another worker.
        deployed["CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"] = 86_400
    # Tasks do not see Airflow's own variable, and backups contain a dump.
    dumped = {"CATALUNYA_AIRFLOW_DATABASE": postgres_address(env)} if env.get(DATABASE) else {}
    ours = {"CATALUNYA_SOURCES_POOL": POOL, "PYTHONUNBUFFERED": "1", **dumped}
    return {**common_settings(), **variables(deployed), **ours, **env}


def addresses(given: Mapping[str, str]) -> dict[str, str]:
    """The given variables, with a platform's addresses also under Airflow's names, unless those are set."""
    env = dict(given)
    env.setdefault(PORT, given.get("PORT", "8080"))
    if (database := given.get("DATABASE_URL")) and not _is_set(env, DATABASE):
        env[DATABASE] = database.replace("postgres://", "postgresql://", 1)
    if (broker := given.get("REDIS_URL")) and not _is_set(env, BROKER):
        env[BROKER] = broker
    return env


def postgres_address(env: Mapping[str, str]) -> str:
    """The address of Airflow's database as PostgreSQL's own programs read it, without SQLAlchemy's driver."""
    return re.sub(r"^postgresql\+\w+:", "postgresql:", env.get(DATABASE, ""))


def check_environment(name: str, env: Mapping[str, str]) -> None:
    """Raise ConfigurationError if a variable is missing, or has a value that is not allowed."""
    missing = [variable for variable in SHARED if not _is_set(env, variable)]
    if name == "worker" and not _is_set(env, BROKER):
        missing.append(BROKER)
    if missing:
        first = missing[0]
        raise ConfigurationError(
            f"{name}: {first} is not set ({SHARED.get(first, 'the broker: redis://host:6379/0, or REDIS_URL')})"
            f"{f', and {len(missing) - 1} more are missing' if missing[1:] else ''}; `make secrets` writes them for compose, for Dokku see "
            "docs/dokku.md"
        )
    if is_on(env, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS") and env["AIRFLOW__CORE__EXECUTOR"] != LOCAL:
        raise ConfigurationError(
            f"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS is set with {env['AIRFLOW__CORE__EXECUTOR']}: everyone who reaches Airflow "
            "would be an administrator; unset it (it is only for LocalExecutor, on one machine)"
        )


def is_on(env: Mapping[str, str], variable: str) -> bool:
    """Whether a boolean setting of Airflow is on, as Airflow parses it."""
    return env.get(variable, "").strip().lower() in ("t", "true", "1")


def _is_set(env: Mapping[str, str], variable: str) -> bool:
    """Whether it has a value, or Airflow gets the value from a command or a secrets backend."""
    return any(env.get(f"{variable}{suffix}") for suffix in ("", "_CMD", "_SECRET"))


def common_settings() -> dict[str, str]:
    """Airflow's settings that are the same on one machine and deployed, as environment variables."""
    return variables(
        {
            "CORE__DAGS_FOLDER": Path(catalunya.__file__).parent / "dags",
            "CORE__LOAD_EXAMPLES": False,
            # Of a DAG file that cannot be imported: by default two lines, which may both be Airflow's.
            "CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": 20,
            "API__MAXIMUM_PAGE_LIMIT": 1000,
            # The default of 5 fails tasks while the machine is busy or the api-server starts.
            "WORKERS__EXECUTION_API_TIMEOUT": 60,
            "API__INSTANCE_NAME": active().title,
            "LOGGING__COLORED_CONSOLE_LOG": False,
        }
    )


def variables(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings, named SECTION__NAME, as the environment variables that Airflow reads."""
    return {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
