"""From counts to money: what a day costs, as lines, and as the table in docs/aws.md; with the prices and assumptions.

Prices are AWS's list prices for eu-west-1 (Ireland) in USD, without taxes, discounts and free tiers, on the day `AS_OF`; check them at
https://aws.amazon.com/SERVICE/pricing/ (s3, lambda, sqs, glue, cloudwatch). Athena's are in `catalunya.io.warehouse.athena`, where
queries report what they cost. Not here: counting (`aws_costs.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalunya.cdk.deployment import PROFILES
from catalunya.io.warehouse.athena import LEAST_BYTES, cost

AS_OF = "2026-11-23"
REGION = "eu-west-1"
S3_WRITE = 0.005 / 1000  # PUT, COPY, POST, LIST
S3_READ = 0.0004 / 1000  # GET and all others; DELETE is free
S3_GB_MONTH = 0.023
TRANSFER_OUT_GB = 0.09  # to the internet, for a worker outside AWS; free within the region
LAMBDA_REQUEST = 0.20 / 1_000_000
LAMBDA_GB_SECOND = 0.0000133334  # arm64; initialization is charged too
SQS_REQUEST = 0.40 / 1_000_000
GLUE_REQUEST = 1.00 / 1_000_000
LOGS_GB = 0.57  # ingested

# Assumptions, where a local run cannot measure.
SOURCE_WAIT_S = 1.0  # how long a function waits for each answer of a source, one after another
AWS_WAIT_S = 0.03  # and for each of S3 and Glue
RESULT_OBJECTS = 2  # that Athena writes for each query: the rows and their metadata
LOG_FRAME_BYTES = 500  # that Lambda itself logs for each invocation (START, END, REPORT)
TASK_FRAME_BYTES = 2500  # that Airflow 3.3.2 itself logs for each task
TASK_LINE_BYTES = 250  # and adds to each of its lines: which task of which run
WATCH_USD = 0.05  # that the requests of the watch may cost a month
DAYS = 30
KEPT_DAYS = 90  # of superseded tables

GB = 10**9
BEGIN, END = "<!-- counted by bench/aws_costs.py -->", "<!-- end of what was counted -->"
NAMES = {"changed": "everything changed", "quiet": "nothing changed"}


@dataclass(frozen=True)
class Line:
    """One kind of use on one day: the amount in `unit`, and its cost in USD."""

    what: str
    amount: float
    unit: str
    usd: float


def seconds(invocation: Mapping[str, Any]) -> float:
    """The charged duration of one invocation: CPU time, plus its waits one after another, rounded up to a millisecond."""
    waits = invocation["pages"] * SOURCE_WAIT_S + invocation["aws_requests"] * AWS_WAIT_S
    return math.ceil((invocation["init_s"] + invocation["run_s"] + waits) * 1000) / 1000


def gb_seconds(invocations: Sequence[Mapping[str, Any]]) -> float:
    """Memory times duration, of all invocations."""
    return sum(seconds(each) * each["memory_mb"] / 1024 for each in invocations)


def lines(day: Mapping[str, Any], ticks: Mapping[str, Any]) -> list[Line]:
    """What one day costs, by kind of use. `ticks` is what happens every day, whatever changes."""
    s3 = {name: day["s3"].get(name, 0) + ticks["s3"].get(name, 0) for name in {*day["s3"], *ticks["s3"]}}
    queries, invocations = day["athena_scanned"], day["invocations"]
    writes = sum(s3.get(name, 0) for name in ("PUT", "COPY", "POST", "LIST")) + RESULT_OBJECTS * len(queries)
    reads = s3.get("GET", 0) + s3.get("HEAD", 0)
    logs = day["log_bytes"] + len(invocations) * LOG_FRAME_BYTES
    glue = day["glue"] + ticks["glue"]
    used = gb_seconds(invocations)
    charged = sum(max(LEAST_BYTES, scanned) for scanned in queries)
    out = day["worker_bytes"] + ticks["worker_bytes"]
    return [
        Line("requests to the sources", day["pages"], "", 0),
        Line("Lambda: invocations", len(invocations), "", len(invocations) * LAMBDA_REQUEST),
        Line("Lambda: duration", used, "GB-seconds", used * LAMBDA_GB_SECOND),
        Line("S3: PUT, COPY, POST, LIST", writes, "", writes * S3_WRITE),
        Line("S3: GET, HEAD", reads, "", reads * S3_READ),
        Line("S3: DELETE", s3.get("DELETE", 0), "", 0),
        Line("S3: bytes written", day["written_bytes"] / 1e6, "MB", 0),
        Line("data transfer out, to the worker", out / 1e6, "MB", out / GB * TRANSFER_OUT_GB),
        Line("SQS: requests", ticks["sqs"], "", ticks["sqs"] * SQS_REQUEST),
        Line("Glue: requests", glue, "", glue * GLUE_REQUEST),
        Line("Athena: queries that scan", len(queries), "", 0),
        Line("Athena: scanned", sum(queries) / 1e6, "MB", 0),
        Line("Athena: charged", charged / 1e6, "MB", sum(map(cost, queries))),
        Line("CloudWatch: logs of functions", logs / 1e3, "kB", logs / GB * LOGS_GB),
        Line("CloudWatch: logs of `ops.watch`", ticks["log_bytes"] / 1e3, "kB", ticks["log_bytes"] / GB * LOGS_GB),
    ]


def every_day(counted: Mapping[str, Any]) -> dict[str, Any]:
    """What happens every day, whatever changes: the ticks, and the looks of `ops.watch`."""
    ticks, watch = counted["ticks"], counted["watch"]
    return {
        **ticks,
        "s3": dict(Counter(ticks["s3"]) + Counter(watch["s3"])),
        "worker_bytes": ticks["worker_bytes"] + watch["worker_bytes"],
        "log_bytes": _watch_log(watch),
    }


def day_of(counted: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A day, with what a look needs to read what it recorded."""
    day, news = counted["days"][name], counted["watch"]["news"] if name == "changed" else {}
    return {**day, "s3": dict(Counter(day["s3"]) + Counter(news))}


