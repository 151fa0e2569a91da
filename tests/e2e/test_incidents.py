"""Ten incidents on a real Airflow, each seen by the first look after it: in `catalunya watch`, on the pipeline's pages in Airflow, and in one
notification, with what is wrong, why, and what to do.

The look is a run of `ops.watch`. Faults are real: the mock APIs fail on demand, a disk is full, the scheduler's process is stopped, a model
of dbt is broken in a copy of the project. After each incident the lake is what it was.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.io.project_folder import OURS, VARIABLE
from catalunya.ops.cli import main
from catalunya.ops.local_airflow.server import Server, airflow
from catalunya.ops.mock import serve
from catalunya.ops.mock.exchange import Answer, Asked
from catalunya.ops.mock.server import MockServer
from catalunya.ops.watching.findings import keep_board, read_board
from catalunya.ops.watching.look import watch
from small import http_server
from small.entry_point import python_path
from small.lakes import contents, restore
from small.patience import patience, wait_until

REGISTER, USAGE = "ivft-vegh", "yavr-pn8q"
DISK_MB = 96
BROKEN = "marts.agg_population_trends_yearly"


@dataclass
class Site:
    """A running Airflow whose watch notifies a webhook, and what is told and shown."""

    server: Server
    mock: MockServer
    webhook: http_server.Server
    scratch: Path
    can_fill: str
    before: dict[str, bytes] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    @property
    def project(self) -> Project:
        """The project as a new process sees it: one that lives on has read entries that are no longer there."""
        return Project(load_settings())

    def mend(self) -> None:
        """Everything as it was before the incident, in the lake, at the sources, and for Airflow, which has runs without a record now."""
        self.mock.reset()
        while self.ended:
            self.server.client._request("DELETE", f"/api/v2{self.ended.pop()}")
        restore(self.project.lake.root, self.before)
        now = datetime.now(
            UTC
        )  # the board is written again now: one that says another time is the sign of a wrong clock
        keep_board(self.project.lake, replace(read_board(self.project.lake), at=now, thorough_at=now))
        self.webhook.asked.clear()

    def run(self, dag_id: str, *, until: tuple[str, ...] = ("success", "failed")) -> str:
        """Trigger a DAG and wait for the run's end; returns its id."""
        run_id = self.server.client.trigger(dag_id)
        wait_until(lambda: self.state(dag_id, run_id) in until, 300, lambda: self.state(dag_id, run_id), poll_s=0.1)
        return run_id

    def state(self, dag_id: str, run_id: str) -> str:
        return str(self.server.client.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def fail(self, key: str, *, trigger: str = "") -> None:
        """Trigger a table's DAG, or one above it, and wait until the ledger has the table's failure; what Airflow would try again is ended."""
        last = self.project.ledger.last_attempt(key)
        self.server.client.trigger(trigger or key)

        def has_failed() -> bool:
            attempt = self.project.ledger.last_attempt(key)
            return attempt is not None and attempt != last and attempt.status == "failed"

        wait_until(has_failed, 90, lambda: self.project.ledger.last_attempt(key), poll_s=0.1)
        for run in self.server.client.get(f"/dags/{key}/dagRuns", limit=100)["dag_runs"]:
            if run["state"] != "success":
                self.ended.append(f"/dags/{key}/dagRuns/{run['dag_run_id']}")
                self.server.client.patch(self.ended[-1], {"state": "failed"})

    def watched(self) -> list[dict[str, Any]]:
        """What `catalunya watch --json` shows."""
        found: list[dict[str, Any]] = json.loads(catalunya("watch", "--json"))["findings"]
        return found

    def page(self, path: str) -> str:
        """The text of one of the pages in Airflow, as a browser that is logged in gets it."""
        token = httpx.get(f"{self.server.url}/auth/token").json()["access_token"]
        answer = httpx.get(f"{self.server.url}/pipeline/{path}", cookies={"_token": token}, timeout=patience(20))
        assert answer.status_code == 200, answer.text
        return one_line(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))

    @property
    def messages(self) -> list[dict[str, str]]:
        """The notifications that arrived."""
        return [json.loads(asked.body) for asked in self.webhook.asked]


