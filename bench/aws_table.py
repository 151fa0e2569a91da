"""From counts to money: what a day cost by what was counted in it, as lines, and as the table of docs/aws.md.

Here: arithmetic only. Not here: counting (`aws_costs.py`), prices (`aws_prices.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_prices as price

from catalunya.io.warehouse.athena import LEAST_BYTES, cost

GB = 10**9
BEGIN, END = "<!-- counted by bench/aws_costs.py -->", "<!-- end of what was counted -->"
NAMES = {"changed": "everything changed", "quiet": "nothing changed"}


@dataclass(frozen=True)
class Line:
    """One kind of use on one day: how much in `unit`, and the USD it costs."""

    what: str
    amount: float
    unit: str
    usd: float


def seconds(invocation: Mapping[str, Any]) -> float:
    """How long one invocation is charged for: its processor's time, and its waits, one after another, by the millisecond."""
    waits = invocation["pages"] * price.SOURCE_WAIT_S + invocation["aws_requests"] * price.AWS_WAIT_S
    return math.ceil((invocation["init_s"] + invocation["run_s"] + waits) * 1000) / 1000


def gb_seconds(invocations: Sequence[Mapping[str, Any]]) -> float:
    """Memory times time of them all."""
    return sum(seconds(each) * each["memory_mb"] / 1024 for each in invocations)


def lines(day: Mapping[str, Any], ticks: Mapping[str, Any]) -> list[Line]:
    """What one day costs, by kind of use. `ticks`: what happens on every day, whatever changes."""
    s3 = {name: day["s3"].get(name, 0) + ticks["s3"].get(name, 0) for name in {*day["s3"], *ticks["s3"]}}
    queries, invocations = day["athena_scanned"], day["invocations"]
    writes = sum(s3.get(name, 0) for name in ("PUT", "COPY", "POST", "LIST")) + price.RESULT_OBJECTS * len(queries)
    reads = s3.get("GET", 0) + s3.get("HEAD", 0)
    logs = day["log_bytes"] + len(invocations) * price.LOG_FRAME_BYTES
    glue = day["glue"] + ticks["glue"]
    used = gb_seconds(invocations)
    charged = sum(max(LEAST_BYTES, scanned) for scanned in queries)
    out = day["worker_bytes"] + ticks["worker_bytes"]
    return [
        Line("requests to the sources", day["pages"], "", 0),
        Line("Lambda: invocations", len(invocations), "", len(invocations) * price.LAMBDA_REQUEST),
        Line("Lambda: time", used, "GB-seconds", used * price.LAMBDA_GB_SECOND),
        Line("S3: PUT, COPY, POST, LIST", writes, "", writes * price.S3_WRITE),
        Line("S3: GET, HEAD", reads, "", reads * price.S3_READ),
        Line("S3: DELETE", s3.get("DELETE", 0), "", 0),
        Line("S3: bytes written", day["written_bytes"] / 1e6, "MB", 0),
        Line("out of AWS, to the worker", out / 1e6, "MB", out / GB * price.TRANSFER_OUT_GB),
        Line("SQS: requests", ticks["sqs"], "", ticks["sqs"] * price.SQS_REQUEST),
        Line("Glue: requests", glue, "", glue * price.GLUE_REQUEST),
        Line("Athena: queries that scan", len(queries), "", 0),
        Line("Athena: scanned", sum(queries) / 1e6, "MB", 0),
        Line("Athena: charged for", charged / 1e6, "MB", sum(map(cost, queries))),
        Line("logs of functions", logs / 1e3, "kB", logs / GB * price.LOGS_GB),
    ]


def storage_usd(counted: Mapping[str, Any]) -> float:
    """A month of what is stored when everything changed on each of the days that are kept."""
    stored = counted["stored_bytes"] + counted["added_bytes"] * price.KEPT_DAYS
    return float(stored / GB * price.S3_GB_MONTH)


def render(counted: Mapping[str, Any]) -> str:
    """The part of docs/aws.md between its two marks."""
    days = {name: lines(day, counted["ticks"]) for name, day in counted["days"].items()}
    shown = [f"| a day on which | {' | '.join(f'{NAMES[name]} | USD' for name in days)} |"]
    shown.append("| --- |" + " ---: | ---: |" * len(days))
    for row in zip(*days.values(), strict=True):
        cells = " | ".join(f"{_amount(line.amount)} {line.unit}".strip() + f" | {_usd(line.usd)}" for line in row)
        shown.append(f"| {row[0].what} | {cells} |")
    totals = {name: sum(line.usd for line in found) for name, found in days.items()}
    shown.append("| **a day** | " + " | ".join(f"| **{total:.4f}**" for total in totals.values()) + " |")
    kept = storage_usd(counted)
    months = {name: total * price.DAYS + kept for name, total in totals.items()}
    where, tables = counted["measured"], ", ".join(f"{n} {rows:,}" for n, rows in sorted(counted["rows"].items()))
    usually = f"{months['quiet']:.2f} USD a month of days on which nothing changed"
    return "\n".join(
        [
            BEGIN,
            f"Counted on {where['date']} ({where['machine']}, Python {where['python']}); list prices of {price.REGION} as of {price.AS_OF}, "
            "no free tier.",
            "",
            *shown,
            "",
            f"Stored: {counted['stored_bytes'] / 1e6:.1f} MB, and {counted['added_bytes'] / 1e6:.1f} MB more with each day on which "
            f"everything changed, kept for {price.KEPT_DAYS} days: {kept:.3f} USD a month.",
            "",
            f"**{usually}, {months['changed']:.2f} USD if everything changed on each day**, storage included. The budget, without hosting: "
            + ", ".join(f"{env} {usd:.2f} USD" for env, usd in price.BUDGET.items())
            + ".",
            "",
            f"Rows of the tables in that run: {tables}. The most memory that a function took of what it has: {_fullest(counted)}.",
            END,
        ]
    )


def _fullest(counted: Mapping[str, Any]) -> str:
    used = [each for day in counted["days"].values() for each in day["invocations"] if "peak_mb" in each]
    if not used:
        return "not known where there is no /proc"
    most = max(used, key=lambda each: each["peak_mb"] / each["memory_mb"])
    return f"{most['peak_mb']:.0f} of {most['memory_mb']} MB ({most['asset']})"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or value >= 100 else f"{value:.2f}"


def _usd(value: float) -> str:
    return f"{value:.5f}" if value else ""
