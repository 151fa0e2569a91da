"""docs/metrics.md has every metric there is, the events it counts and the alarms on it, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from catalunya.cdk.deployment import PROFILES
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
        for query in alarm.get("Metrics", [{"MetricStat": {"Metric": alarm}}]):
            metric = query.get("MetricStat", {}).get("Metric", {})
            if metric.get("Namespace") == names.metrics:
                found[metric["MetricName"]].add(alarm["AlarmName"].removeprefix(names.alarm("")))

    listed = {metric: names_in(cells[3]) for metric, cells in ROWS.items()}
    if PROFILES[names.env].warns_early:
        assert found == listed
    else:
        assert all(found[metric] <= listed[metric] for metric in listed)
        assert sum(map(len, found.values())) >= 8


def test_each_alarm_has_a_row_on_the_page_of_the_infrastructure(template: Template, names: Names) -> None:
    page = (Path(__file__).parents[3] / "docs/infrastructure.md").read_text()
    table = page.partition("raised when |")[2].partition("\n\n")[0]
    rows = {cell for row in table.splitlines() if row.startswith("| `") for cell in names_in(row.split("|")[1])}
    rows |= {f"{layer}-slow" for layer in ("landing", "staging")} if "-slow" in rows else set()
    alarms = {
        alarm["AlarmName"].removeprefix(names.alarm("")) for alarm in template.of("AWS::CloudWatch::Alarm").values()
    }

    assert alarms <= rows
    if PROFILES[names.env].warns_early:
        assert alarms == rows - {"-slow"}
