"""`run` as a person starts it: what it prints, how it ends, and that nothing is left running.

They share one folder, in this order: a run that is killed, and one after it, in which an asset fails. Those that go well, and `up`,
are in tests/e2e: an Airflow more takes half a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from catalunya.assets.graph.discovery import load_graph
from catalunya.io.environment import load_settings
from catalunya.io.errors import UsageError
from catalunya.ops.local_airflow import airflow, up
from catalunya.ops.mock import serve

FAILED = "landing.social_services"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, compiled: Path, made: Path) -> Path:
    """A folder to work in, with a lake in which all was made."""
    folder = tmp_path_factory.mktemp("run")
    (folder / ".catalunya").symlink_to(compiled)
    shutil.copytree(made, folder / "data")
    return folder


@contextmanager
def started(folder: Path, call: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`run(...)` or `up(...)` in a process of its own, without a terminal; its output is in its pipe."""
    code = f"import sys; from catalunya.ops.local_airflow import run, up; from catalunya.io.environment import load_settings; sys.exit({call})"
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
    """What it prints up to the line with the text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} never came:\n{said}")


def sessions(process: subprocess.Popen[str]) -> set[int]:
    """The sessions of all that the process has started."""
    return {psutil.Process(process.pid).pid, *(child.pid for child in psutil.Process(process.pid).children())}


def left_of(started_sessions: set[int], within_s: float = 90) -> list[str]:
    """What is still running of these sessions after a while: on a busy machine Airflow imports for a minute before it looks up."""
    until = time.monotonic() + within_s
    while (left := list(_in(started_sessions))) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def _in(wanted: set[int]) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in wanted and process.status() != psutil.STATUS_ZOMBIE:
                yield process.name()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Every object of the lake but leases: size and time of writing."""
    files = [path for path in (folder / "data").rglob("*") if path.is_file() and "_leases" not in path.parts]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_nothing_outlives_a_run_that_is_killed(folder: Path) -> None:
    with started(folder, "run(load_settings(), rows=300)") as process:
        read_until(process, "starting Airflow")
        while len(psutil.Process(process.pid).children(recursive=True)) < len(("mock", "launcher", "api-server", "db")):
            time.sleep(0.1)
        mine = sessions(process) - {os.getsid(process.pid)}
        process.kill()

        assert len(mine) >= len(("mock", "launcher"))
        assert left_of(mine) == []


def test_a_run_after_that_tells_what_failed_and_why_exits_with_1_and_writes_nothing_of_what_is_up_to_date(
    folder: Path,
) -> None:
    before = written(folder)
    with serve(rows=300, faults=["missing-column:ivft-vegh:column=registre"]) as mock:
        mock.advance("ivft-vegh")
        with started(
            folder, "run(load_settings())", CATALUNYA_SOCRATA_URL=mock.url, CATALUNYA_IDESCAT_URL=mock.url
        ) as process:
            said = process.communicate()[0]

    assert process.returncode == 1, said
    assert "the end of the log of landing.social_services" in said
    assert "landing.social_services failed: landing.social_services: " in said
    assert "starting the mock" not in said
    others = {asset.key for asset in load_graph(load_settings(cache=folder / ".catalunya"))} - {FAILED}
    assert [key for key in others if not re.search(rf"{re.escape(key)} +up to date", said)] == []
    after = written(folder)
    assert {path: at for path, at in after.items() if path in before} == before
    of_the_failed = tuple(str(folder / "data" / top / FAILED.replace(".", "/")) for top in ("", "_ledger"))
    assert [path for path in after.keys() - before.keys() if not path.startswith(of_the_failed)] == []


def test_a_taken_port_is_named_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(UsageError, match=rf"port {port}: expected it to be free .* --port {port + 1}"):
            up(load_settings(), port=port)


def test_two_airflows_do_not_share_a_home(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(UsageError, match=r"found one \(process 4711\)"), airflow(load_settings(), home=tmp_path):
            pass
