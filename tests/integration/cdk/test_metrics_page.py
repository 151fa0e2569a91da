"""docs/metrics.md has every metric there is, the events it counts and the alarms on it, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from catalunya.cdk.naming import Names
from catalunya.cdk.signals import SIGNALS
from small.templates import Template

PAGE = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for cells in (row.strip("|").split("|") for row in re.findall(r"^\| `.*\|$", PAGE, flags=re.MULTILINE))
}


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_metrics_are_those_of_the_infrastructure() -> None:
    assert list(ROWS) == [signal.metric for signal in SIGNALS]


def test_each_row_says_what_its_metric_counts() -> None:
    for signal in SIGNALS:
        events, value, by_asset, _ = ROWS[signal.metric]
        assert names_in(events) == set(signal.events), signal.metric
        assert value.startswith(f"`{signal.field}`" if signal.field else "1:"), signal.metric
        assert by_asset == ("yes" if signal.by_asset else "no"), signal.metric


def test_each_row_names_the_alarms_on_its_metric(template: Template, names: Names) -> None:
    found: dict[str, set[str]] = {metric: set() for metric in ROWS}
    for alarm in template.of("AWS::CloudWatch::Alarm").values():
        subject = re.sub(r"^.*-(?=landing\.)landing\.\w+", "{asset}", alarm["AlarmName"])
        subject = subject.removeprefix(names.alarm(""))
        for query in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}]):
            metric = query.get("MetricStat", {}).get("Metric", {})
            if metric.get("Namespace") == names.metrics:
                found[metric["MetricName"]].add(subject)

    assert {metric: names_in(cells[3]) for metric, cells in ROWS.items()} == found
