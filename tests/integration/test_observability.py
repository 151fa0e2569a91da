"""Traces across processes and functions, and the files in `ops/observability`: rules and dashboard on a real Prometheus, with what we send."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.metrics import METRICS
from catalunya.assets.record.project import Project
from catalunya.assets.record.traces import trace_id
from catalunya.io.environment import load_settings
from catalunya.ops import mock
from catalunya.ops.mock.server import MockServer
from catalunya.ops.processes import child, free_ports
from catalunya.ops.watching.look import watch
from small.collector import Collector, collecting
from small.commands import COMMAND
from small.functions import functions
from small.patience import wait_until

ROOT = Path(__file__).parents[2]
FILES = ROOT / "ops" / "observability"
DASHBOARD = json.loads((FILES / "grafana" / "dashboard.json").read_text())
CHAIN = ("landing.municipalities", "staging.municipalities", "marts.dim_municipalities")


@pytest.fixture(scope="module")
def sources() -> Iterator[MockServer]:
    with mock.serve(rows=60) as server:
        yield server


@pytest.fixture
def env(sources: MockServer, compiled: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of our processes, without OpenTelemetry's variables."""
    sources.reset()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CATALUNYA_"))}
    own = {"LAKE": str(tmp_path / "lake"), "CACHE": str(compiled), "MOCK_URL": sources.url, "HTTP_BACKOFF_S": "0"}
    return kept | {f"CATALUNYA_{name}": value for name, value in own.items()}


