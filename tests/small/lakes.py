"""Comparing lakes: what two of them have in common once names that carry a time or a run are set aside. Any lake will do:
a folder, or S3 of this process's moto.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from small import aws

_OF_THE_RUN = ("run_id", "correlation_id", "started_at", "seconds", "batch", "requests", "reason")


def contents(lake: str | Path) -> dict[str, bytes]:
    """Path -> bytes of every object, in order."""
    if str(lake).startswith("s3://"):
        return aws.contents(str(lake))
    root = Path(lake)
    files = sorted((p.relative_to(root).as_posix(), p) for p in root.rglob("*") if p.is_file())
    return {name: path.read_bytes() for name, path in files}


def restore(lake: str | Path, before: dict[str, bytes]) -> None:
    """Make the lake what it was when its `contents` were taken."""
    if str(lake).startswith("s3://"):
        return aws.restore(str(lake), before)
    shutil.rmtree(lake)
    for name, body in before.items():
        path = Path(lake, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return None


def picture(lake: str | Path) -> dict[str, Any]:
    """Path -> content hash of every table and quarantine object, and the ledger's entries without times and run ids."""
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