def watch_requests_usd(watch: Mapping[str, Any]) -> float:
    """The requests of a month of looks."""
    writes = sum(watch["s3"].get(name, 0) for name in ("PUT", "COPY", "POST", "LIST"))
    reads = sum(watch["s3"].get(name, 0) for name in ("GET", "HEAD"))
    return float(DAYS * (writes * S3_WRITE + reads * S3_READ))


def watch_usd(watch: Mapping[str, Any]) -> float:
    """A month of looks: requests, what they transfer to a worker outside AWS, and logs."""
    moved = watch["worker_bytes"] / GB * TRANSFER_OUT_GB + _watch_log(watch) / GB * LOGS_GB
    return float(watch_requests_usd(watch) + DAYS * moved)


def _watch_log(watch: Mapping[str, Any]) -> int:
    return int(watch["log_bytes"] + watch["log_lines"] * TASK_LINE_BYTES + watch["looks"] * TASK_FRAME_BYTES)


def storage_usd(counted: Mapping[str, Any]) -> float:
    """A month of storage if everything changed on each of the days that are kept."""
    stored = counted["stored_bytes"] + counted["added_bytes"] * KEPT_DAYS
    return float(stored / GB * S3_GB_MONTH)


def render(counted: Mapping[str, Any]) -> str:
    """The section of docs/aws.md between its two marks."""
    days = {name: lines(day_of(counted, name), every_day(counted)) for name in counted["days"]}
    shown = [f"| a day on which | {' | '.join(f'{NAMES[name]} | USD' for name in days)} |"]
    shown.append("| --- |" + " ---: | ---: |" * len(days))
    for row in zip(*days.values(), strict=True):
        cells = " | ".join(f"{_amount(line.amount)} {line.unit}".strip() + f" | {_usd(line.usd)}" for line in row)
        shown.append(f"| {row[0].what} | {cells} |")
    totals = {name: sum(line.usd for line in found) for name, found in days.items()}
    shown.append("| **total** | " + " | ".join(f"| **{total:.4f}**" for total in totals.values()) + " |")
    kept = storage_usd(counted)
    months = {name: total * DAYS + kept for name, total in totals.items()}
    run, tables = counted["measured"], ", ".join(f"{n} {rows:,}" for n, rows in sorted(counted["rows"].items()))
    budgets = ", ".join(f"{env} {profile.budget_usd:.2f} USD" for env, profile in PROFILES.items())
    return "\n".join(
        [
            BEGIN,
            f"Counted on {run['date']} ({run['machine']}, Python {run['python']}); list prices of {REGION} as of {AS_OF}, no free tier.",
            "",
            *shown,
            "",
            f"Storage: {counted['stored_bytes'] / 1e6:.1f} MB, plus {counted['added_bytes'] / 1e6:.1f} MB for each day on which "
            f"everything changed, kept for {KEPT_DAYS} days: {kept:.3f} USD a month.",
            "",
            f"**{months['quiet']:.2f} USD a month if nothing changes, {months['changed']:.2f} USD if everything changes every day**, "
            f"storage included. The budgets, without hosting: {budgets}.",
            "",
            _watch(counted["watch"]),
            "",
            f"Rows of the tables in this run: {tables}. Highest memory use of a function: {_fullest(counted)}.",
            END,
        ]
    )


def _watch(watch: Mapping[str, Any]) -> str:
    s3 = ", ".join(f"{count / watch['looks']:.2f} {name}" for name, count in watch["s3"].items())
    kilobytes = (watch["worker_bytes"] / watch["looks"] / 1e3, _watch_log(watch) / watch["looks"] / 1e3)
    return (
        f"`ops.watch`, in these figures: {watch['looks']} looks a day of {s3} each, which cost **{watch_requests_usd(watch):.3f} USD a month** of the "
        f"{WATCH_USD:.2f} that they may; with what they transfer ({kilobytes[0]:.0f} kB each) and log ({kilobytes[1]:.1f} kB) {watch_usd(watch):.3f}."
    )


def _fullest(counted: Mapping[str, Any]) -> str:
    used = [each for day in counted["days"].values() for each in day["invocations"] if "peak_mb" in each]
    if not used:
        return "unknown (no /proc on this system)"
    most = max(used, key=lambda each: each["peak_mb"] / each["memory_mb"])
    return f"{most['peak_mb']:.0f} of {most['memory_mb']} MB ({most['asset']})"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or value >= 100 else f"{value:.2f}"


def _usd(value: float) -> str:
    return f"{value:.5f}" if value else ""
