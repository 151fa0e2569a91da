"""What every benchmark is made of: a figure beside its floor and its peers, a script in a process of its own, the mock portal.

Figures of one run are measured on one machine in turns, each in a separate process (with cold caches, and to know its CPU seconds and peak
memory), and the best of the turns counts: other work on the machine only makes a turn worse.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
# Who installs the pipeline has its modules compiled; a shell of developers may forbid that, and each import then costs several times as much.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@dataclass(frozen=True)
class Figure:
    """One measured figure: `value` in `unit`; its floor (the same work as directly as possible) and its peers, in the same unit.

    `limit`: the most that the value may be (`most`), or that its ratio to the floor or to a peer may be: `{"floor": 1.3}`, `{"dagster": 0.6}`.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    limit: Mapping[str, float] = field(default_factory=dict)

    @property
    def beside(self) -> dict[str, float]:
        """The floor and the peers by name."""
        return {**({"floor": self.floor} if self.floor else {}), **self.peers}

    @property
    def ratios(self) -> dict[str, float]:
        """Ours divided by the floor, and by each peer."""
        return {name: self.value / other for name, other in self.beside.items() if other}

    @property
    def targets(self) -> dict[str, bool]:
        """Each target in words, and whether it is met."""
        found = {}
        for name, most in self.limit.items():
            if name == "most":
                found[f"<= {most:g} {self.unit}"] = self.value <= most
            elif name in self.ratios:  # a peer that could not be installed is not measured
                found[f"<= {most:g} x {name}"] = self.ratios[name] <= most
        return found


@dataclass(frozen=True)
class Used:
    """What a process used, with all that it started and waited for."""

    seconds: float
    cpu: float
    peak: float
    """The most memory of one process, in MB."""
    printed: str

    @property
    def answer(self) -> dict[str, Any]:
        """The last line it printed, as JSON."""
        return json.loads(self.printed.splitlines()[-1])


def used(command: Sequence[object], *, env: Mapping[str, str] | None = None, folder: Path | None = None) -> Used:
    """Run a command to its end and return what it used. Raises `SystemExit` if it fails."""
    words = [str(word) for word in command]
    began = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, encoding="utf-8", cwd=folder
    )
    assert process.stdout
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(words)} exited with status {process.returncode}")
    return Used(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, printed)


def peak() -> float:
    """The most memory of this process so far, in MB. What the system says of it to the process that started it (`Used.peak`) counts the memory
    that that one had when it did so, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def run(script: str, *args: object, python: str | Path = sys.executable) -> Used:
    """Run a script of this folder."""
    return used([python, HERE / script, *args])


@contextmanager
def mock(rows: int) -> Iterator[str]:
    """The mock portal in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = f"from catalunya.ops.mock import run; run(port={port}, rows={rows})"
    with subprocess.Popen(
        [sys.executable, "-c", serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(200):
                try:
                    httpx.get(f"{url}/_mock/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            else:
                raise SystemExit("error: the mock did not start")
            yield url
        finally:
            process.terminate()
