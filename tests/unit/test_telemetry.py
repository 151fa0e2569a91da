"""OpenTelemetry: what is sent of a run, as a collector receives it; a collector that fails; nothing at all when it is off."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.making.restoring import restore_version
from catalunya.assets.record.metrics import METRICS, Table
from catalunya.assets.record.project import Project
from catalunya.assets.record.telemetry import report_look
from catalunya.io import otlp
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from catalunya.ops.mock.exchange import Answer
from small.collector import Collector, collecting
from small.killing import KEYS
from small.shops import FolderSource, declare, some

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass
class Shops:
    """The shops, and a collector that hears of them."""

    project: Project
    source: FolderSource
    collector: Collector

    def make(self, *keys: str, **request: object) -> list[Outcome]:
        return [materialize(self.project, key, Request(**request)) for key in keys or KEYS]  # type: ignore[arg-type]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector, and this process sends to it."""
    otlp._resting.clear()
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        yield collector
    otlp._resting.clear()


@pytest.fixture
def shops(settings: Settings, tmp_path: Path, collector: Collector) -> Shops:
    source, declared = declare(tmp_path / "source", page_rows=100)
    source.write(some(5))
    return Shops(Project(settings, declared), source, collector)


def test_landing_and_what_is_made_from_it_are_one_trace_with_ids_from_the_ledger(shops: Shops) -> None:
    shops.make()
    landing, staging, cities = map(shops.collector.span, KEYS)
    entry = shops.project.ledger.latest("landing.shops")
    assert entry

    expected = hashlib.sha256(entry.correlation_id.encode()).hexdigest()[:32]
    assert {landing.trace, staging.trace, cities.trace} == {expected}
    assert landing.id == hashlib.sha256(b"landing.shops/1").hexdigest()[:16]
    assert (landing.parent, staging.parent, cities.parent) == ("", landing.id, landing.id)
    assert cities.links == ((staging.trace, staging.id),)  # the first upstream is the parent, the others are links


def test_a_span_says_when_and_what_was_made_from_which_versions(shops: Shops) -> None:
    shops.make()
    span, entry = shops.collector.span("staging.shops"), shops.project.ledger.latest("staging.shops")
    assert entry
    assert span.name == "materialize staging.shops"
    assert (span.started_at, span.error) == (entry.started_at, "")
    assert abs(span.ended_at - entry.recorded_at) < timedelta(milliseconds=1)
    said = {name: span.attributes[name] for name in ("asset", "layer", "run_id", "reason", "status", "rows", "bytes")}
    assert said == {
        "asset": "staging.shops",
        "layer": "staging",
        "run_id": entry.run_id,
        "reason": "MISSING",
        "status": "materialized",
        "rows": 5,
        "bytes": entry.bytes,
    }
    assert span.attributes["version.landing.shops"] == entry.versions["landing.shops"]


def test_a_run_without_an_event_continues_the_trace_of_what_changed(shops: Shops) -> None:
    first = shops.make()
    shops.source.write(some(6))
    shops.make("landing.shops", correlation_id="second")
    again = shops.make("staging.shops", "staging.cities")
    assert {outcome.entry and outcome.entry.correlation_id for outcome in again} == {"second"}
    assert first[0].entry
    assert first[0].entry.correlation_id != "second"


def test_a_run_for_which_nothing_changed_is_a_trace_of_its_own(shops: Shops) -> None:
    shops.make()
    landed, forced = shops.make("landing.shops", "staging.shops", force=True)
    assert landed.entry
    assert forced.entry
    assert (forced.status, forced.entry.correlation_id) == ("materialized", forced.entry.run_id)
    again, span = shops.collector.spans[-2:]
    # The newest landing of the same content; a parent would be of the same trace.
    assert (span.parent, span.links) == ("", ((again.trace, again.id),))