def catalunya(*arguments: str) -> str:
    """The output of a command, in this process."""
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as out:
        main(arguments)
    return out.getvalue()


def one_line(text: str) -> str:
    return " ".join(text.split())


def copy_of_the_project(folder: Path) -> Path:
    """The project as one of its own, in which one model of dbt fails when it is built."""
    for name in ("assets", "contracts"):
        (folder / name).mkdir(parents=True)
        for file in (OURS / name).glob("*.*"):
            shutil.copy(file, folder / name)
    shutil.copytree(OURS / "dbt", folder / "dbt")
    declared = folder / "assets" / "project.toml"
    declared.write_text(declared.read_text().replace('name = "catalunya"', 'name = "incidents"'))
    model = folder / "dbt/models/marts/aggregates/agg_population_trends_yearly.sql"
    model.write_text(f"{model.read_text()}where cast('many' as bigint) > 0\n")
    return folder


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """A disk of its own at a folder; why there is none, where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False, text=True)
    try:
        yield mounted.stderr.strip()
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Iterator[Site]:
    """One Airflow for all incidents: a lake in which everything was made, and nothing is wrong."""
    folder = tmp_path_factory.mktemp("incidents")
    shutil.copytree(made, folder / "lake")
    webhook = http_server.Server(lambda _: Answer(b"{}"))
    with (
        pytest.MonkeyPatch.context() as environment,
        serve(rows=300) as mock,
        webhook.running(),
        small_disk(folder / "scratch") as no_disk,
    ):
        values = {
            "env": "local",
            "lake": str(folder / "lake"),
            "cache": folder / "cache",
            "scratch": folder / "scratch",
            "mock_url": mock.url,
            "notify": webhook.url.replace("http", "json"),
            "http_attempts": 1,
            "http_backoff_s": 0.01,
            "http_requests_per_second": 1000,
        }
        environment.setenv("PYTHONPATH", python_path(folder / "metadata"))
        environment.setenv(VARIABLE, str(copy_of_the_project(folder / "project")))
        for name, value in values.items():
            environment.setenv(f"CATALUNYA_{name.upper()}", str(value))
        settings = load_settings()
        with airflow(settings, home=folder / "home", retry_delay_s=1) as server:
            environment.setenv("CATALUNYA_AIRFLOW_URL", server.url)
            site = Site(server, mock, webhook, folder / "scratch", no_disk)
            site.run("ops.watch")
            assert site.watched() == []
            site.before = contents(site.project.lake.root)
            yield site


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The same with nothing wrong and no message."""
    yield whole_site
    whole_site.mend()


def seen(
    site: Site,
    identity: str,
    *,
    severity: str,
    what: str,
    cause: str,
    remedy: str,
    affected: tuple[str, ...] | None = None,
    look: Callable[[], object] | None = None,
    passes: bool = False,
) -> dict[str, Any]:
    """Find the incident, it alone, in `catalunya watch`, and after one look of Airflow's on the pages and in one message; returns the finding.

    `what` and `cause` are patterns, `remedy` is a text. `passes`: it is over at the look after that.
    """
    wait_until(lambda: [each["identity"] for each in site.watched()] == [identity], 30, site.watched, poll_s=0.5)
    (found,) = site.watched()
    assert found["severity"] == severity, found
    assert re.search(what, found["what"]), found
    assert re.search(cause, found["cause"]), found
    assert remedy in found["remedy"], found
    if affected is not None:
        assert set(found["affected"]) >= set(affected), found
    said = [one_line(found[name]) for name in ("cause", "remedy") if found[name]]

    text = one_line(catalunya("watch"))
    assert all(each in text for each in said), text
    assert f"1 finding, {int(severity == 'error')} of them urgent" in text

    (look or (lambda: site.run("ops.watch", until=("success",))))()
    shown = [site.page("assets")]
    if found["subject"] in site.project.graph or found["subject"].startswith("ops."):
        shown.append(site.page(f"asset/{found['subject']}"))
    for page in shown:
        assert all(each[:300] in page for each in said), page

    (message,) = site.messages
    assert message["title"] == f"incidents local: 1 new{' (1 error)' if severity == 'error' else ''}", message
    assert f"Finding: {identity}" in message["message"]
    assert all(each[:300] in one_line(message["message"]) for each in said), message

    watch(site.project, datetime.now(UTC))
    again = [each["title"] for each in site.messages[1:]]
    assert again == (["incidents local: 1 resolved"] if passes else []), "what was told is not told again"
    return found


