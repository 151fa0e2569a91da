"""One trivial asset made in process (gate, lease, contract, publish, ledger), beside reading, writing and renaming alone.

Prints one JSON line: the median seconds of 30 of each.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import structlog

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from small.shops import declare, some


def ours(folder: Path) -> float:
    """Seconds of making `staging.shops` anew from a batch of one page."""
    source, declared = declare(folder / "source")
    source.write(some(2))
    project = Project(load_settings(lake=str(folder / "lake")), declared)
    seconds = []
    for _ in range(31):
        materialize(project, "landing.shops", Request(force=True))
        started = time.perf_counter()
        materialize(project, "staging.shops", Request(force=True))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def floor(folder: Path) -> float:
    """Seconds of reading the same rows of JSON and writing them as Parquet beside, renamed into place."""
    page = folder / "page.json"
    page.write_text(json.dumps(some(2)))
    seconds = []
    for _ in range(31):
        started = time.perf_counter()
        pl.read_json(page).write_parquet(folder / "file.tmp")
        (folder / "file.tmp").rename(folder / "file.parquet")
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"ours": ours(Path(folder)), "floor": floor(Path(folder))}))


if __name__ == "__main__":
    main()
