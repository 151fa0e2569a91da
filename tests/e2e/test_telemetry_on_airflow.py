"""OpenTelemetry on a real Airflow: its variables reach the tasks, a wave of events is one trace, and `ops.watch` sends the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.ops.local_airflow.server import airflow
from catalunya.ops.mock import serve
from small.collector import collecting
from small.field import Field

CHAIN = ("landing.municipalities", "staging.municipalities", "marts.dim_municipalities")


def test_a_wave_of_tasks_is_one_trace_and_the_watch_sends_all_tables(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector, serve(rows=100) as mock:
        # As someone who types `catalunya up` has it: in the environment of the command.
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        settings = load_settings(
            env="local", lake=str(tmp_path / "lake"), cache=compiled, mock_url=mock.url, clocks=False
        )
        with airflow(settings, home=tmp_path / "home", retry_delay_s=1) as server:
            field = Field(server.client, Project(settings), mock)
            field.trigger(CHAIN[0])
            field.settle()
            landing, staging, mart = map(collector.span, CHAIN)
            assert {staging.trace, mart.trace} == {landing.trace}
            assert (landing.parent, staging.parent, mart.parent) == ("", landing.id, staging.id)
            runs = {field.runs(key)[-1]["dag_run_id"] for key in CHAIN}
            assert {span.attributes["run_id"] for span in (landing, staging, mart)} == runs

            field.begin()
            field.trigger("ops.watch")
            field.settle()
    assert collector.values("pipeline.watch.assets") == [len(field.project.graph)]
    rows = collector.values("pipeline.asset.rows", asset=CHAIN[2])
    assert len(rows) == 2  # by the task that made it, and by the watch
    assert rows[0] == rows[1] > 0
    assert sum(collector.values("pipeline.asset.stale")) > 0
