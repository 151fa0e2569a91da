"""`run` as a user starts it: what it prints, how it ends, and that nothing is left running.

A run that is killed. Runs that succeed, a run in which an asset fails, and `up` are in tests/e2e, because each Airflow takes half a minute.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from catalunya.io.environment import load_settings
from catalunya.io.errors import AirflowError, UsageError
from catalunya.ops.local_airflow import airflow, run
from small.patience import wait_until


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, compiled: Path, made: Path) -> Path:
    """A working folder with a lake in which everything was made."""
    folder = tmp_path_factory.mktemp("run")
    (folder / ".catalunya").symlink_to(compiled)
    shutil.copytree(made, folder / "data")
    return folder


@contextmanager
def started(folder: Path, call: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A call of `run` in its own process, without a terminal, its output in a pipe."""
    code = f"import sys; from catalunya.ops.local_airflow import run; from catalunya.io.environment import load_settings; sys.exit({call})"
    env = {name: value for name, value in os.environ.items() if not name.startswith("CATALUNYA")} | environment
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The output up to the line with this text."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(f"{text!r} was not printed:\n{output}")


def sessions(process: subprocess.Popen[str]) -> set[int]:
    """The process and the sessions that it has started."""
    return {psutil.Process(process.pid).pid, *(child.pid for child in psutil.Process(process.pid).children())}


def wait_for_end(started_sessions: set[int]) -> None:
    """Wait until nothing of these sessions is running. On a busy machine Airflow can import for a minute before it reacts."""
    wait_until(lambda: not list(_in(started_sessions)), 120, lambda: list(_in(started_sessions)))


def _in(wanted: set[int]) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in wanted and process.status() != psutil.STATUS_ZOMBIE:
                yield process.name()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """The size and time of writing of every object of the lake except leases."""
    files = [path for path in (folder / "data").rglob("*") if path.is_file() and "_leases" not in path.parts]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_nothing_is_left_running_after_a_run_is_killed(folder: Path) -> None:
    with started(folder, "run(load_settings(), rows=300)") as process:
        read_until(process, "starting Airflow")
        expected = len(("mock", "launcher", "execution-api", "api-server"))
        wait_until(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= expected, 120)
        mine = sessions(process) - {os.getsid(process.pid)}
        process.kill()

        assert len(mine) >= len(("mock", "launcher"))
        wait_for_end(mine)


@pytest.mark.parametrize("arguments", [["mock.py", "0", "10", ""], ["launcher.py", "0", ""]], ids=["mock", "launcher"])
def test_nothing_stays_whose_parent_ended_before_it_had_started(arguments: list[str], tmp_path: Path) -> None:
    script, *others = arguments
    module = Path(run.__code__.co_filename).with_name(script)
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    (tmp_path / "logs").mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    command = [sys.executable, "-P", module, str(ended.pid), *others]
    subprocess.run(command, env=env, check=True, timeout=60, start_new_session=True)


def test_a_port_in_use_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(
            UsageError, match=rf"port {port}, for the Airflow UI, is not available .* --port {port + 1}"
        ):
            run(load_settings(), port=port)


def test_a_damaged_database_of_airflow_is_reported_with_the_folder_to_delete(tmp_path: Path) -> None:
    (tmp_path / "airflow.db").write_text("no database")

    with (
        pytest.raises(AirflowError, match=rf"file is not a database; delete {tmp_path}, which is damaged, and start"),
        airflow(load_settings(), home=tmp_path),
    ):
        pass


def test_two_airflows_cannot_share_a_home(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)

        with (
            pytest.raises(UsageError, match=r"another Airflow is running .* \(process 4711\)"),
            airflow(load_settings(), home=tmp_path),
        ):
            pass
