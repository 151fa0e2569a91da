"""Where a file cannot be written to its end, as on a full disk, nothing of it stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMITED = """
import resource, sys
from pathlib import Path
from catalunya.assets.graph.discovery import keep_graph, load_graph
from catalunya.io.environment import load_settings
from catalunya.ops.deployed_airflow.secrets import write
settings, path = load_settings(), Path(sys.argv[2])
assets = list(load_graph(settings))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
keep_graph(load_settings(cache=path), assets) if sys.argv[1] == "cache" else write(path / ".env")
"""


def limited(what: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Write into a folder by a process whose files end after 100 bytes."""
    command = [sys.executable, "-c", LIMITED, what, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_cache_that_cannot_be_filled_has_nothing_cut_off_in_it(tmp_path: Path) -> None:
    done = limited("cache", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "graph_not_kept" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, "CATALUNYA_POSTGRES_PASSWORD=mine\n"])
def test_secrets_that_cannot_be_written_leave_the_file_as_it_was_and_no_other(
    tmp_path: Path, before: str | None
) -> None:
    if before:
        (tmp_path / ".env").write_text(before)
    done = limited("secrets", tmp_path)
    assert done.returncode
    assert "File too large" in done.stderr
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == ({".env": before} if before else {})
