"""Comparing lakes: what two of them have in common once names that carry a time or a run are set aside. Any lake will do:
a folder, or S3.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from catalunya.io.lake import Lake

_OF_THE_RUN = ("run_id", "correlation_id", "started_at", "seconds", "batch", "requests", "reason")


def contents(lake: str | Path) -> dict[str, bytes]:
    """Path -> bytes of every object, in order."""
    opened = Lake(str(lake))
    return {found.path: opened.get(found.path) for found in opened.objects("")}


def restore(lake: str | Path, before: dict[str, bytes]) -> None:
    """Make the lake what it was when its `contents` were taken."""
    opened = Lake(str(lake))
    now = contents(lake)
    opened.delete([path for path in now if path not in before])
    for path, body in before.items():
        if now.get(path) != body:
            opened.put(path, body)


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
