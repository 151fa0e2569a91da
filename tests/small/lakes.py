"""Comparing lakes: what two of them have in common once names that carry a time or a run are set aside."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_OF_THE_RUN = ("run_id", "correlation_id", "started_at", "seconds", "batch", "requests", "reason")


def picture(lake: str | Path) -> dict[str, Any]:
    """Path -> content hash of every table and quarantine object, and the ledger's entries without times and run ids."""
    root = Path(lake)
    found: dict[str, Any] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if name.startswith("_leases/"):
            continue
        if name.startswith("_ledger/") and name.endswith(".json"):
            entry = {k: v for k, v in json.loads(path.read_bytes()).items() if k not in _OF_THE_RUN}
            for stored in entry["objects"]:
                stored["path"] = "/".join(p for p in stored["path"].split("/") if not p.startswith("ingested_"))
            found[name] = entry
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
