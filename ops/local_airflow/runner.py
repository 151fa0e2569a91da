"""`catalunya run` and `up`: start the mock APIs and Airflow, run the pipeline once, and report the result.

Here: the sequence, the report and the exit codes. Not here: the server (`server.py`), the run (`pipeline_run.py`).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from catalunya.assets.record.project import Project
from catalunya.io.environment import LOCAL_MOCK, Settings, local_port
from catalunya.ops import console
from catalunya.ops.local_airflow.display import Display, display, document, summary
from catalunya.ops.local_airflow.mock import mock_apis
from catalunya.ops.local_airflow.pipeline_run import AssetRun, PipelineRun
from catalunya.ops.local_airflow.server import HOME, Server, airflow
from catalunya.ops.processes import check_free, terminable

TIMEOUT_S = 900.0
LOG_LINES = 12


def run(
    settings: Settings,
    *,
    port: int | None = None,
    portal_port: int | None = None,
    as_json: bool = False,
    rows: int | None = None,
    real: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    home: Path = HOME,
) -> int:
    """Run the whole pipeline once on Airflow, then stop everything that was started. Returns the exit code.

    With a `port`, keep running with the Airflow UI there until Ctrl-C, and the public pages at `portal_port`, by default that of their address;
    failed assets do not end it, they are there to look at.
    `rows` and `real` are passed to the mock APIs. With `as_json`, stdout gets one JSON document at the end and stderr the rest.
    Raises what `airflow` raises.
    """
    if port:
        check_free(port, "the Airflow UI", "catalunya up --port")
        if portal_port:
            settings = settings.model_copy(update={"portal_url": f"http://localhost:{portal_port}"})
        portal_port = local_port(settings)
        check_free(portal_port, "the public pages", "catalunya up --portal-port")
    began = time.monotonic()
    with terminable(), display(stderr=as_json) as shown:
        starting = _started(settings, shown, rows=rows, real=real, home=home, port=port)
        with starting as (server, project):
            pipeline = _run_pipeline(project, server, shown, timeout_s)
            logs = _log_tails(pipeline, server)
            pages = _pages(project, pipeline)
            if port and portal_port:
                shown.__exit__()
                report(pipeline.assets, logs, time.monotonic() - began, stays=True, pages=pages)
                _serve(server, port, portal_port if pages and pages.home else None, project.settings)
                return 0
            shown.report("stopping Airflow")
    return report(pipeline.assets, logs, time.monotonic() - began, as_json=as_json, pages=pages)


@dataclass(frozen=True, slots=True)
class Pages:
    """The public pages after a run: where the first one is, empty if none were built; what is wrong with them."""

    home: str
    problem: str = ""


def _pages(project: Project, pipeline: PipelineRun) -> Pages | None:
    """None if this installation builds none."""
    found = pipeline.pages
    if found is None:
        return None
    home = f"{project.settings.portal_folder}/index.html" if found.built else ""
    return Pages(home, "" if found.state == "fresh" else found.why)


def _serve(server: Server, port: int, portal_port: int | None, settings: Settings) -> None:
    """Keep Airflow running, and the public pages served if there are any, until Ctrl-C. Raises AirflowError if Airflow ends by itself."""
    console.say(f"\nAirflow UI: http://localhost:{port} (no login)", style="bold")
    with ExitStack() as stack:
        if portal_port and "://" not in settings.portal_folder:
            from catalunya.portal.serve import serving

            stack.enter_context(serving(Path(settings.portal_folder), portal_port))
            console.say(f"Public pages: http://localhost:{portal_port}/", style="bold")
        console.say("Press Ctrl-C to stop everything.", style="bold")
        try:
            while True:
                server.check()
                time.sleep(1)
        except KeyboardInterrupt:
            console.say("stopping")


@contextmanager
def _started(
    settings: Settings, shown: Display, *, rows: int | None, real: Path | None, home: Path, port: int | None = None
) -> Iterator[tuple[Server, Project]]:
    """Airflow, and the mock APIs unless the user configured other ones."""
    with _sources(settings, shown, rows=rows, real=real, home=home) as (settings_, wait_for_sources):
        shown.report(f"starting Airflow; logs are in {home / 'logs'}")
        with airflow(settings_, home=home, port=port, stays=port is not None, report=shown.report) as server:
            wait_for_sources()
            yield server, Project(settings_)


@contextmanager
def _sources(
    settings: Settings, shown: Display, *, rows: int | None, real: Path | None, home: Path
) -> Iterator[tuple[Settings, Callable[[], None]]]:
    if "CATALUNYA_MOCK_URL" in os.environ or settings.env != "local" or settings.mock != LOCAL_MOCK:
        yield settings, lambda: None
        return
    shown.report("starting the mock APIs")
    with mock_apis(rows=rows, real=real, log=home / "logs" / "mock.log") as (url, wait):
        yield settings.model_copy(update={"mock_url": url}), wait


def _run_pipeline(project: Project, server: Server, shown: Display, timeout_s: float) -> PipelineRun:
    pipeline = PipelineRun(project, server.client, server.started_at, shown.report)
    shown.report("Airflow is ready; triggering the landing DAGs, the other DAGs follow by asset events")

    def show(assets: list[AssetRun]) -> None:
        server.check()
        shown.show(assets)

    pipeline.run(show, timeout_s=timeout_s)
    return pipeline


def _log_tails(pipeline: PipelineRun, server: Server) -> dict[str, list[str]]:
    """The last lines of each failed task's log, by asset."""
    failed = (asset.asset for asset in pipeline.assets if asset.state == "failed")
    return {key: server.client.log_lines(task)[-LOG_LINES:] for key in failed if (task := pipeline.failed_task(key))}