def test_a_source_that_is_down(site: Site) -> None:
    site.mock.advance(USAGE)
    site.mock.faults(f"error-503:{USAGE}")
    site.fail("landing.service_usage")
    seen(
        site,
        "source_down:landing.service_usage",
        severity="warning",
        what=r"the source of landing\.service_usage cannot be read",
        cause=r"503",
        remedy="it is tried again at",
        affected=("staging.service_usage", "marts.fact_service_usage_daily"),
    )


def test_a_source_that_is_frozen(site: Site) -> None:
    def five_days_ago(asked: Asked, answer: Answer) -> Answer:
        if f"/views/{REGISTER}" not in asked.path:
            return answer
        view = json.loads(answer.body)
        for name in ("rowsUpdatedAt", "viewLastModified"):
            view[name] -= 5 * 86_400
        return replace(answer, body=json.dumps(view).encode())

    site.mock.reply(five_days_ago)
    site.run("landing.social_services", until=("success",))
    seen(
        site,
        "source_overdue:landing.social_services",
        severity="error",
        what=r"was last updated on 20\d\d-\d\d-\d\d, \d (days|h) later than expected|\d+ (days|h) later than expected",
        cause=r"declared in",
        remedy="ask its publisher",
        affected=("staging.social_services", "marts.fact_service_usage_daily"),
    )


def test_a_column_that_was_dropped(site: Site) -> None:
    site.mock.advance(USAGE)
    site.mock.faults(f"missing-column:{USAGE}:column=any")
    site.fail("landing.service_usage")
    seen(
        site,
        "table_failed:landing.service_usage",
        severity="error",
        what=r"in its source, any is gone",
        cause=r"missing any.*made from it: staging\.service_usage\.year, marts\.fact_service_usage_daily\.users_year",
        remedy="`catalunya sources check landing.service_usage`",
        affected=("staging.service_usage",),
    )


def test_half_of_the_rows_are_gone(site: Site) -> None:
    site.mock.advance(USAGE)
    site.mock.faults(f"shrunken:{USAGE}:keep=0.5")
    site.fail("landing.service_usage")
    seen(
        site,
        "table_failed:landing.service_usage",
        severity="error",
        what=r"landing\.service_usage could not be made",
        cause=r"expected at least 338 rows \(previously 422, max_shrink 20%\), found 211.*if the change is right, run `catalunya materialize",
        remedy="`catalunya history landing.service_usage`",
        affected=("marts.fact_service_usage_daily",),
    )


def test_one_bad_page(site: Site) -> None:
    site.mock.advance(USAGE)
    site.mock.faults(f"wrong-json:{USAGE}:body=array:on=rows")
    site.fail("landing.service_usage")
    seen(
        site,
        "source_down:landing.service_usage",
        severity="warning",
        what=r"the source of landing\.service_usage cannot be read",
        cause=r"invalid response body \(JSON is malformed.*beginning",
        remedy="`catalunya sources check landing.service_usage`",
    )


