"""Ours: the register from the portal to its checked, published staging table, by `materialize`. Prints one JSON line.

`bench/run.py` runs it in a separate process, to measure its peak memory.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import structlog

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings

LANDING = ("landing.municipalities", "landing.social_services")
STAGING = ("staging.municipalities", "staging.social_services")


def main() -> None:
    url, folder = sys.argv[1], Path(sys.argv[2])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    project = Project(load_settings(lake=str(folder / "lake"), mock_url=url), list(declarations().values()))
    materialize(project, LANDING[0])
    materialize(project, STAGING[0])
    seconds = {}
    for key in ("landing.social_services", "staging.social_services"):
        started = time.perf_counter()
        materialize(project, key)
        seconds[key] = time.perf_counter() - started
    landed, staged = (project.ledger.latest(key) for key in ("landing.social_services", "staging.social_services"))
    assert landed
    assert staged
    started = time.perf_counter()
    outcomes = [materialize(project, asset.key).status for asset in project.graph if asset.key in (*LANDING, *STAGING)]
    tick = time.perf_counter() - started
    assert set(outcomes) == {"skipped"}
    print(
        json.dumps(
            {
                "landing": seconds["landing.social_services"],
                "staging": seconds["staging.social_services"],
                "bytes": landed.bytes,
                "rows": staged.rows,
                "quarantined": staged.quarantined,
                "tick": tick,
            }
        )
    )


if __name__ == "__main__":
    main()