def test_a_failure_is_a_span_with_its_error_and_a_metric(shops: Shops) -> None:
    shops.make("landing.shops")
    shops.source.write([*some(2), *({"codi": f"B{number}", "ciutat": "nowhere"} for number in range(4))])
    shops.make("landing.shops")
    with pytest.raises(ContractError):
        shops.make("staging.shops")
    span = shops.collector.span("staging.shops")
    assert "4 of 6 rows" in span.error
    assert span.attributes["error.type"] == "ContractError"
    assert shops.collector.values("pipeline.asset.failed", asset="staging.shops") == [1]
    assert shops.collector.values("pipeline.asset.rows", asset="staging.shops") == []


def test_a_restored_version_is_announced_too(shops: Shops) -> None:
    shops.make()
    shops.source.write(some(4))
    shops.make()
    restore_version(shops.project, "staging.shops", "undo")
    assert shops.collector.spans[-1].attributes["reason"] == "RESTORED"


def test_the_metrics_of_a_run_are_those_of_its_entry(shops: Shops) -> None:
    shops.make()
    entry = shops.project.ledger.latest("staging.shops")
    assert entry
    of = {
        name: shops.collector.values(f"pipeline.asset.{name}", asset="staging.shops", layer="staging")
        for name in ("rows", "size", "quarantined", "runs", "failed", "run.duration")
    }
    assert of == {
        "rows": [5],
        "size": [entry.bytes],
        "quarantined": [0],
        "runs": [1],
        "failed": [0],
        "run.duration": [entry.seconds],
    }
    (resource, _), *_ = shops.collector.metrics
    assert resource == {
        "service.name": "catalunya",
        "service.instance.id": "local",
        "deployment.environment.name": "local",
    }


def test_a_look_of_the_watch_reports_all_tables_and_findings(shops: Shops) -> None:
    shops.make()
    state = shops.project.state()
    tables = [
        Table(asset=key, made=state.latest(key), last=state.last_attempt(key), is_stale=key == "staging.cities")
        for key in KEYS
    ]
    report_look(
        shops.project.settings,
        tables,
        {("table_stale", "warning"): 1, ("table_failed", "error"): 0},
        0.25,
        datetime.now(UTC) + timedelta(hours=1),
    )
    values = shops.collector.values
    assert [values("pipeline.asset.stale", asset=key) for key in KEYS] == [[0], [0], [1]]
    assert 3590 < values("pipeline.asset.age", asset="landing.shops")[-1] < 3700
    assert values("pipeline.findings", kind="table_stale", severity="warning") == [1]
    assert values("pipeline.findings", kind="table_failed", severity="error") == [0]
    assert values("pipeline.watch.assets") == [3]
    assert values("pipeline.watch.duration") == [0.25]


def test_resource_and_headers_are_those_of_the_standard_variables(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "team=open%20data,service.name=not-this")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a-long-token")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    shops.make("landing.shops")
    resource, _ = shops.collector.metrics[-1]
    assert (resource["service.name"], resource["team"]) == ("mine", "open data")
    asked = shops.collector.asked[-1]
    assert (asked.headers["authorization"], asked.headers["content-encoding"]) == ("Bearer a-long-token", "gzip")


