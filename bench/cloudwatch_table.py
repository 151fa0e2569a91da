"""What CloudWatch costs in dev and prod, counted from the synthesized templates, and written to docs/infrastructure.md.

`python bench/cloudwatch_table.py` synthesizes the templates (a minute; nothing calls AWS) and writes the table between two marks; a test
compares it with the templates. Alarms, metrics and dashboards are those of the templates. A metric is charged by the hour in which it has
data: always, when tables are made, or when something is wrong (`When` in `cdk/signals.py`); how many hours that is, is assumed below.
Not here: what a day's work costs (`aws_costs.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.cdk.context import between_marks
from catalunya.cdk.signals import BY_KIND, SIGNALS, Signal, When

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "infrastructure.md"
BEGIN, END = "<!-- counted by bench/cloudwatch_table.py -->", "<!-- end of what was counted -->"

# AWS: CloudWatch pricing, eu-west-1, 2026-11-23, without free tier but for dashboards.
ALARM_USD = 0.10  # a month, for each metric of an alarm
METRIC_USD = 0.30  # a month, prorated by the hour
DASHBOARD_USD = 3.00
FREE_DASHBOARDS = 3  # of an account

# Assumptions: in how many hours of a month a metric has data.
HOURS = 720
SOME_HOURS = 4 * 30  # of a metric of runs, or of something wrong: four hours a day
OPEN_KINDS = 1  # kinds of findings that are open all the time
WRONG_TABLES = 1  # tables in which something is wrong at a time
DAILY_HOURS, WEEKLY_HOURS = 30, 30 / 7  # of a table that is made daily, weekly: the hour in which it is

LIMITS = {"dev": 2.0, "prod": 5.0}
"""What the architecture allows CloudWatch, in USD a month."""
ALLOWED = {"daily": 4, "weekly": 18}
"""The architecture's 22 tables, by how often they are made. Each further one may add what it costs."""


@dataclass(frozen=True)
class Line:
    """One kind of cost: how many of it, and USD a month."""

    what: str
    number: int
    usd: float


def fixed(resources: Mapping[str, Any]) -> list[Line]:
    """What the CloudWatch of one environment costs whatever tables there are, from the resources of its template."""
    alarms, metrics = _alarm_metrics(resources), _metrics(resources)
    always = [signal for signal in metrics if signal.when is When.ALWAYS]
    kinds = [signal for signal in metrics if signal in BY_KIND]
    tables = [signal for signal in metrics if signal.by_asset and signal.when is When.WRONG]
    some = [signal for signal in metrics if signal not in (*always, *kinds) and not signal.by_asset]
    return [
        Line("alarms", alarms, alarms * ALARM_USD),
        Line("metrics with data in every hour", len(always), _usd(len(always) * HOURS)),
        Line("metrics with data when tables are made or something is wrong", len(some), _usd(len(some) * SOME_HOURS)),
        Line("metrics by kind of finding", len(kinds), _usd(min(len(kinds), OPEN_KINDS) * HOURS)),
        Line("metrics of something wrong by table", len(tables), _usd(len(tables) * WRONG_TABLES * SOME_HOURS)),
        Line("dashboards", len(_of_type(resources, "Dashboard")), 0.0),
    ]


def by_table(resources: Mapping[str, Any], hours: float) -> Line:
    """What a table adds that is made in so many hours of a month."""
    made = [signal for signal in _metrics(resources) if signal.by_asset and signal.when is When.RUNS]
    return Line("metrics of the runs of a table", len(made), _usd(len(made) * hours))


def allowed_usd(resources: Mapping[str, Any]) -> float:
    """What an environment costs with the tables of the architecture."""
    hours = ALLOWED["daily"] * DAILY_HOURS + ALLOWED["weekly"] * WEEKLY_HOURS
    return sum(line.usd for line in fixed(resources)) + by_table(resources, hours).usd


def usd_now(resources: Mapping[str, Any], graph: AssetGraph) -> float:
    """What an environment costs with the tables of a graph, by the schedules of what each is made from."""
    hours = sum(run_hours(graph, asset) for asset in graph)
    return sum(line.usd for line in fixed(resources)) + by_table(resources, hours).usd


def limit(env: str, resources: Mapping[str, Any], graph: AssetGraph) -> float:
    """What an environment may cost with the tables of a graph."""
    further = max(0, len(graph) - sum(ALLOWED.values()))
    return LIMITS[env] + further * by_table(resources, DAILY_HOURS).usd


