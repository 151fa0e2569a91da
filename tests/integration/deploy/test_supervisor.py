"""`catalunya serve` around small processes: what it forwards, when it ends one, and what it costs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from small.patience import patience, wait_until

# A process that says when it is up, and on SIGTERM works a moment before it ends with 7, as a worker ends its tasks.
PATIENT = """
import signal, subprocess, sys, time
def stop(*_):
    print("asked to stop", flush=True)
    time.sleep(0.3)
    print("done", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
other = subprocess.Popen(["sleep", "600"])
print("up", other.pid, flush=True)
while True:
    signal.pause()
"""
# Ends with the codes of a list, one after the other, the last again and again, and counts itself.
CHECK = """
import sys
with open(sys.argv[1], "a+") as ran:
    ran.seek(0)
    before = len(ran.read())
    ran.write(".")
codes = sys.argv[2].split()
print("error: it hangs")
sys.exit(int(codes[min(before, len(codes) - 1)]))
"""
SUPERVISE = "import json, sys; from catalunya.ops.deployed_airflow.supervisor import Supervisor; sys.exit(Supervisor(**json.loads(sys.argv[1])).run())"


class Supervised:
    """A supervisor in a process of its own. `codes`: what the checks of its process end with, the last again and again."""

    def __init__(self, folder: Path, codes: str, child: str, **limits: float) -> None:
        self.checks, self.output = folder / "checks", folder / "output"
        given = {
            "name": "scheduler",
            "command": [sys.executable, "-c", child],
            "check": [sys.executable, "-c", CHECK, str(self.checks), codes],
            "every_s": 0.1,
            "check_s": patience(20),
            "end_s": 0.3,
            **limits,
        }
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISE, json.dumps(given)],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text()

    def says(self, word: str, times: int = 1) -> None:
        wait_until(lambda: self.text().count(word) >= times, 60, self.text, poll_s=0.02)

    def is_checked(self, times: int) -> None:
        """Wait for as many checks to be over."""
        wait_until(lambda: self.checks.exists() and len(self.checks.read_text()) > times, 60, self.text, poll_s=0.02)

    def grandchild(self) -> int:
        """The process that the supervised one started."""
        said = re.compile(r"\bup (\d+)\n")  # on a busy machine, lines of the supervisor come before it
        wait_until(lambda: said.search(self.text()) is not None, 60, self.text, poll_s=0.02)
        return int(said.findall(self.text())[0])

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def end(self) -> int:
        return self.process.wait(patience(60))


@contextmanager
def supervised(folder: Path, codes: str, child: str = PATIENT, **limits: float) -> Iterator[Supervised]:
    found = Supervised(folder, codes, child, **limits)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                found.process.wait(patience(5))
        if found.process.poll() is None:
            found.process.kill()


def is_running(pid: int) -> bool:
    """Whether it runs, as anything but a zombie that whoever adopted it has not read yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_that_fails_five_checks_in_a_row_is_ended_with_one_line_why(tmp_path: Path) -> None:
    with supervised(tmp_path, "0 0 0 0 1") as it:
        other = it.grandchild()
        assert it.end() == 1
        (line,) = [line for line in it.lines() if line["event"] == "process_unhealthy"]
        assert (line["level"], line["process"], line["failures"], line["why"]) == ("error", "scheduler", 5, "it hangs")
        assert "asked to stop" in it.text(), "it may end its tasks"
        wait_until(lambda: not is_running(other), 10)


def test_a_process_that_does_not_react_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    with supervised(tmp_path, "0 " * 40 + "1", every_s=0.05) as it:
        other = it.grandchild()
        mine = int(Path(f"/proc/{other}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        os.kill(mine, signal.SIGSTOP)
        assert it.end() == 1
        assert "asked to stop" not in it.text()
        wait_until(lambda: not is_running(other) and not is_running(mine), 10)


@pytest.mark.parametrize("code", ["2", "3", "70"])
def test_a_check_that_cannot_tell_ends_nothing(tmp_path: Path, code: str) -> None:
    with supervised(tmp_path, f"0 {code}") as it:
        it.is_checked(8)
        assert it.process.poll() is None
        assert {line["event"] for line in it.lines()} == {"process_healthy", "health_unknown"}


def test_a_check_that_does_not_finish_ends_nothing(tmp_path: Path) -> None:
    with supervised(tmp_path, "0", check_s=0.001) as it:
        it.says("did not finish within 0.001 s", times=6)
        assert it.process.poll() is None


def test_failures_count_only_in_a_row(tmp_path: Path) -> None:
    with supervised(tmp_path, "0 1 1 1 1 0 1 1 1 1 3 1 1 0") as it:
        it.is_checked(14)
        assert it.process.poll() is None
        failures = [line["failures"] for line in it.lines() if line["event"] == "health_check_failed"]
        assert failures == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
        assert [line["event"] for line in it.lines()].count("process_healthy") == 1, (
            "it says so once, when it has started"
        )


def test_one_that_never_becomes_healthy_is_ended_after_its_time_to_start(tmp_path: Path) -> None:
    with supervised(tmp_path, "1", start_s=600) as it:
        it.is_checked(5)
        assert it.lines() == []
    with supervised(tmp_path, "1", start_s=0.5) as it:
        assert it.end() == 1


def test_a_stop_is_forwarded_and_the_process_ends_its_work_before_the_supervisor_ends(tmp_path: Path) -> None:
    with supervised(tmp_path, "1", every_s=600) as it:
        other = it.grandchild()
        it.process.terminate()
        assert it.end() == 7
        assert it.text().split()[-4:] == ["asked", "to", "stop", "done"]
        wait_until(lambda: not is_running(other), 10)


@pytest.mark.parametrize(
    ("child", "code"), [("raise SystemExit(5)", 5), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137)]
)
def test_a_process_that_ends_by_itself_ends_its_supervisor_with_the_same_code(
    tmp_path: Path, child: str, code: int
) -> None:
    with supervised(tmp_path, "1", child, every_s=600) as it:
        assert it.end() == code


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "a pipe that no one reads"])
def test_a_process_is_checked_though_no_one_reads_what_the_supervisor_says(tmp_path: Path, is_closed: bool) -> None:
    given = {
        "name": "scheduler",
        "command": ["sleep", "600"],
        "check": ["sh", "-c", "exit 1"],
        "every_s": 0.01,
        "start_s": 0,
    }
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", SUPERVISE, json.dumps(given)]
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" 2>&-', *command] if is_closed else command,
        stderr=writer,
        check=False,
        timeout=patience(60),
    )
    os.close(writer)
    assert done.returncode == 1


def test_a_supervisor_loads_only_the_standard_library() -> None:
    """It stays in memory beside each process of Airflow: 15 MB, where the command itself would take 60."""
    code = "import sys; import catalunya.ops.deployed_airflow.supervisor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    ours = {name for name in done.stdout.split() if name.startswith("catalunya.")}
    assert {name for name in loaded if not name.startswith("_")} == {"catalunya"}
    assert ours == {
        "catalunya.ops",
        "catalunya.ops.deployed_airflow",
        "catalunya.ops.deployed_airflow.supervisor",
    }