def test_a_signal_can_have_its_own_endpoint_or_none(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{shops.collector.url}/api/v1/otlp/v1/metrics")
    shops.make("landing.shops")
    assert [asked.path for asked in shops.collector.asked] == ["/api/v1/otlp/v1/metrics"]

    monkeypatch.setenv(ENDPOINT, shops.collector.url)
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    shops.make("staging.shops")
    assert [asked.path for asked in shops.collector.asked[1:]] == ["/v1/traces"]

    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    shops.make("staging.cities")
    assert len(shops.collector.asked) == 2


def test_a_traceparent_of_the_caller_is_a_link(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    monkeypatch.setenv("TRACEPARENT", f"00-{trace}-{span}-01")
    shops.make("landing.shops")
    assert shops.collector.span("landing.shops").links == ((trace, span),)


def test_the_span_that_the_process_works_in_is_a_link_as_that_of_an_airflow_task_is(shops: Shops) -> None:
    from opentelemetry import trace

    context = trace.SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        shops.make("landing.shops")
    assert shops.collector.span("landing.shops").links == (("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(b"out of memory", 500), "it answered 500 out of memory"),
        (Answer(b"", delay=30), "no answer within"),
        (Answer(b"\x0a\x02\x08\x01", headers={"Content-Type": "application/x-protobuf"}), "it rejected 1"),
    ],
)
def test_a_collector_that_fails_costs_a_warning_and_no_table(shops: Shops, answer: Answer, said: str) -> None:
    shops.collector.answer = answer
    with capture_logs() as logs:
        made = shops.make()
    assert {outcome.status for outcome in made} == {"materialized"}
    warnings = [line for line in logs if line["event"] == "telemetry_not_sent"]
    assert warnings
    assert all(said in line["error"] for line in warnings)
    assert all(line["log_level"] == "warning" for line in warnings)
    assert sum(line["seconds"] for line in warnings) < otlp.LIMIT_S + 2
    # Once, for three tables: what comes next in this process does not ask again.
    assert len(shops.collector.asked) == len(warnings) <= 2


def test_a_collector_that_is_down_costs_a_warning(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, and nothing listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(ENDPOINT, f"http://user:secret@127.0.0.1:{taken.getsockname()[1]}")
        with capture_logs() as logs:
            made = shops.make()
    assert {outcome.status for outcome in made} == {"materialized"}
    warnings = [line for line in logs if line["event"] == "telemetry_not_sent"]
    assert len(warnings) == 1
    assert "ConnectError" in warnings[0]["error"]
    assert "secret" not in str(warnings)


@pytest.mark.parametrize("chunk", [b"x" * 65536, b"x"], ids=["as fast as it can", "a byte at a time"])
@pytest.mark.parametrize("status", [b"200 OK", b"500 Error"])
def test_an_answer_without_an_end_is_not_read_to_it(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, status: bytes, chunk: bytes
) -> None:
    monkeypatch.setattr(otlp, "LIMIT_S", 1.0)
    with endless(status, chunk) as (url, gone):
        monkeypatch.setenv(ENDPOINT, url)
        (made,) = shops.make("landing.shops")
        assert made.status == "materialized"
        assert gone.wait(otlp.LIMIT_S + 3), "the thread that sends is still reading"


@contextmanager
def endless(status: bytes, chunk: bytes) -> Iterator[tuple[str, threading.Event]]:
    """A server whose answer has no end; the event says that its first client has gone."""
    gone = threading.Event()

    def serve(listening: socket.socket) -> None:
        client, _ = listening.accept()
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 99999999999\r\n\r\n")
            while True:
                client.sendall(chunk)
                time.sleep(0.02)
        gone.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=[listening], daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", gone


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "expected http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "could not convert"),
        (ENDPOINT, "nowhere", "UnsupportedProtocol"),
        (ENDPOINT, "http://[::1", "expected a URL"),
        (ENDPOINT, "http://user:se/cret@127.0.0.1", "expected a URL"),
    ],
)
def test_a_variable_that_makes_no_sense_is_a_warning(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with capture_logs() as logs:
        (made,) = shops.make("landing.shops")
    assert made.status == "materialized"
    assert said in next(line["error"] for line in logs if line["event"] == "telemetry_not_sent")
    assert "'se'" not in str(logs)


def test_when_off_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.assets.record.telemetry import report_look
from catalunya.io.environment import load_settings
from small.shops import declare, some
source, declared = declare(Path({str(tmp_path / "source")!r}))
source.write(some(3))
project = Project(load_settings(lake={str(tmp_path / "lake")!r}), declared)
materialize(project, "landing.shops")
report_look(project.settings, [], {{}}, 0.0)
print([name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=_without())
    assert found.stdout.strip().splitlines()[-1] == "[]"


def _without() -> dict[str, str]:
    """The environment of this process, without OpenTelemetry's variables, and with these tests' helpers."""
    here = str(Path(__file__).parents[1])
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return env | {"PYTHONPATH": f"{here}:{env.get('PYTHONPATH', '')}"}


def test_every_metric_has_a_name_of_its_own_and_a_description() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all(metric.description and metric.name == metric.name.lower() for metric in METRICS)