def dashboards_usd(count: int) -> float:
    """What the dashboards of an account cost."""
    return max(0, count - FREE_DASHBOARDS) * DASHBOARD_USD


def run_hours(graph: AssetGraph, asset: Asset) -> float:
    """In how many hours of a month a table is made or found unchanged: those in which one that it is made from, or itself, is due."""
    from croniter import croniter

    found: set[datetime] = set()
    begin = datetime(2026, 1, 5)  # noqa: DTZ001  a Monday: a week is counted, in no particular zone
    for each in (asset, *(graph[key] for key in graph.ancestors(asset.key))):
        cron = each.schedule or ("0 0 * * *" if each.clock == "day" else None)
        dates = croniter(cron, begin - timedelta(seconds=1)) if cron else None
        while dates and (at := dates.get_next(datetime)) < begin + timedelta(days=7):
            found.add(at.replace(minute=0))
    return len(found) * WEEKLY_HOURS


def render(templates: Mapping[str, Mapping[str, Any]]) -> str:
    """The section of docs/infrastructure.md between its marks."""
    return "\n".join([BEGIN, *_table(templates), END])


def _table(templates: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield f"| a month | {' | '.join(f'{env} | USD' for env in templates)} |"
    yield "| --- |" + " ---: | ---: |" * len(templates)
    for row in zip(*map(fixed, templates.values()), strict=True):
        yield _row(row[0].what, row)
    for often, hours in (("daily", DAILY_HOURS), ("weekly", WEEKLY_HOURS)):
        row = [by_table(resources, hours) for resources in templates.values()]
        yield _row(f"for each table that is made {often}: {row[0].what}", row)
    tables = " and ".join(f"{number} {often}" for often, number in ALLOWED.items())
    yield f"| **total**, with {tables} tables | {_sums(map(allowed_usd, templates.values()))} |"
    yield f"| the architecture allows | {_sums(LIMITS[env] for env in templates)} |"


def _row(what: str, row: Iterable[Line]) -> str:
    return f"| {what} | {' | '.join(f'{line.number} | {line.usd:.2f}' if line.usd else f'{line.number} | ' for line in row)} |"


def _sums(each: Iterable[float]) -> str:
    return " | ".join(f"| **{usd:.2f}**" for usd in each)


def _usd(hours: float) -> float:
    return METRIC_USD * hours / HOURS


def _of_type(resources: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [each["Properties"] for each in resources.values() if each["Type"] == f"AWS::CloudWatch::{kind}"]


def _alarm_metrics(resources: Mapping[str, Any]) -> int:
    """The metrics of all alarms: an alarm on an expression is charged for each metric in it."""
    return sum(
        sum("MetricStat" in query for query in alarm.get("Metrics", [])) or 1 for alarm in _of_type(resources, "Alarm")
    )


def _metrics(resources: Mapping[str, Any]) -> list[Signal]:
    """The signals that a template has a metric filter of: on several log groups it is still one metric."""
    by_name = {signal.metric: signal for signal in SIGNALS}
    filters = (each["Properties"] for each in resources.values() if each["Type"] == "AWS::Logs::MetricFilter")
    named = (transformation["MetricName"] for each in filters for transformation in each["MetricTransformations"])
    return [by_name[name] for name in dict.fromkeys(named)]


def synthesized() -> dict[str, Any]:
    """The resources of dev and prod, from templates that are written now."""
    from catalunya.cdk.__main__ import PLAN_CONTEXT

    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package.zip"  # its content affects no template
        package.write_bytes(b"PK\5\6" + bytes(18))
        context = [f"--context={name}={value}" for name, value in (PLAN_CONTEXT | {"package": str(package)}).items()]
        command = [sys.executable, "-m", "catalunya.cdk", *context]
        subprocess.run(command, env=os.environ | {"CDK_OUTDIR": folder}, check=True)
        return {
            env: json.loads((Path(folder) / f"CatalunyaData-{env}.template.json").read_text(encoding="utf-8"))[
                "Resources"
            ]
            for env in LIMITS
        }


def main() -> int:
    """Synthesize, count, and write the table."""
    text = between_marks(PAGE, BEGIN, _table(synthesized()), END)
    PAGE.write_text(text, encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
