"""Ledger entries of tables that no run has made: for tests of what reads the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from catalunya.assets.record.ledger import Entry, Stored
from catalunya.assets.record.project import Project


def record(project: Project, key: str, objects: Iterable[Stored]) -> None:
    """Record a first materialization of an asset that consists of these objects, at 2026-08-03."""
    asset = project.graph[key]
    project.ledger.append(
        Entry(
            asset=key,
            sequence=0,
            status="materialized",
            run_id="run",
            correlation_id="run",
            reason="MISSING",
            started_at=datetime(2026, 8, 3, tzinfo=UTC),
            seconds=1,
            code_version=asset.code_version,
            versions={},
            data_version="v1",
            objects=tuple(objects),
            columns={column.name: column.type for column in asset.columns},
        ),
        after=0,
    )
