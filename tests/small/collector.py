"""A backend of OpenTelemetry on a free port: takes spans and metrics by OTLP over HTTP, and shows the metrics to Prometheus.

Prometheus 3 takes OTLP itself; the one that Debian has does not. So `GET /metrics` gives what was received as text, under the names that
OpenTelemetry's own exporter for Prometheus translates them to, which are those of Prometheus's receiver.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
from opentelemetry.sdk.metrics import export
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, generate_latest

from catalunya.ops.mock.exchange import Answer
from small.http_server import Asked, Server

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True)
class Received:
    """One span as it arrived; ids in hexadecimal."""

    name: str
    trace: str
    id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any]
    error: str
    started_at: datetime
    ended_at: datetime

    @property
    def asset(self) -> str:
        return str(self.attributes["asset"])


@dataclass
class Collector:
    """What was received. `answer` is what it answers instead of taking anything."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    metrics: list[tuple[dict[str, Any], list[MetricMessage]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    answer: Answer | None = None

    def reply(self, asked: Asked) -> Answer:
        """Take what was sent, or show the metrics."""
        if asked.method == "GET":
            return Answer(self.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})
        self.asked.append(asked)
        if self.answer:
            return self.answer
        body = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
        if asked.path.endswith("/v1/traces"):
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [_received(span) for scope in of.scope_spans for span in scope.spans]
        elif asked.path.endswith("/v1/metrics"):
            for each in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                found = [metric for scope in each.scope_metrics for metric in scope.metrics]
                self.metrics.append((plain(each.resource.attributes), found))
        else:
            return Answer(b"", 404)
        return Answer(b"", headers=PROTOBUF)

    def span(self, asset: str) -> Received:
        """The only span of an asset."""
        (found,) = [span for span in self.spans if span.asset == asset]
        return found

    def values(self, name: str, **labels: Any) -> list[float]:
        """The values of a metric with these attributes, as they arrived; of a distribution the counts."""
        found = []
        for _, metrics in self.metrics:
            for metric in metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points if metric.name == name else ():
                    if labels.items() <= plain(point.attributes).items():
                        kind = point.WhichOneof("value") if hasattr(point, "as_int") else "count"
                        found.append(getattr(point, kind))
        return found

    def exposition(self) -> bytes:
        """The last value of each series, in Prometheus's text format."""
        series: dict[tuple[str, str], tuple[MetricMessage, Any]] = {}
        for _, metrics in self.metrics:
            for metric in metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    series[metric.name, str(sorted(plain(point.attributes).items()))] = (metric, point)
        by_name: dict[str, tuple[MetricMessage, list[Any]]] = {}
        for metric, point in series.values():
            by_name.setdefault(metric.name, (metric, []))[1].append(point)
        registry = CollectorRegistry()
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
        reader._collector._callback = None  # it would ask a provider for its metrics: here they are given to it
        scope = export.ScopeMetrics(InstrumentationScope("pipeline"), [_metric(*each) for each in by_name.values()], "")
        reader._collector.add_metrics_data(export.MetricsData([export.ResourceMetrics(Resource({}), [scope], "")]))
        return generate_latest(registry)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for as long as the block runs."""
    collector = Collector()
    with Server(collector.reply).running() as server:
        collector.url = server.url
        yield collector


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _received(span: Any) -> Received:
    return Received(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        attributes=plain(span.attributes),
        error=span.status.message,
        started_at=datetime.fromtimestamp(span.start_time_unix_nano / 1e9, UTC),
        ended_at=datetime.fromtimestamp(span.end_time_unix_nano / 1e9, UTC),
    )


def _metric(metric: MetricMessage, points: list[Any]) -> export.Metric:
    data: Any
    if metric.WhichOneof("data") == "histogram":
        converted = [
            export.HistogramDataPoint(
                plain(point.attributes), 0, point.time_unix_nano, point.count, point.sum, list(point.bucket_counts),
                list(point.explicit_bounds), 0.0, 0.0,
            )
            for point in points
        ]  # fmt: skip
        data = export.Histogram(converted, export.AggregationTemporality.CUMULATIVE)
    else:
        numbers = [
            export.NumberDataPoint(
                plain(point.attributes), 0, point.time_unix_nano, getattr(point, point.WhichOneof("value"))
            )
            for point in points
        ]
        if metric.WhichOneof("data") == "sum":
            data = export.Sum(numbers, export.AggregationTemporality.CUMULATIVE, is_monotonic=metric.sum.is_monotonic)
        else:
            data = export.Gauge(numbers)
    return export.Metric(metric.name, metric.description, metric.unit, data)
