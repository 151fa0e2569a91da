"""The process that all of Airflow on this machine descends from: it imports Airflow once and forks the components.

Each component started by itself would import for 2 to 4 seconds; forked from here they share one import, and so do the
tasks, which LocalExecutor forks from the scheduler. It ends when its parent does, and takes everything down with it.

Run as a file (`server.py` does), in a session of its own, with Airflow's settings in the environment. Nothing of
`catalunya` is imported here, so that tasks read the code as it is when they start, and neither is polars, which does not
bear forking.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

# What the tasks would import, each of them anew.
_FOR_TASKS = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "httpx",
    "stamina",
    "msgspec",
    "pydantic_settings",
    "obstore.store",
    "duckdb",
    "dbt.cli.main",
    "dbt.adapters.duckdb",
    "dbt.parser.manifest",
)
_FOR_SCHEDULING = (
    "airflow.jobs.scheduler_job_runner",
    "airflow.executors.local_executor",
    "airflow.dag_processing.manager",
)
_FOR_API = (
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.core_api.app",
    "airflow.api_fastapi.core_api.routes.public",
    "airflow.api_fastapi.core_api.routes.ui",
    "airflow.api_fastapi.execution_api.app",
    "airflow.api_fastapi.execution_api.routes",
)
_COMPONENTS = {
    "scheduler": ("scheduler", "--skip-serve-logs"),  # whoever reads logs is on this machine
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
POLL_S = 0.2
GRACE_S = 3.0
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stop(Exception):
    """A signal, or the end of the parent: take everything down."""


class Ended(Exception):
    """A component ended by itself."""


def main(components: Sequence[str]) -> int:
    """Start the API server and the components, and wait. Returns 0 when told to stop, 1 when one ended by itself."""
    parent = os.getppid()
    # Importing makes objects by the hundred thousand that stay: collecting them in between doubles the time it takes.
    gc.disable()
    running: dict[int, str] = {}
    for signalled in ENDING:
        signal.signal(signalled, _stop)
    try:
        importlib.import_module("airflow.cli.cli_parser")
        ready = os.pipe()
        running[_fork("api-server", ("api-server",), _FOR_API, wait_for=ready)] = "api-server"
        database = _fork("db", ("db", "migrate"))
        running[database] = "db"
        _import(*_FOR_SCHEDULING, *_FOR_TASKS)
        # The first asset has Airflow look for what its providers say of URIs.
        importlib.import_module("airflow.sdk").Asset(name="launcher", uri="catalunya://launcher")
        gc.freeze()
        while database in running:
            _watch(running, parent)
        os.write(ready[1], b"1")
        for name in components:
            running[_fork(name, _COMPONENTS[name])] = name
        while True:
            _watch(running, parent)
    except Stop:
        return 0
    except Ended as ended:
        sys.stderr.write(f"{ended}\n")
        return 1
    finally:
        _end(running)


def _watch(running: dict[int, str], parent: int) -> None:
    """Wait a little. Raises Stop when the parent is gone, Ended when a child is that should not be."""
    time.sleep(POLL_S)
    if os.getppid() != parent:
        raise Stop
    pid, status = os.waitpid(-1, os.WNOHANG)
    name = running.pop(pid, None)
    if name and (name != "db" or status != 0):
        raise Ended(f"{name} ended with {os.waitstatus_to_exitcode(status)}")


def _fork(
    name: str, command: Sequence[str], modules: Sequence[str] = (), wait_for: tuple[int, int] | None = None
) -> int:
    """A child that runs one Airflow command, its output in `<name>.log`; returns its process id."""
    # A signal that came in between would run this process's handler in the child.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if not pid:
        _become(name, command, modules, wait_for)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    return pid


def _become(name: str, command: Sequence[str], modules: Sequence[str], wait_for: tuple[int, int] | None) -> NoReturn:
    code = 1
    try:
        for signalled in ENDING:
            signal.signal(signalled, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        log = Path(os.environ["AIRFLOW_HOME"], "logs", f"{name}.log")
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        _import(*modules)
        if wait_for:
            os.close(wait_for[1])
            if not os.read(wait_for[0], 1):
                os._exit(1)  # the launcher is gone
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        gc.enable()
        sys.argv = ["airflow", *command]
        importlib.import_module("airflow.__main__").main()
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except BaseException:  # noqa: BLE001  a forked child must never return into its parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _import(*names: str) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            # An extra that is not installed: whoever needs it will say so.
            if name.partition(".")[0] != str(error.name).partition(".")[0]:
                raise


def _end(running: dict[int, str]) -> None:
    """Ask the children to end, and kill what is left of this session after a moment: tasks may be killed at any time."""
    for signalled in ENDING:
        signal.signal(signalled, signal.SIG_IGN)
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

    # By session: each task is in a process group of its own, and renames itself.
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
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # without the interpreter's tidying up, which libraries that were never used complain about
