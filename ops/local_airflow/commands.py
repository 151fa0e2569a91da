"""`run` and `up`: the mock APIs and Airflow are started, one wave goes through, and what came of it is told.

Here: the order of these, exit codes, and the words. Not here: each of the parts.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from catalunya.assets.record.project import Project
from catalunya.io.environment import LOCAL_MOCK, Settings
from catalunya.ops import console
from catalunya.ops.local_airflow.mock import mock_apis
from catalunya.ops.local_airflow.processes import check_free
from catalunya.ops.local_airflow.server import HOME, Server, airflow
from catalunya.ops.local_airflow.view import View, document, summary, view
from catalunya.ops.local_airflow.wave import Line, Wave
from catalunya.ops.signals import like_ctrl_c

TIMEOUT_S = 900.0
UI_PORT = 8080
TAIL = 12


def run(
    settings: Settings,
    *,
    as_json: bool = False,
    rows: int | None = None,
    real: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    home: Path = HOME,
) -> int:
    """Run the whole pipeline once on Airflow; everything that was started is stopped. Returns the exit code.

    `rows` and `real` are for the mock APIs. `as_json` prints one document on stdout at the end, and the rest on stderr.
    Raises what starting raises.
    """
    began = time.monotonic()
    with (
        like_ctrl_c(),
        view(stderr=as_json) as shown,
        _started(settings, shown, rows=rows, real=real, home=home) as (server, project),
    ):
        wave = _run_wave(project, server, shown, timeout_s)
        tails = _log_tails(wave, server)
        shown.tell("stopping Airflow")
    return _tell_result(wave, tails, time.monotonic() - began, as_json=as_json)


def up(
    settings: Settings,
    *,
    port: int = UI_PORT,
    rows: int | None = None,
    real: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    home: Path = HOME,
) -> int:
    """The same as `run`, and stay up, with Airflow's UI on `port`, until Ctrl-C. Returns the exit code.

    A failed asset ends nothing here: the UI is where to look. Raises UsageError when the port is taken.
    """
    check_free(port)
    began = time.monotonic()
    with (
        like_ctrl_c(),
        view(stderr=False) as shown,
        _started(settings, shown, rows=rows, real=real, home=home, port=port) as (server, project),
    ):
        wave = _run_wave(project, server, shown, timeout_s)
        shown.__exit__()
        _tell_result(wave, _log_tails(wave, server), time.monotonic() - began, as_json=False, stays=True)
        console.say(f"\nAirflow's UI: http://localhost:{port} (no login; Ctrl-C stops everything)", style="bold")
        try:
            while True:
                server.check()
                time.sleep(1)
        except KeyboardInterrupt:
            console.say("stopping")
    return 0


@contextmanager
def _started(
    settings: Settings, shown: View, *, rows: int | None, real: Path | None, home: Path, port: int | None = None
) -> Iterator[tuple[Server, Project]]:
    """The mock, unless the user said which APIs to ask, and Airflow."""
    with _sources(settings, shown, rows=rows, real=real, home=home) as (settings_, wait_for_sources):
        shown.tell(f"starting Airflow; its logs are in {home / 'logs'}")
        with airflow(settings_, home=home, port=port, stays=port is not None, tell=shown.tell) as server:
            wait_for_sources()
            yield server, Project(settings_)


@contextmanager
def _sources(
    settings: Settings, shown: View, *, rows: int | None, real: Path | None, home: Path
) -> Iterator[tuple[Settings, Callable[[], None]]]:
    chosen = any(name in os.environ for name in ("CATALUNYA_SOCRATA_URL", "CATALUNYA_IDESCAT_URL"))
    if chosen or settings.env != "local" or settings.socrata_url != LOCAL_MOCK:
        yield settings, lambda: None
        return
    shown.tell("starting the mock APIs")
    with mock_apis(rows=rows, real=real, log=home / "logs" / "mock.log") as (url, wait):
        yield settings.model_copy(update={"socrata_url": url, "idescat_url": url}), wait


def _run_wave(project: Project, server: Server, shown: View, timeout_s: float) -> Wave:
    wave = Wave(project, server.client, server.started_at, shown.tell)
    shown.tell("Airflow is ready; the landing DAGs are triggered, the rest follows by asset events")

    def show(lines: list[Line]) -> None:
        server.check()
        shown.show(lines)

    wave.run(show, timeout_s=timeout_s)
    return wave


def _log_tails(wave: Wave, server: Server) -> dict[str, list[str]]:
    """The last lines that the failed tasks logged, by asset."""
    failed = (line.asset for line in wave.lines if line.condition == "failed")
    return {key: server.client.log_lines(task)[-TAIL:] for key in failed if (task := wave.failed_task(key))}


def _tell_result(wave: Wave, tails: dict[str, list[str]], seconds: float, *, as_json: bool, stays: bool = False) -> int:
    """Print what came of it; returns the exit code."""
    bad = [line for line in wave.lines if not line.is_settled or line.condition == "failed"]
    if as_json:
        console.emit_json(document(wave.lines, seconds))
        return int(bool(bad))
    console.say()
    summary(wave.lines)
    for line in bad:
        tail = tails.get(line.asset, [])
        if tail:
            console.say(f"\nthe end of the log of {line.asset}:")
        for said in tail:
            console.say(f"  {said}", style="dim")
    if bad:
        console.say()
    for line in bad:
        what = "failed" if line.condition == "failed" else "was not made"
        console.say(f"{line.asset} {what}: {line.why}", style="red")
    if bad:
        console.say(
            f"\n{len(bad)} of {len(wave.lines)} assets are not up to date, after {seconds:.0f} s; what was published before stays"
        )
        return 1
    made = sum(line.condition == "done" for line in wave.lines)
    console.say(f"\n{f'{made} assets made, ' if made else ''}all {len(wave.lines)} up to date, in {seconds:.0f} s")
    if not stays:
        _tell_next()
    return 0


def _tell_next() -> None:
    """What to try now, as it can be typed here."""
    ours = Path(sys.executable).with_name("catalunya")
    command = "catalunya" if shutil.which("catalunya") else os.path.relpath(ours)
    tries = {
        f"{command} status": "what is fresh, what is stale",
        f'{command} query "from marts.dim_time limit 5"': "the tables, in SQL",
        "make run": "again: only what changed",
        "make up": "with Airflow's UI",
    }
    width = max(map(len, tries))
    console.say("\nNext:")
    for typed, what in tries.items():
        console.say(f"  {typed:<{width}}  {what}")
