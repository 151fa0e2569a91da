"""The processes of a deployed Airflow: which there are, and the environment that each is started with.

Compose and Dokku start them by name (`catalunya serve scheduler`), so that what Airflow has to be told stands here once. What the
environment says already is left as it is. Addresses in the form that platforms give them (DATABASE_URL, REDIS_URL, PORT) are
understood. Not here: whether a process is well (`health.py`).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.ops.deployed_airflow.settings import PARALLELISM, POOL, POOL_ABOUT, POOL_SLOTS, everywhere, variables

MIGRATE = "migrate"
LOCAL, CELERY = "LocalExecutor", "CeleryExecutor"
DATABASE, BROKER = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CELERY__BROKER_URL"
PORT = "AIRFLOW__API__PORT"
# What all processes of one deployment have to be told the same. Airflow would make some of it up, in each process anew.
SHARED = {
    DATABASE: "the metadata database, as postgresql://…, or DATABASE_URL",
    "AIRFLOW__CORE__FERNET_KEY": "what connections are encrypted with: 32 bytes, as URL-safe base64",
    "AIRFLOW__API__SECRET_KEY": "what sessions and requests for logs are signed with",
    "AIRFLOW__API_AUTH__JWT_SECRET": "what the tokens of tasks are signed with",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "where tasks reach the api-server: http://host:port/execution/",
}


@dataclass(frozen=True, slots=True)
class Process:
    """One process: Airflow's command, and the job whose heartbeat in the database shows that it lives."""

    command: tuple[str, ...]
    job: str | None = None


PROCESSES: Mapping[str, Process] = {
    "api-server": Process(("api-server",)),
    # What tasks log is read from a shared folder or from remote logs; only a worker shows what it is writing.
    "scheduler": Process(("scheduler", "--skip-serve-logs"), job="SchedulerJob"),
    "dag-processor": Process(("dag-processor",), job="DagProcessorJob"),
    "triggerer": Process(("triggerer", "--skip-serve-logs"), job="TriggererJob"),
    "worker": Process(("celery", "worker")),
}


def serve(name: str) -> NoReturn:
    """Become this process of Airflow. Raises ConfigurationError when the environment lacks something, UsageError for no such process."""
    process = known(name)
    become(name, arguments(process, os.environ))


def become(name: str, command: Sequence[str]) -> NoReturn:
    """Become Airflow's command with these arguments, for the process of this name; raises as `serve` does."""
    if importlib.util.find_spec("airflow") is None:
        raise UsageError(f"{name}: expected Airflow to be installed, found it is not; `make` installs it")
    env = environment(os.environ)
    complete(name, env)
    # -P: what lies in the folder it is started in is not to be imported.
    os.execve(sys.executable, [sys.executable, "-P", "-m", "airflow", *command], env)  # noqa: S606


def known(name: str) -> Process:
    """The process of this name. Raises UsageError, naming those there are."""
    if name not in PROCESSES:
        raise UsageError(f"process {name!r}: expected one of {', '.join((*PROCESSES, MIGRATE))}")
    return PROCESSES[name]


def arguments(process: Process, env: Mapping[str, str]) -> list[str]:
    """Airflow's arguments. Behind a proxy (FORWARDED_ALLOW_IPS says whose word counts) it is told which address people use."""
    proxied = process.command == ("api-server",) and env.get("FORWARDED_ALLOW_IPS")
    return [*process.command, *(["--proxy-headers"] if proxied else [])]


def migrate() -> None:
    """Bring the database to this Airflow's schema, and see that the sources' pool is there. Raises ConfigurationError.

    An existing pool stays as it is: its slots are the operator's to change.
    """
    env = environment(os.environ)
    complete(MIGRATE, env)
    os.environ.update(env)
    sys.argv = ["airflow", "db", "migrate"]
    from airflow.__main__ import main

    main()  # type: ignore[no-untyped-call]
    from airflow.models.pool import Pool

    from catalunya.io.environment import load_settings

    pool = load_settings().sources_pool
    if Pool.get_pool(pool) is None:
        # A landing task that waits for its function is leaning on its source all the while: it keeps its slot.
        Pool.create_or_update_pool(pool, POOL_SLOTS, POOL_ABOUT, include_deferred=True)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process: what is given, and for the rest this project's. Raises ConfigurationError."""
    from catalunya.io.environment import load_settings

    env = addresses(given)
    executor = env.setdefault("AIRFLOW__CORE__EXECUTOR", CELERY if _is_set(env, BROKER) else LOCAL)
    deployed: dict[str, object] = {
        "API__HOST": "0.0.0.0",  # noqa: S104  its container's; who reaches that, the network says
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # what other containers know this one by
        "LOGGING__JSON_LOGS": load_settings().log_format == "json",
    }
    if executor == LOCAL:
        deployed["CORE__PARALLELISM"] = PARALLELISM
    else:
        deployed["CELERY__WORKER_CONCURRENCY"] = PARALLELISM
        # Longer than any task runs; whatever is not confirmed by then is given to another worker.
        deployed["CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"] = 86_400
    return {**everywhere(), **variables(deployed), "CATALUNYA_SOURCES_POOL": POOL, "PYTHONUNBUFFERED": "1", **env}


def addresses(given: Mapping[str, str]) -> dict[str, str]:
    """What is given, with a platform's addresses under Airflow's names, where those have none."""
    env = dict(given)
    env.setdefault(PORT, given.get("PORT", "8080"))
    if (database := given.get("DATABASE_URL")) and not _is_set(env, DATABASE):
        env[DATABASE] = database.replace("postgres://", "postgresql://", 1)
    if (broker := given.get("REDIS_URL")) and not _is_set(env, BROKER):
        env[BROKER] = broker
    return env


def complete(name: str, env: Mapping[str, str]) -> None:
    """Raise ConfigurationError, naming what the process still has to be told, or may not be told."""
    missing = [variable for variable in SHARED if not _is_set(env, variable)]
    if name == "worker" and not _is_set(env, BROKER):
        missing.append(BROKER)
    if missing:
        first = missing[0]
        raise ConfigurationError(
            f"{name}: expected {first} ({SHARED.get(first, 'what brings work: redis://host:6379/0, or REDIS_URL')}), found it "
            f"unset{f', and {len(missing) - 1} more' if missing[1:] else ''}; `make secrets` writes them for compose, docs/dokku.md tells the rest"
        )
    if is_on(env, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS") and env["AIRFLOW__CORE__EXECUTOR"] != LOCAL:
        raise ConfigurationError(
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS: expected only where Airflow is one machine's own (LocalExecutor), found "
            f"it with {env['AIRFLOW__CORE__EXECUTOR']}: everybody who reaches it would be its administrator; unset it"
        )


def is_on(env: Mapping[str, str], variable: str) -> bool:
    """Whether a switch of Airflow's is on, as Airflow reads it."""
    return env.get(variable, "").strip().lower() in ("t", "true", "1")


def _is_set(env: Mapping[str, str], variable: str) -> bool:
    """Whether it has a value, or Airflow is told by which command or from which secret to take it."""
    return any(env.get(f"{variable}{suffix}") for suffix in ("", "_CMD", "_SECRET"))
