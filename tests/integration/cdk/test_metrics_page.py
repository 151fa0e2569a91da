"""docs/metrics.md has every metric there is, the events it counts and the alarms on it, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import Names
from catalunya.cdk.signals import BY_ASSET, BY_KIND, KINDS, PLAIN, SIGNALS, URGENT, alarm_of, of_kind
from catalunya.ops.watching.findings import Kind
from small.templates import Template

PAGE = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for cells in (
        row.replace(", … |", " |").strip("|").split("|") for row in re.findall(r"^\| `.*\|$", PAGE, flags=re.MULTILINE)
    )
}


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


KIND = of_kind(Kind.SOURCE_DOWN)
SHOWN = [*PLAIN, KIND, *BY_ASSET]
"""One kind of finding stands for all."""


def test_the_metrics_are_those_of_the_infrastructure() -> None:
    assert list(ROWS) == [signal.metric for signal in SHOWN]
    assert set(SIGNALS) == {*SHOWN, *BY_KIND}


def test_each_row_says_what_its_metric_counts() -> None:
    for signal in SHOWN:
        events, value, by_asset, _ = ROWS[signal.metric]
        assert names_in(events) == set(signal.events), signal.metric
        assert value.startswith(f"`{signal.field}`" if signal.field else "1:"), signal.metric
        assert by_asset == ("yes" if signal.by_asset else "no"), signal.metric


def test_each_row_names_the_alarms_on_its_metric(template: Template, names: Names) -> None:
    found: dict[str, set[str]] = {signal.metric: set() for signal in SIGNALS}
    for alarm in template.of("AWS::CloudWatch::Alarm").values():
        for query in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}]):
            metric = query.get("MetricStat", {}).get("Metric", {})
            if metric.get("Namespace") == names.metrics:
                found[metric["MetricName"]].add(alarm["AlarmName"].removeprefix(names.alarm("")))
    by_kind = PROFILES[names.env].warns_early

    listed = {metric: names_in(cells[3]) for metric, cells in ROWS.items()}
    assert listed[KIND.metric] == {alarm_of(Kind.SOURCE_DOWN)}
    assert listed[URGENT.metric] == {"findings"}
    listed |= {of_kind(kind).metric: {alarm_of(kind)} if by_kind else set() for kind in KINDS}
    listed |= {URGENT.metric: set()} if by_kind else {}
    assert found == listed


def test_each_alarm_has_a_row_on_the_page_of_the_infrastructure(template: Template, names: Names) -> None:
    page = (Path(__file__).parents[3] / "docs/infrastructure.md").read_text()
    table = page.partition("raised when |")[2].partition("\n\n")[0]
    listed = {
        cells[0]: cells[1].strip()
        for cells in (row.strip("|").split("|") for row in table.splitlines() if row.startswith("| `"))
    }
    rows = {name: text for cell, text in listed.items() for name in names_in(cell)}
    rows |= {f"{layer}-slow": rows["-slow"] for layer in ("landing", "staging")}
    rows |= {alarm_of(kind): rows[alarm_of(Kind.SOURCE_DOWN)] for kind in KINDS}
    there = {
        name for name, text in rows.items() if not text.startswith(tuple({"dev: ", "prod: "} - {f"{names.env}: "}))
    }
    alarms = {
        alarm["AlarmName"].removeprefix(names.alarm("")) for alarm in template.of("AWS::CloudWatch::Alarm").values()
    }

    assert alarms == there - {"-slow"}
