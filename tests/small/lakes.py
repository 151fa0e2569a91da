"""Reading, restoring and comparing whole lakes, and recording tables in them that no run has made.

A lake is a folder, or a bucket of this process's moto.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalunya.assets.record.ledger import Entry, Stored
from catalunya.assets.record.project import Project
from small import aws

_OF_THE_RUN = ("run_id", "correlation_id", "started_at", "seconds", "batch", "requests", "traffic", "reason")


def contents(lake: str | Path) -> dict[str, bytes]:
    """Path -> bytes of every object, sorted by path. In a folder, without what a write that was killed left beside it (`file#1`)."""
    if str(lake).startswith("s3://"):
        return aws.contents(str(lake))
    root = Path(lake)
    files = sorted((p.relative_to(root).as_posix(), p) for p in root.rglob("*") if p.is_file() and "#" not in p.name)
    return {name: path.read_bytes() for name, path in files}


def restore(lake: str | Path, before: dict[str, bytes]) -> None:
    """Bring the lake back to earlier `contents`."""
    if str(lake).startswith("s3://"):
        return aws.restore(str(lake), before)
    shutil.rmtree(lake)
    for name, body in before.items():
        path = Path(lake, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return None


def picture(lake: str | Path) -> dict[str, Any]:
    """Path -> hash of every object and, for ledger entries, their fields without times and run ids: equal for equal lakes."""
    found: dict[str, Any] = {}
    for name, body in contents(lake).items():
        if name.startswith("_leases/"):
            continue
        if name.startswith("_ledger/") and name.endswith(".json"):
            entry = {k: v for k, v in json.loads(body).items() if k not in _OF_THE_RUN}
            for stored in entry["objects"]:
                stored["path"] = "/".join(p for p in stored["path"].split("/") if not p.startswith("ingested_"))
            found[name] = entry
        else:
            found[name] = hashlib.sha256(body).hexdigest()
    return found


def record(project: Project, key: str, objects: Iterable[Stored]) -> None:
    """Record a first materialization of an asset with these objects, on 2026-08-03, without making it."""
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
