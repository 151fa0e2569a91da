"""A look that hangs where Python cannot end it, on a real Airflow: its task's log says where, its process ends, and Airflow tries again.

The code is a copy in which a look may take ten seconds instead of minutes.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from catalunya.io.environment import load_settings
from catalunya.io.project_folder import OURS
from catalunya.ops.local_airflow.server import Server, airflow
from small.entry_point import python_path
from small.patience import wait_until


def impatient_copy(folder: Path) -> Path:
    """The package in a folder of its own, for a PYTHONPATH."""
    shutil.copytree(OURS, folder / "catalunya", ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / "catalunya/dags/watch.py"
    text = module.read_text()
    assert "HUNG_S = 180\n" in text
    module.write_text(text.replace("HUNG_S = 180\n", "HUNG_S = 10\n"))
    return folder


def log_of(server: Server, attempt: int) -> str:
    return "".join(
        file.read_text() for file in (server.home / "logs").rglob(f"dag_id=ops.watch/**/attempt={attempt}.log")
    )


def test_a_look_that_hangs_ends_itself_says_where_and_is_tried_again(
    tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(compiled, tmp_path / "cache")
    path = os.pathsep.join([str(impatient_copy(tmp_path / "copy")), python_path(tmp_path / "metadata")])
    monkeypatch.setenv("PYTHONPATH", path)
    index = tmp_path / "lake/_watch/ledger.parquet"
    index.parent.mkdir(parents=True)
    os.mkfifo(index)  # whoever reads it waits for someone who writes
    settings = load_settings(env="local", lake=str(tmp_path / "lake"), cache=tmp_path / "cache")
    with airflow(settings, home=tmp_path / "home", retry_delay_s=1) as server:
        run = f"/dags/ops.watch/dagRuns/{server.client.trigger('ops.watch')}"
        wait_until(lambda: "Process exited abnormally" in log_of(server, 1), 90, lambda: log_of(server, 1), poll_s=0.2)
        index.unlink()
        wait_until(lambda: server.client.get(run)["state"] == "success", 90, lambda: server.client.get(run), poll_s=0.2)
        assert "Timeout (0:00:10)!" in log_of(server, 1)
        assert "in read_index" in log_of(server, 1)
