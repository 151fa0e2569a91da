"""The suite itself: how it ends when it is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from small.patience import patience, wait_until

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
WAITING = """
import tempfile, time
from pathlib import Path

def test_that_waits():
    folder = tempfile.mkdtemp()
    Path(__file__).with_name("begun.part").write_text(folder)
    Path(__file__).with_name("begun.part").rename(Path(__file__).with_name("begun"))
    time.sleep(600)
"""


@pytest.mark.skipif(
    not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < 4 * 2**30, reason="there is not enough memory for files"
)
def test_workers_end_and_their_files_in_memory_go_when_the_tests_are_stopped(tmp_path: Path) -> None:
    (tmp_path / "test_waiting.py").write_text(WAITING)
    arguments = ["-n", "1", "-c", ROOT / "pyproject.toml", "-p", "conftest", "--rootdir", tmp_path, tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    wait_until((tmp_path / "begun").exists, 60)
    folder = Path((tmp_path / "begun").read_text())
    started = psutil.Process(process.pid).children(recursive=True)
    assert folder.is_dir()
    assert folder.is_relative_to(MEMORY)

    process.send_signal(signal.SIGTERM)
    process.wait(patience(60))
    _, alive = psutil.wait_procs(started, timeout=patience(60))
    assert not alive
    assert not folder.parent.exists()
