"""The Makefile's own logic: how its targets end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from small.patience import patience, wait_until

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(memory: Path, tests: str) -> subprocess.Popen[str]:
    """`make unit` with another command in place of the tests, and a folder in place of the memory."""
    command = ["make", "unit", f"PYTEST={tests}", f"MEMORY={memory}", "READY="]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_tests_end_and_their_folder_goes_when_only_make_is_stopped(tmp_path: Path) -> None:
    tests = f'{sys.executable} -c "import os, time; open(os.environ[\\"TMPDIR\\"] + \\"/begun\\", \\"w\\"); time.sleep(600)"'
    process = make(tmp_path, tests)
    wait_until(lambda: list(tmp_path.glob("*/begun")), 60)
    started = psutil.Process(process.pid).children(recursive=True)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=patience(60))
    _, alive = psutil.wait_procs(started, timeout=patience(60))
    assert not alive
    assert not list(tmp_path.iterdir())


def test_make_fails_as_the_tests_do_and_their_folder_goes(tmp_path: Path) -> None:
    process = make(tmp_path, 'sh -c "exit 3"')

    output, _ = process.communicate(timeout=patience(60))
    assert output.endswith("Error 3\n")
    assert not list(tmp_path.iterdir())