def made(env: dict[str, str], *arguments: str) -> None:
    """Run our command in a process of its own."""
    done = subprocess.run([COMMAND, *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def assert_one_trace(collector: Collector) -> None:
    """The chain is one trace: each table's parent is the one that it was made from, although no process knew of another."""
    landing, staging, mart = map(collector.span, CHAIN)
    assert {landing.trace, staging.trace, mart.trace} == {
        trace_id(str(landing.attributes["correlation_id"])).hex(),
    }
    assert (landing.parent, staging.parent, mart.parent) == ("", landing.id, staging.id)
    assert landing.started_at < landing.ended_at <= staging.started_at < staging.ended_at <= mart.started_at


def test_landing_staging_and_mart_made_by_three_processes_are_one_trace(env: dict[str, str]) -> None:
    with collecting() as collector:
        for key in CHAIN:
            made({**env, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, "materialize", key)
    assert_one_trace(collector)


def test_what_functions_made_is_in_the_same_trace_and_they_send_nothing(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Landing and staging are made by functions, and reported by the task of Airflow that waited for them; the mart is made by a process."""
    from airflow.sdk import Asset

    from catalunya.dags.functions import Invoke

    (port,) = free_ports(1)
    theirs = {**env, "PYTHONPATH": f"{ROOT / 'tests'}:{env.get('PYTHONPATH', '')}"}
    with collecting() as collector, functions(port, tmp_path / "functions.log", theirs) as url:
        for name, value in {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}.items():
            monkeypatch.setenv(name, value)
        for purpose, key in (("extract", CHAIN[0]), ("transform", CHAIN[1])):
            step = {"asset": key, "run_id": f"scheduled of {key}"}
            path = f"/2015-03-31/functions/f-{purpose}-dev/invocations"
            result = httpx.post(url + path, json=step, timeout=120).json()
            assert key not in [span.asset for span in collector.spans]  # the function itself sends nothing
            asset = Asset(name=key, uri=f"catalunya://{key.replace('.', '/')}")
            task = Invoke(task_id="materialize", asset=asset, functions="f-{purpose}-dev")
            events = SimpleNamespace(extra={})
            task.resume({"outlet_events": {asset: events}}, result, [step])  # type: ignore[typeddict-item]
            assert events.extra["run_id"] == step["run_id"]
        made({**env, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}, "materialize", CHAIN[2])
    assert_one_trace(collector)
    # What the function asked its source is in the metrics, though it knows nothing of metrics.
    assert sum(collector.values("http.client.request.duration", asset=CHAIN[0])) >= 3


def program(name: str) -> str:
    """A program of Prometheus; the test is skipped if this machine has none."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


def promtool(*arguments: str, folder: Path = FILES) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_promtool_accepts_the_configuration_and_the_tests_of_the_rules_pass() -> None:
    for arguments in (("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested_and_the_tests_notice_a_wrong_threshold(tmp_path: Path) -> None:
    text, written = (FILES / "rules.yml").read_text(), yaml.safe_load((FILES / "rules_test.yml").read_text())
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    cases = [case for test in written["tests"] for case in test["alert_rule_test"]]
    assert {rule["alert"] for rule in rules} == {case["alertname"] for case in cases if case.get("exp_alerts")}

    for right, wrong, noticed in (
        ("> 0.2", "> 0.4", "a source that has a third of its requests sent again"),
        ("> 30 * 60", "> 300 * 60", "the watch of one environment falls silent"),
        ("== 1", "== 2", "a table that stays stale for a day"),
        ("[25m]", "[5m]", "an error alerts at once"),
    ):
        (test,) = (test for test in written["tests"] if test["name"].startswith(noticed))
        (tmp_path / "rules_test.yml").write_text(yaml.safe_dump({**written, "tests": [test]}, sort_keys=False))
        (tmp_path / "rules.yml").write_text(text.replace(right, wrong))
        assert promtool("test", "rules", "rules_test.yml", folder=tmp_path).returncode != 0, right


def test_grafana_finds_everything_that_the_dashboard_and_its_provisioning_name() -> None:
    (datasource,) = yaml.safe_load((FILES / "grafana" / "datasource.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FILES / "grafana" / "dashboards.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert (DASHBOARD["uid"], DASHBOARD["schemaVersion"] >= 39, DASHBOARD["editable"]) == ("pipeline", True, False)
    assert "id" not in DASHBOARD  # Grafana gives it one; one that it did not give is refused
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in [*panels, *DASHBOARD["templating"]["list"]]:
        assert panel["datasource"] == {"type": "prometheus", "uid": datasource["uid"]}
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        assert panel["targets"]
        assert panel["title"]
        assert panel["description"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["datasource"]["uid"] == datasource["uid"] for target in panel["targets"])
    cells = {(x, y) for panel in panels for x in across(panel, "x", "w") for y in across(panel, "y", "h")}
    assert len(cells) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in panels)  # none overlap


def across(panel: dict[str, Any], at: str, size: str) -> range:
    return range(panel["gridPos"][at], panel["gridPos"][at] + panel["gridPos"][size])


def test_no_file_names_an_asset(compiled: Path) -> None:
    text = "".join(path.read_text() for path in FILES.rglob("*") if path.is_file() and path.name != "rules_test.yml")
    project = Project(load_settings(cache=compiled))
    assert [asset.key for asset in project.graph if asset.key in text or asset.key.partition(".")[2] in text] == []
    assert "atalun" not in text


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs. One client: httpx reads all certificates of the machine for each new one, which takes longer than an answer."""

    http: httpx.Client

    def is_ready(self) -> bool:
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> Any:
        return self.http.get(f"/api/v1/{path}").json()["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an expression at the end of this minute, with the dashboard's variables at "All". A subquery sees full minutes only."""
        filled = expression.replace("$environment", ".*").replace("$asset", ".*")
        assert "$" not in filled
        end = (time.time() // 60 + 1) * 60
        answer = self.http.post("/api/v1/query", data={"query": filled, "time": end}).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def empty(self, expressions: list[str]) -> list[str]:
        return [each for each in expressions if not self.query(each)]


@contextmanager
def prometheus(folder: Path, scraped: str) -> Iterator[Prometheus]:
    """The real Prometheus, which scrapes that address each second."""
    (port,) = free_ports(1)
    target = {"targets": [scraped.removeprefix("http://")], "labels": {"instance": "local"}}
    job = {"job_name": "catalunya", "static_configs": [target], "scrape_interval": "1s"}
    config = {"rule_files": [str(FILES / "rules.yml")], "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": {"evaluation_interval": "1s"}, **config}))
    command = [
        program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    log = folder / "prometheus.log"
    with (
        child(command, log=log),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http,
    ):
        found = Prometheus(http)
        wait_until(found.is_ready, 60, log.read_text)
        yield found


def test_every_panel_shows_what_we_send(
    env: dict[str, str], sources: MockServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two tables are made from a source that fails once, a third fails, the watch looks twice: no panel is empty, and no variable."""
    program("prometheus")
    with collecting() as collector:
        for name, value in {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}.items():
            monkeypatch.setenv(name, value)
        project = Project(load_settings())
        sources.faults("error-503:9aju-tpwc:on=any:times=1")
        with prometheus(tmp_path, collector.url) as found:
            materialize(project, CHAIN[0])
            watch(project, datetime.now(UTC))
            wait_until(lambda: found.query("pipeline_watch_duration_seconds"), 60)
            materialize(project, CHAIN[0], Request(force=True))
            materialize(project, CHAIN[1])
            watch(project, datetime.now(UTC))
            expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
            # An increase takes two values that Prometheus has read.
            wait_until(lambda: not found.empty(expressions), 60, lambda: found.empty(expressions), poll_s=0.5)
            for variable in DASHBOARD["templating"]["list"]:
                ((metric, label),) = re.findall(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["definition"])
                assert {each["metric"][label] for each in found.query(metric)} - {""}
            (stale,) = found.query('pipeline_asset_stale{asset="marts.dim_municipalities"}')
            assert stale["value"][1] == "1"
            (retries,) = found.query('sum(pipeline_source_retries_total{server_address!="",error_type="503"})')
            assert retries["value"][1] == "1"
            alerts = found.get("rules")["groups"][0]["rules"]
            assert {rule["health"] for rule in alerts} == {"ok"}
            assert_documented(found)


def assert_documented(found: Prometheus) -> None:
    """The page on metrics has a row for every metric, with the name that Prometheus gives it."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = dict(re.findall(r"(?m)^\| [^`|]+ \| `([a-z.]+)` \| `([a-z_]+)` \|", page))
    assert set(rows) == {metric.name for metric in METRICS}
    names = found.get("label/__name__/values")
    for name in rows.values():
        assert name in names or f"{name}_count" in names, name