def test_a_disk_that_is_full(site: Site) -> None:
    if site.can_fill:
        pytest.skip(f"no disk of {DISK_MB} MB can be mounted here: {site.can_fill}")
    site.mock.advance(USAGE)
    filling = site.scratch / "filling"
    try:
        with pytest.raises(OSError, match="No space left"), filling.open("wb") as file:  # noqa: PT012
            while True:
                file.write(bytes(2**20))
                file.flush()
        site.fail("staging.service_usage", trigger="landing.service_usage")
        seen(
            site,
            "disk_full:temporary files",
            severity="error",
            what=r"the disk of the temporary files is 100 % full.*staging\.service_usage could not be made",
            cause=r"no space left on the device",
            remedy="free space (`catalunya prune` deletes what has expired)",
            affected=("staging.service_usage", "marts.fact_service_usage_daily"),
        )
    finally:
        filling.unlink()


def test_a_scheduler_that_was_stopped_for_an_hour(site: Site) -> None:
    scheduler = next(
        process
        for process in psutil.Process(site.server.process.pid).children()
        if (site.server.home / "logs" / "scheduler.log").samefile(f"/proc/{process.pid}/fd/1")
    )
    scheduler.send_signal(signal.SIGSTOP)
    try:
        wait_until(
            lambda: site.server.client.health()["scheduler"]["status"] == "unhealthy",
            60,
            site.server.client.health,
            poll_s=0.2,
        )
        # Nothing of Airflow looks now: a look from elsewhere, such as cron's, does.
        seen(
            site,
            "process_silent:scheduler",
            severity="error",
            what=r"Airflow's scheduler does not answer",
            cause=r"no recent heartbeat",
            remedy="restart it",
            look=lambda: catalunya("watch", "--keep"),
        )
    finally:
        scheduler.send_signal(signal.SIGCONT)
    site.mend()
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    keep_board(site.project.lake, replace(read_board(site.project.lake), at=an_hour_ago))
    os.utime(Path(site.project.lake.root, "_watch/findings.json"), times=(0, an_hour_ago.timestamp()))
    wait_until(
        lambda: site.server.client.health()["scheduler"]["status"] == "healthy",
        60,
        site.server.client.health,
        poll_s=0.2,
    )
    seen(
        site,
        "watch_silent:watch",
        severity="error",
        what=r"nothing watched between",
        cause=r"the scheduler was stopped",
        remedy="check that Airflow's scheduler and workers run",
        passes=True,
    )


def test_a_dag_that_was_paused_and_forgotten(site: Site) -> None:
    site.server.client.patch("/dags/staging.service_usage", {"is_paused": True})
    try:
        site.mock.advance(USAGE)
        site.run("landing.service_usage", until=("success",))
        seen(
            site,
            "dag_paused:staging.service_usage",
            severity="error",
            what=r"the DAG staging\.service_usage is paused, and its table is out of date",
            cause=r"someone paused it",
            remedy="`catalunya airflow dags unpause staging.service_usage`",
            affected=("marts.fact_service_usage_daily",),
        )
    finally:
        site.server.client.patch("/dags/staging.service_usage", {"is_paused": False})


def test_a_mart_that_fails_for_an_error_of_dbt(site: Site) -> None:
    site.fail(BROKEN)
    seen(
        site,
        f"table_failed:{BROKEN}",
        severity="error",
        what=rf"{re.escape(BROKEN)} could not be made",
        cause=r"Could not convert string 'many' to INT64.*fix dbt/models/marts/aggregates/agg_population_trends_yearly\.sql",
        remedy=f"`catalunya history {BROKEN}`",
    )


def test_a_clock_that_is_wrong(site: Site) -> None:
    entry = site.project.ledger.latest("staging.gdp")
    assert entry
    ahead = datetime.now(UTC) + timedelta(hours=3)
    later = replace(entry, started_at=ahead, run_id="on-a-worker-that-is-ahead", status="unchanged")
    site.project.ledger.append(later, after=entry.sequence)
    seen(
        site,
        "clock_wrong:ledger",
        severity="error",
        what=r"staging\.gdp was recorded 3 h in the future",
        cause=r"the clock of the machine of run on-a-worker-that-is-ahead",
        remedy="set both clocks (`timedatectl status`)",
        affected=("staging.gdp",),
    )
