"""What a day costs: the arithmetic, checked by hand; and docs/aws.md, which shows the counts and the names of resources."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from catalunya.cdk.deployment import PROFILES
from catalunya.cdk.naming import Names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text()
NOTHING = {"s3": {}, "glue": 0, "sqs": 0, "worker_bytes": 0, "log_bytes": 0}
EMPTY = NOTHING | {"pages": 0, "written_bytes": 0, "athena_scanned": [], "invocations": []}


@pytest.fixture(scope="module")
def table() -> ModuleType:
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import aws_table
    finally:
        sys.path.remove(str(ROOT / "bench"))
    return aws_table


def usd(table: ModuleType, day: dict[str, Any], ticks: dict[str, Any] | None = None) -> dict[str, float]:
    return {line.what: round(line.usd, 9) for line in table.lines(EMPTY | day, NOTHING | (ticks or {})) if line.usd}


def test_requests_are_charged_by_kind_for_the_day_and_for_what_happens_every_day(table: ModuleType) -> None:
    found = usd(
        table,
        {"s3": {"PUT": 600, "LIST": 300, "COPY": 50, "POST": 50, "GET": 900, "HEAD": 100, "DELETE": 7}, "glue": 400},
        {"s3": {"LIST": 1000, "GET": 1000}, "glue": 600, "sqs": 10_000},
    )
    assert found == {
        "S3: PUT, COPY, POST, LIST": 0.01,
        "S3: GET, HEAD": 0.0008,
        "Glue: requests": 0.001,
        "SQS: requests": 0.004,
    }


def test_a_query_is_charged_at_least_ten_megabytes_and_writes_two_objects(table: ModuleType) -> None:
    found = usd(table, {"athena_scanned": [1, 20 * 2**20]})
    assert found["Athena: charged"] == round((10 + 20) / 2**20 * 5, 9)
    assert found["S3: PUT, COPY, POST, LIST"] == 4 * 0.005 / 1000


def test_a_function_is_charged_for_start_work_and_waits_times_its_memory(table: ModuleType) -> None:
    invocation = {"init_s": 0.5, "run_s": 0.2001, "pages": 2, "aws_requests": 10, "memory_mb": 2048}
    assert table.seconds(invocation) == 3.001
    assert table.gb_seconds([invocation]) == 6.002
    found = usd(table, {"invocations": [invocation], "log_bytes": 999_500})
    assert found["Lambda: duration"] == round(6.002 * 0.0000133334, 9)
    assert found["CloudWatch: logs of functions"] == round(0.001 * 0.57, 9)


def test_data_transfer_and_storage_are_charged_by_the_gigabyte(table: ModuleType) -> None:
    assert usd(table, {"worker_bytes": 10**9})["data transfer out, to the worker"] == 0.09
    assert table.storage_usd({"stored_bytes": 10**9, "added_bytes": 10**8}) == pytest.approx(10 * 0.023)


def test_a_month_of_looks_is_requests_transfer_and_logs(table: ModuleType) -> None:
    watch = {
        "looks": 100,
        "s3": {"LIST": 100, "PUT": 50, "GET": 400},
        "worker_bytes": 10**6,
        "log_bytes": 10**5,
        "log_lines": 200,
    }
    requests = 30 * (150 * 0.005 + 400 * 0.0004) / 1000
    logs = 30 * (10**5 + 200 * 250 + 100 * 2500) / 10**9 * 0.57
    assert table.watch_requests_usd(watch) == pytest.approx(requests)
    assert table.watch_usd(watch) == pytest.approx(requests + 30 * 0.09 / 1000 + logs)


def test_the_requests_of_the_watch_cost_no_more_than_they_may(table: ModuleType) -> None:
    watch = json.loads((ROOT / "bench" / "aws_costs.json").read_text())["watch"]
    assert watch["looks"] == 144
    assert table.watch_requests_usd(watch) <= table.WATCH_USD == 0.05


def test_the_page_shows_the_counts(table: ModuleType) -> None:
    counted = json.loads((ROOT / "bench" / "aws_costs.json").read_text())
    assert table.render(counted) in PAGE, "stale: run `python bench/aws_costs.py --table`"


def test_the_counted_cost_is_within_the_budget_of_each_environment(table: ModuleType) -> None:
    counted = json.loads((ROOT / "bench" / "aws_costs.json").read_text())
    days = {
        name: sum(line.usd for line in table.lines(table.day_of(counted, name), table.every_day(counted)))
        for name in counted["days"]
    }
    assert days["quiet"] < days["changed"]
    assert days["changed"] * 30 + table.storage_usd(counted) < min(profile.budget_usd for profile in PROFILES.values())


def test_the_page_uses_the_names_of_the_infrastructure() -> None:
    names = Names.of("dev")
    expected = [
        names.data_bucket,
        names.manifests_queue,
        *(name for _, name in names.functions()),
        *names.databases.values(),
    ]
    expected += [names.settings.athena_work_group, names.settings.athena_readers]
    for name in expected:
        assert re.search(rf"`(…/)?{re.escape(name.replace('dev', '{env}'))}`", PAGE), name
