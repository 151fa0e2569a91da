"""Metrics: what the ledger says about a table, and what one look of the watch found, as OpenTelemetry's metrics.

All of them are the state now, or running totals that the ledger keeps: none is counted in a process that ends. So it does not
matter how often they are sent, by whom, or whether one is lost, and any backend takes them, those too that add nothing up. Names and units:
docs/metrics.md. Here: the metrics, and their values. Not here: sending them (`io/otlp.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from catalunya.assets.record.ledger import Entry
from catalunya.io.otlp_messages import Attributes, DataPoint, Distribution, Metric, Value
from catalunya.io.sources.traffic import BOUNDS, Traffic

AGE = Metric("pipeline.asset.age", "s", "Time since the asset was last made, or found to be what its source has")
STALE = Metric("pipeline.asset.stale", "", "1 if what it is made from has changed since, or its code; else 0")
FAILED = Metric("pipeline.asset.failed", "", "1 if its last run failed, else 0")
ROWS = Metric("pipeline.asset.rows", "{row}", "Rows of the table")
SIZE = Metric("pipeline.asset.size", "By", "Bytes of the table as it is stored")
QUARANTINED = Metric("pipeline.asset.quarantined", "{row}", "Rows of the table's version that are in quarantine")
DURATION = Metric("pipeline.asset.run.duration", "s", "Time its last successful run took")
RUNS = Metric("pipeline.asset.runs", "{run}", "Runs that left a ledger entry: made, unchanged or failed", is_total=True)
REQUESTS = Metric("http.client.request.duration", "s", "Duration of requests to sources")
RETRIES = Metric("pipeline.source.retries", "{request}", "Requests to sources that were sent again", is_total=True)
FINDINGS = Metric("pipeline.findings", "{finding}", "Open findings of the watch")
LOOK = Metric(
    "pipeline.watch.duration", "s", "Time the last look of the watch took; silence means that it does not run"
)
WATCHED = Metric("pipeline.watch.assets", "{asset}", "Assets that the last look of the watch saw")
METRICS = (AGE, STALE, FAILED, ROWS, SIZE, QUARANTINED, DURATION, RUNS, REQUESTS, RETRIES, FINDINGS, LOOK, WATCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What is known of one asset: the entry that says what it is, its newest entry, and whether it is stale (None: not looked at)."""

    asset: str
    made: Entry | None
    last: Entry | None
    is_stale: bool | None = None


def of_table(table: Table, now: datetime) -> Iterator[DataPoint]:
    """The data points of one asset. Of one that was never made there is only whether it is stale."""
    labels: dict[str, Value] = {"asset": table.asset, "layer": table.asset.partition(".")[0]}
    if table.is_stale is not None:
        yield DataPoint(STALE, int(table.is_stale), labels)
    if made := table.made:
        yield DataPoint(AGE, max((now - made.recorded_at).total_seconds(), 0.0), labels)
        yield DataPoint(ROWS, made.rows, labels)
        yield DataPoint(SIZE, made.bytes, labels)
        yield DataPoint(QUARANTINED, made.quarantined, labels)
        yield DataPoint(DURATION, made.seconds, labels)
    if last := table.last:
        yield DataPoint(FAILED, int(last.status == "failed"), labels)
        yield DataPoint(RUNS, last.sequence, labels)
        for traffic in last.traffic:
            yield from _of_traffic(labels, traffic)


def of_look(
    tables: Iterable[Table], findings: Mapping[tuple[str, str], int], seconds: float, now: datetime
) -> Iterator[DataPoint]:
    """The data points of one look of the watch. `findings`: how many are open by kind and severity, zeros included, so that a backend sees
    that the last one closed."""
    watched = 0
    for table in tables:
        watched += 1
        yield from of_table(table, now)
    for (kind, severity), count in findings.items():
        yield DataPoint(FINDINGS, count, {"kind": kind, "severity": severity})
    yield DataPoint(WATCHED, watched)
    yield DataPoint(LOOK, seconds)


def _of_traffic(labels: Attributes, traffic: Traffic) -> Iterator[DataPoint]:
    to = {**labels, "server.address": traffic.host, "protocol": traffic.protocol, "http.request.method": traffic.method}
    if traffic.result.isdecimal():
        status = int(traffic.result)
        to |= {"http.response.status_code": status, **({"error.type": traffic.result} if status >= 400 else {})}
    else:
        to["error.type"] = traffic.result
    if len(traffic.buckets) == len(BOUNDS) + 1:
        yield DataPoint(REQUESTS, Distribution(bounds=BOUNDS, counts=traffic.buckets, sum=traffic.seconds), to)
    yield DataPoint(RETRIES, traffic.retries, to)
