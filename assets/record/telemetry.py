"""OpenTelemetry: a span and metrics of what was recorded, and metrics of what the watch saw. Off unless its variables say where to.

Here: what is sent when, and who the sender is. Not here: spans (`traces.py`), metrics (`metrics.py`), the wire (`io/otlp.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.metrics import Table, of_look, of_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.traces import span_of
from catalunya.io.environment import Settings
from catalunya.io.otlp import is_on, send
from catalunya.io.otlp_messages import Value, encoded_metrics, encoded_spans
from catalunya.io.project_folder import active


def report(project: Project, entry: Entry) -> None:
    """Send the span of an entry, and the metrics of its asset. Never raises."""
    now, made = datetime.now(UTC), entry if entry.is_made else None
    sender = resource(project.settings)
    send(
        [
            ("traces", lambda: encoded_spans(sender, [span_of(project, entry)])),
            (
                "metrics",
                lambda: encoded_metrics(sender, of_table(Table(asset=entry.asset, made=made, last=entry), now), now),
            ),
        ]
    )


def report_look(
    settings: Settings,
    tables: Iterable[Table],
    findings: Mapping[tuple[str, str], int],
    seconds: float,
    now: datetime | None = None,
) -> None:
    """Send the metrics of one look of the watch; `findings` as `of_look` takes them. Does nothing if metrics are off, and never raises."""
    if not is_on("metrics"):
        return
    at = now or datetime.now(UTC)
    send([("metrics", lambda: encoded_metrics(resource(settings), of_look(tables, findings, seconds, at), at))])


def resource(settings: Settings) -> dict[str, Value]:
    """Who reports: the pipeline of one environment, whichever of its processes sends it, so that a series continues from one process to the
    next."""
    return {
        "service.name": active().name,
        "service.instance.id": f"{settings.env}{settings.suffix}",
        "deployment.environment.name": str(settings.env),
    }
