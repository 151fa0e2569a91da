"""What CloudWatch costs, counted from the templates: no more than the architecture allows, and as docs/infrastructure.md shows it."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.cdk.naming import Names
from small.templates import Template

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def table() -> ModuleType:
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import cloudwatch_table
    finally:
        sys.path.remove(str(ROOT / "bench"))
    return cloudwatch_table


def of_both(templates: dict[str, Template]) -> dict[str, Any]:
    return {env: templates[Names.of(env).stack].content["Resources"] for env in ("dev", "prod")}


def test_cloudwatch_costs_no_more_than_the_architecture_allows(
    table: ModuleType, templates: dict[str, Template], graph: AssetGraph
) -> None:
    assert table.LIMITS == {"dev": 2.0, "prod": 5.0}
    for env, resources in of_both(templates).items():
        assert table.allowed_usd(resources) <= table.LIMITS[env]
        assert table.usd_now(resources, graph) <= table.limit(env, resources, graph)


def test_the_page_shows_what_the_templates_cost(table: ModuleType, templates: dict[str, Template]) -> None:
    page = (ROOT / "docs" / "infrastructure.md").read_text()
    assert table.render(of_both(templates)) in page, "stale: run `python bench/cloudwatch_table.py`"


def test_the_dashboards_of_an_account_are_free_unless_dev_has_some(
    table: ModuleType, templates: dict[str, Template]
) -> None:
    drawn = {
        env: sum(each["Type"] == "AWS::CloudWatch::Dashboard" for each in resources.values())
        for env, resources in of_both(templates).items()
    }
    assert drawn == {"dev": 0, "prod": 3}
    assert (table.dashboards_usd(sum(drawn.values())), table.dashboards_usd(6)) == (0, 9)


def test_an_alarm_a_metric_and_a_table_cost_what_aws_charges(
    table: ModuleType, templates: dict[str, Template], graph: AssetGraph
) -> None:
    resources = of_both(templates)["prod"]
    before = table.allowed_usd(resources)
    more = copy.deepcopy(resources)
    alarm = next(each for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm")
    metric = {"MetricStat": {"Metric": {"MetricName": "Findings"}}}
    more["One"] = alarm
    assert table.allowed_usd(more) == pytest.approx(before + 0.10)
    more["Two"] = {"Type": alarm["Type"], "Properties": {"Metrics": [metric, metric, {"Expression": "a / b"}]}}
    assert table.allowed_usd(more) == pytest.approx(before + 0.30)

    without = {
        logical: each
        for logical, each in resources.items()
        if each["Type"] != "AWS::Logs::MetricFilter"
        or each["Properties"]["MetricTransformations"][0]["MetricName"] != "Findings"
    }
    assert table.allowed_usd(without) == pytest.approx(before - 0.30)
    assert table.by_table(resources, 720).usd == pytest.approx(5 * 0.30)


def test_a_table_has_data_in_the_hours_in_which_what_it_is_made_from_is_due(
    table: ModuleType, graph: AssetGraph
) -> None:
    week = 30 / 7
    assert table.run_hours(graph, graph["landing.gdp"]) == pytest.approx(week)
    assert table.run_hours(graph, graph["landing.social_services"]) == pytest.approx(7 * week)
    # Its clock at midnight, and what it reads on Mondays.
    due = {
        asset.schedule
        for asset in (graph[key] for key in graph.ancestors("marts.dim_municipalities"))
        if asset.schedule
    }
    hours = {schedule.split()[1] for schedule in due}
    assert table.run_hours(graph, graph["marts.dim_municipalities"]) == pytest.approx((7 + len(hours)) * week)
