"""Runs one process of a deployed Airflow, and ends it when it is unhealthy, so that Docker restarts its container.

Docker restarts containers that end, and nothing restarts a process that hangs: Dokku runs health checks only while it deploys, and
Compose only marks a container as unhealthy. So `catalunya serve` becomes this: it starts Airflow, forwards signals to it, runs
`catalunya healthy` regularly, and ends Airflow and itself when five checks in a row fail.

Only what the process is to blame for counts: while its database or broker does not answer, a restart fixes nothing and would end
running tasks, and a check that does not finish says more about the machine. Both are logged.

Here: the parent process, which stays in memory beside each process of Airflow and therefore imports the standard library only. Not
here: the check itself (`health.py`), which process is started how (`processes.py`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from types import FrameType

# In a row, a minute apart: a machine that is merely busy for some minutes must not lose its api-server too.
FAILURES = 5
# Airflow takes seconds to start on an idle machine, and minutes on one where everything starts at once.
START_S = 300.0
CHECK_S = 60.0
# A process that hangs rarely reacts to SIGTERM; one that does gets this long to end its tasks.
END_S = 30.0
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# The exit code of `catalunya healthy` for a process that is unhealthy; any other means that the check could not tell.
UNHEALTHY = 1


@dataclass
class Supervisor:
    """One process, its check, and the limits of both in seconds."""

    name: str
    command: Sequence[str]
    check: Sequence[str]
    every_s: float
    start_s: float = START_S
    check_s: float = CHECK_S
    end_s: float = END_S
    _stopping: Event = field(default_factory=Event)
    _ended: Event = field(default_factory=Event)
    _is_unhealthy: bool = False

    def run(self) -> int:
        """Start the process and wait until it has ended. Returns its exit code, or 1 if it was ended for being unhealthy.

        The process has its own group, so that a terminal's Ctrl-C reaches it once, from here. Main thread only, as for all signals.
        """
        process: subprocess.Popen[bytes] | None = None
        early: list[int] = []

        def forward(number: int, _: FrameType | None) -> None:
            if number in STOPPING:
                self._stopping.set()
            if process is None:
                early.append(number)
            else:
                process.send_signal(number)

        for each in FORWARDED:
            signal.signal(each, forward)
        process = subprocess.Popen(self.command, process_group=0)  # noqa: S603  our own command
        for number in early:
            process.send_signal(number)
        watch = Thread(target=self._watch, args=[process], daemon=True)
        watch.start()
        code = process.wait()
        self._ended.set()
        self._stopping.set()
        _kill_group(process)
        if self._is_unhealthy:
            return UNHEALTHY
        return code if code >= 0 else 128 - code

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Check until the process ends or stops, or has failed too often."""
        began, failures, was_healthy = monotonic(), 0, False
        while not self._stopping.wait(self.every_s):
            code, why = self._healthy()
            if self._stopping.is_set():
                return
            if code == 0 and not was_healthy:
                log("info", "process_healthy", process=self.name)  # from now on, failures count
                was_healthy = True
            is_starting = not was_healthy and monotonic() - began < self.start_s
            if code != UNHEALTHY or is_starting:
                failures = 0
                if code not in (0, UNHEALTHY):
                    log("warning", "health_unknown", process=self.name, why=why)
                continue
            failures += 1
            log("warning", "health_check_failed", process=self.name, failures=failures, why=why)
            if failures == FAILURES:
                self._is_unhealthy = True
                log("error", "process_unhealthy", process=self.name, failures=failures, why=why)
                process.terminate()
                if not self._ended.wait(self.end_s):
                    _kill_group(process)
                return

    def _healthy(self) -> tuple[int | None, str]:
        """The exit code of the check, and the last line it wrote; None if it did not finish."""
        try:
            done = subprocess.run(  # noqa: S603  our own command
                self.check,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.check_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"the check did not finish within {self.check_s:g} s"
        except OSError as error:
            return None, f"the check could not be started: {error}"
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        return done.returncode, lines[-1].removeprefix("error: ") if lines else f"exit code {done.returncode}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def log(level: str, event: str, **fields: object) -> None:
    """One line on stderr, as `ops/logging.py` writes JSON; loading that would triple this process's memory."""
    line = {"timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}", "level": level, "event": event, **fields}
    # No one may read it any more, and the checks go on.
    if sys.stderr:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{json.dumps(line)}\n")
            sys.stderr.flush()


def command(name: str, every_s: float, supervised: Sequence[str]) -> list[str]:
    """The command that supervises another. -P: do not import from the current folder."""
    return [sys.executable, "-P", "-m", __name__, name, f"{every_s:g}", *supervised]


if __name__ == "__main__":
    _, _name, _every_s, *_command = sys.argv
    _check = [str(Path(sys.executable).with_name("catalunya")), "healthy", _name]
    sys.exit(Supervisor(_name, _command, _check, float(_every_s)).run())
