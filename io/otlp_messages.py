"""Spans and metrics as plain data, and as the messages of OpenTelemetry's protocol.

The SDK is not used: it makes its own ids and start times, and here both follow from the ledger. Here: the data, and encoding them. Not here:
sending (`otlp.py`), what spans and metrics are made of (`assets/record/traces.py`, `assets/record/metrics.py`). The messages are imported when something is
encoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

Signal = Literal["traces", "metrics"]
Value = str | int | float | bool
Attributes = Mapping[str, Value]
SCOPE = "pipeline"
"""Who made them: the engine, whatever the project is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another span that one belongs to, beside its parent."""

    trace_id: bytes
    span_id: bytes
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step of a trace: 16 bytes name the trace, 8 the span and its parent. `error` is why it failed; empty if it did not."""

    name: str
    trace_id: bytes
    span_id: bytes
    started_at: datetime
    ended_at: datetime
    parent_id: bytes = b""
    links: tuple[Link, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many values are at most each of `bounds`, and more than the one before; the last count is of those above all bounds."""

    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name, unit (UCUM) and description. `is_total`: a running total, which only grows; a distribution always is one."""

    name: str
    unit: str
    description: str
    is_total: bool = False


@dataclass(frozen=True, slots=True)
class DataPoint:
    """One value of a metric."""

    metric: Metric
    value: float | Distribution
    attributes: Attributes = field(default_factory=dict)


def encoded_spans(resource: Attributes, spans: Iterable[Span]) -> bytes:
    """The body of a request for `/v1/traces`."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    of = request.resource_spans.add()
    of.resource.attributes.extend(_pairs(_resource(resource)))
    scope = of.scope_spans.add()
    scope.scope.name = SCOPE
    scope.spans.extend(map(_span, spans))
    return bytes(request.SerializeToString())


def encoded_metrics(resource: Attributes, points: Iterable[DataPoint], at: datetime) -> bytes:
    """The body of a request for `/v1/metrics`: what the values are at that time."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    of = request.resource_metrics.add()
    of.resource.attributes.extend(_pairs(_resource(resource)))
    scope = of.scope_metrics.add()
    scope.scope.name = SCOPE
    by_metric = sorted(points, key=lambda each: each.metric.name)
    scope.metrics.extend(
        _metric(metric, list(found), at) for metric, found in groupby(by_metric, lambda each: each.metric)
    )
    return bytes(request.SerializeToString())


def rejected(signal: Signal, answer: bytes) -> str:
    """What a backend says about the part that it did not take; empty if it took all of it, or answers something else."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if signal == "traces":
            spans = ExportTraceServiceResponse.FromString(answer).partial_success
            return f"it rejected {spans.rejected_spans} spans: {spans.error_message}" if spans.rejected_spans else ""
        points = ExportMetricsServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return ""
    rejected_points = points.rejected_data_points
    return f"it rejected {rejected_points} data points: {points.error_message}" if rejected_points else ""


def _span(span: Span) -> SpanMessage:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
    from opentelemetry.proto.trace.v1.trace_pb2 import Status

    failed = Status(code=Status.STATUS_CODE_ERROR, message=span.error) if span.error else None
    return Message(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        name=span.name,
        kind=Message.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nanoseconds(span.started_at),
        end_time_unix_nano=_nanoseconds(span.ended_at),
        attributes=_pairs(span.attributes),
        links=[
            Message.Link(trace_id=link.trace_id, span_id=link.span_id, attributes=_pairs(link.attributes))
            for link in span.links
        ],
        status=failed,
    )


def _metric(metric: Metric, points: Sequence[DataPoint], at: datetime) -> MetricMessage:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import (
        AGGREGATION_TEMPORALITY_CUMULATIVE,
        HistogramDataPoint,
        NumberDataPoint,
    )
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as Message

    message = Message(name=metric.name, unit=metric.unit, description=metric.description)
    now = _nanoseconds(at)
    for each in points:
        value, attributes = each.value, _pairs(each.attributes)
        if isinstance(value, Distribution):
            message.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            point = HistogramDataPoint(
                attributes=attributes,
                time_unix_nano=now,
                count=sum(value.counts),
                sum=value.sum,
                bucket_counts=value.counts,
                explicit_bounds=value.bounds,
            )
            message.histogram.data_points.append(point)
            continue
        kind = "as_int" if isinstance(value, int) else "as_double"
        number = NumberDataPoint(attributes=attributes, time_unix_nano=now, **{kind: value})
        if metric.is_total:
            message.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            message.sum.is_monotonic = True
            message.sum.data_points.append(number)
        else:
            message.gauge.data_points.append(number)
    return message


def _pairs(attributes: Attributes) -> list[KeyValue]:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    return [KeyValue(key=key, value=AnyValue(**{kinds[type(value)]: value})) for key, value in attributes.items()]


def _resource(given: Attributes) -> dict[str, Value]:
    """Who reports: what is given, under the names of the standard, whose variables win."""
    pairs = (pair.partition("=") for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    named = {name.strip(): unquote(value.strip()) for name, equals, value in pairs if equals}
    service = os.environ.get("OTEL_SERVICE_NAME", "").strip()
    return {**given, **named, **({"service.name": service} if service else {})}


def _nanoseconds(at: datetime) -> int:
    """Since 1970, exact to the microsecond, as a float is not."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
