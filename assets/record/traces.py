"""Traces: one span for each ledger entry, with ids that follow from the entry.

The trace is the correlation id, so that landing, staging and marts are one trace, whichever processes and functions made them, and nothing is
passed between them. A span's id is that of the entry: sent twice, it is the same span. Its parent is the entry of an upstream version
that the table was made from, if of the same trace; the others are links. Here: from entries to spans. Not here: sending them
(`io/otlp.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from itertools import islice

from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.project import Project
from catalunya.io.errors import LedgerError
from catalunya.io.otlp_messages import Link, Span, Value
from catalunya.io.safe_text import safe_text

LOOK_BACK = 20
"""How many entries of an upstream are read at most to find the version that a table was made from: it is nearly always the newest."""
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


def trace_id(correlation_id: str) -> bytes:
    """The id of the trace of all entries with this correlation id."""
    return hashlib.sha256(correlation_id.encode()).digest()[:16]


def span_id(asset: str, sequence: int) -> bytes:
    """The id of the span of one ledger entry."""
    return hashlib.sha256(f"{asset}/{sequence}".encode()).digest()[:8]


def span_of(project: Project, entry: Entry) -> Span:
    """The span of an entry. Reads the newest entries of what it was made from; one that cannot be read is left out."""
    made_from = list(_made_from(project, entry))
    parent = next((up for up in made_from if up.correlation_id == entry.correlation_id), None)
    links = [_link(up) for up in made_from if up is not parent]
    return Span(
        name=f"materialize {entry.asset}",
        trace_id=trace_id(entry.correlation_id),
        span_id=span_id(entry.asset, entry.sequence),
        parent_id=span_id(parent.asset, parent.sequence) if parent else b"",
        started_at=entry.started_at,
        ended_at=entry.recorded_at,
        links=(*links, *_surroundings()),
        attributes=_attributes(entry),
        error=safe_text(entry.error or "failed") if entry.status == "failed" else "",
    )


def _made_from(project: Project, entry: Entry) -> Iterator[Entry]:
    """The upstream entries with the versions that it was made from, in the order of the declaration."""
    for up in project.graph[entry.asset].upstream:
        version = entry.versions.get(up)
        try:
            found = [each for each in islice(project.ledger.recent(up), LOOK_BACK) if each.data_version == version]
        except LedgerError:
            continue
        if version and found:
            # The same content may have been recorded more than once.
            yield next((each for each in found if each.correlation_id == entry.correlation_id), found[0])


def _link(entry: Entry) -> Link:
    return Link(
        trace_id=trace_id(entry.correlation_id),
        span_id=span_id(entry.asset, entry.sequence),
        attributes={"asset": entry.asset, "data_version": entry.data_version},
    )


def _attributes(entry: Entry) -> dict[str, Value]:
    """What the entry says, under the names that log lines have too."""
    found: dict[str, Value | None] = {
        "asset": entry.asset,
        "layer": entry.asset.partition(".")[0],
        "sequence": entry.sequence,
        "status": entry.status,
        "run_id": entry.run_id,
        "correlation_id": entry.correlation_id,
        "reason": entry.reason,
        "rows": entry.rows,
        "bytes": entry.bytes,
        "quarantined": entry.quarantined,
        "data_version": entry.data_version or None,
        "code_version": entry.code_version,
        "source_version": entry.source_version,
        "batch": entry.batch,
        "requests": entry.requests or None,
        "drift": entry.drift or None,
        "transient": entry.transient if entry.status == "failed" else None,
        "error.type": (entry.error or "").partition(":")[0] or None,
        **{f"version.{name}": version for name, version in entry.versions.items()},
    }
    return {
        name: safe_text(value) if isinstance(value, str) else value
        for name, value in found.items()
        if value is not None
    }


def _surroundings() -> Iterator[Link]:
    """The span in which this process works, if someone else traces it: Airflow its tasks, or the caller of a command. They have traces of
    their own, one for each DAG run, so they are linked."""
    api = sys.modules.get("opentelemetry.trace")  # no one has a span who has not imported it
    if api and (context := api.get_current_span().get_span_context()).is_valid:
        yield Link(
            trace_id=context.trace_id.to_bytes(16, "big"),
            span_id=context.span_id.to_bytes(8, "big"),
            attributes={"from": "current span"},
        )
    if found := _TRACEPARENT.fullmatch(os.environ.get("TRACEPARENT", "").strip()):
        yield Link(
            trace_id=bytes.fromhex(found[1]), span_id=bytes.fromhex(found[2]), attributes={"from": "TRACEPARENT"}
        )