def report(
    assets: list[AssetRun],
    logs: dict[str, list[str]],
    seconds: float,
    *,
    as_json: bool = False,
    stays: bool = False,
    pages: Pages | None = None,
) -> int:
    """Print the result of a run. `logs` are the last log lines of failed assets. Returns the exit code."""
    bad = [asset for asset in assets if not asset.is_good]
    if as_json:
        about = {"pages": {"home": pages.home, "problem": pages.problem}} if pages else {}
        console.emit_json(document(assets, seconds) | about)
        return int(bool(bad or (pages and pages.problem)))
    console.say()
    summary(assets)
    for asset in bad:
        lines = logs.get(asset.asset, [])
        if lines:
            console.say(f"\nlast log lines of {asset.asset}:")
        for line in lines:
            console.say(f"  {line}", style="dim")
    if bad:
        console.say()
        for asset in bad:
            what = "failed" if asset.state == "failed" else "was not made"
            console.say(f"{asset.asset} {what}: {asset.why}", style="red")
        console.say(
            f"\n{len(bad)} of {len(assets)} assets are not up to date after {seconds:.0f} s; their previously published tables are unchanged"
        )
        _say_pages(pages)
        return 1
    made = sum(asset.state == "done" for asset in assets)
    counts = f"{console.counted(made, 'asset')} made, all" if made else "all"
    console.say(f"\n{counts} {len(assets)} up to date, in {seconds:.0f} s")
    if not stays:
        _next_steps(assets[-1].asset)
    _say_pages(pages)
    return int(bool(pages and pages.problem))


def _say_pages(pages: Pages | None) -> None:
    """The last line: where the public pages begin, or why they do not show the tables."""
    if pages and pages.problem:
        console.say(f"\nthe public pages are not up to date: {pages.problem}", style="red")
    if pages and pages.home:
        console.say(f"\nThe public pages: {pages.home}")


def _next_steps(table: str) -> None:
    """What to try next, as it can be typed here, with one of the tables that were made."""
    installed = Path(sys.executable).with_name("catalunya")
    command = "catalunya" if shutil.which("catalunya") else os.path.relpath(installed)
    console.say("\nNext:")
    console.aligned(
        {
            f"{command} status": "what is fresh and what is stale",
            f'{command} query "from {table} limit 5"': "query the tables in SQL",
            "make run": "run again: only what has changed",
            "make up": "run, and keep the Airflow UI up",
        }
    )
