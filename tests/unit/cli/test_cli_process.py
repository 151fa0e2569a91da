"""The real command in its own process: imports, streams, signals, and output on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from catalunya.ops.mock.server import MockServer
from small.commands import COMMAND, Run, start
from small.patience import patience, wait_until

HEAVY = {
    "polars",
    "sqlglot",
    "pandera",
    "duckdb",
    "pyarrow",
    "dbt",
    "airflow",
    "httpx",
    "numpy",
    "structlog",
    "asyncio",
    "jinja2",
}


def test_commands_that_only_look_import_nothing_heavy(filled: Path) -> None:
    looking = [["--help"], ["ls"], ["lineage"], ["plan"], ["status"], ["history", "landing.municipalities"]]
    program = (
        "import sys; from catalunya.ops.cli import main;"
        f"print([main(command) for command in {looking!r}], file=sys.stderr);"
        f"print({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stderr.splitlines() == ["[0, 0, 0, 0, 0, 0]", "set()"]


def test_stdout_has_only_the_json_and_logs_go_to_stderr(place: Path) -> None:
    out, err = start("materialize", "landing.municipalities", "--json").communicate()
    found = json.loads(out)
    assert [one["status"] for one in found["assets"]] == ["materialized"]
    assert "materialized" in err


def test_a_reader_that_closes_the_pipe_is_not_an_error(filled: Path) -> None:
    process = start("query", "from staging.municipalities", "--csv")
    assert process.stdout
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait() == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("command", ["status", "ls --json"])
def test_a_closed_stream_is_not_an_error(filled: Path, command: str, closed: str) -> None:
    line = f"{shlex.join([COMMAND, *command.split()])} {closed}"
    ran = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_stops_cleanly_and_the_next_one_continues(
    place: Path, run: Run, apis: MockServer, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    # Nineteen pages in sequence take four seconds: even on a busy machine it is interrupted before the last.
    monkeypatch.setenv("CATALUNYA_PAGE_ROWS", "50")
    monkeypatch.setenv("CATALUNYA_HTTP_CONCURRENCY", "1")
    monkeypatch.setenv("CATALUNYA_SCRATCH", str(place))
    apis.faults("slow:9aju-tpwc:on=rows:seconds=0.2")
    process = start("materialize", "landing.municipalities", "staging.municipalities")
    wait_until(lambda: list((place / "lake").rglob("page-*.json")), 60, poll_s=0.02)
    process.send_signal(sent)
    out, err = process.communicate(timeout=patience(60))
    assert process.returncode == code
    assert "Traceback" not in err
    assert "interrupted: recorded assets are kept" in err
    assert "stopped      landing.municipalities" in out
    assert not list(place.glob("catalunya-*")), "scratch files are removed"
    assert not list((place / "lake" / "_ledger").rglob("*.json")), "an interruption is not recorded as a failure"
    apis.faults()
    assert run("materialize", "+staging.municipalities").out.splitlines()[-1] == "2 materialized"
    assert run("verify").code == 0


@pytest.mark.parametrize("seconds", [0.5, 2])
def test_an_interrupted_query_ends_like_any_command_before_and_while_it_runs(filled: Path, seconds: float) -> None:
    process = start("query", "select count(*) from range(100000000000) a, range(1000) b")
    wait_until(lambda: psutil.Process(process.pid).cpu_times().user > seconds, 120, poll_s=0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=patience(60))
    assert (process.returncode, err) == (130, "")


def test_a_terminal_shows_bars_and_a_table_and_logs_go_to_a_file(place: Path) -> None:
    terminal, inner = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    command = [COMMAND, "materialize", "+staging.municipalities"]
    process = subprocess.Popen(command, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    assert process.wait() == 0
    text = shown.decode()
    assert "✓ landing.municipalities" in text
    assert "it has never been made" in text
    assert "[info" not in text, "log lines do not disturb the bars"
    logs = list((place / "cache" / "logs").glob("*.log"))
    assert len(logs) == 1
    assert logs[0].read_text().count("materialized") == 2


def test_the_mock_serves_until_it_is_interrupted(place: Path) -> None:
    process = start("mock", "--port", "0", "--rows", "10")
    assert process.stderr
    line = process.stderr.readline()
    found = re.search(r"url=(http://127\.0\.0\.1:\d+)", line)
    assert found, line
    assert len(httpx.get(f"{found[1]}/resource/ivft-vegh.json").json()) == 10
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=patience(60))
    assert (process.returncode, err) == (0, "")
