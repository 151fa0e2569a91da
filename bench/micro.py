"""Small figures against their floors: `python bench/micro.py cells` or `trivial`. Prints one JSON line of seconds.

- cells: a page of 20,000 JSON-stat cells to a frame of text; floor: decoding the same bytes as JSON.
- trivial: one trivial asset in process (gate, lease, contract, publish, ledger); floor: reading, writing and renaming its rows.

Each runs in a separate process.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Figure, run

TIMES, MUNICIPALITIES, SEXES = 7, 949, 3
CELLS = TIMES * MUNICIPALITIES * SEXES


def figures(work: Path, repeat: int) -> Iterator[Figure]:  # noqa: ARG001 - like all subjects
    """A page of cells, and a trivial asset."""
    found = run("micro.py", "cells").answer
    yield Figure(f"read a page of {CELLS:,} JSON-stat cells", found["ours"] * 1000, "ms", found["floor"] * 1000)
    found = run("micro.py", "trivial").answer
    yield Figure("one trivial asset, in process", found["ours"] * 1000, "ms", found["floor"] * 1000, {}, {"most": 10})


def timed(work: Callable[[], object], turns: int) -> list[float]:
    """The seconds of each turn."""
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def cells() -> dict[str, float]:
    """The fastest of 20 turns of each."""
    from catalunya.io.sources.jsonstat import read_cells

    body = _page()
    assert read_cells(body).height == CELLS
    ours, floor = min(timed(lambda: read_cells(body), 20)), min(timed(lambda: json.loads(body), 20))
    return {"ours": ours, "floor": floor, "cells": CELLS}


def _page() -> bytes:
    """Seven half-years of all municipalities by sex: the answer to one request of `population`. Every tenth cell is `..`."""
    sizes = {"SEMESTER": TIMES, "MUN": MUNICIPALITIES, "SEX": SEXES}
    document = {
        "class": "dataset",
        "href": "https://api.idescat.cat/taules/v2/ep/9122/10002/mun/data",
        "updated": "2026-04-30",
        "id": list(sizes),
        "size": list(sizes.values()),
        "role": {"time": ["SEMESTER"], "geo": ["MUN"]},
        "dimension": {n: {"category": {"index": [f"{i:06}" for i in range(size)]}} for n, size in sizes.items()},
        "value": [None if number % 10 == 0 else number for number in range(CELLS)],
        "status": {str(number): ".." for number in range(0, CELLS, 10)},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def trivial(folder: Path) -> dict[str, float]:
    """The median of 30 turns of each, after a first one; ours makes `staging.shops` from a batch of one page."""
    import polars as pl
    import structlog

    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from catalunya.assets.making.materialize import materialize
    from catalunya.assets.making.request import Request
    from catalunya.assets.record.project import Project
    from catalunya.io.environment import load_settings
    from small.shops import declare, some

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    source, declared = declare(folder / "source")
    source.write(some(2))
    project = Project(load_settings(lake=str(folder / "lake")), declared)
    page = folder / "page.json"
    page.write_text(json.dumps(some(2)), encoding="utf-8")

    def ours() -> Iterator[float]:
        for _ in range(31):
            materialize(project, "landing.shops", Request(force=True))
            yield from timed(lambda: materialize(project, "staging.shops", Request(force=True)), 1)

    def floor() -> None:
        pl.read_json(page).write_parquet(folder / "file.tmp")
        (folder / "file.tmp").rename(folder / "file.parquet")

    return {"ours": statistics.median([*ours()][1:]), "floor": statistics.median(timed(floor, 31)[1:])}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(cells() if sys.argv[1] == "cells" else trivial(Path(folder))))


if __name__ == "__main__":
    main()
