"""Small figures against their floors: `python bench/micro.py cells`, `trivial`, or `parsing N`. Prints one JSON line of seconds.

- cells: a page of 20,000 JSON-stat cells to a frame of text; floor: decoding the same bytes as JSON.
- trivial: one trivial asset in process (gate, lease, contract, publish, ledger); floor: reading, writing and renaming its rows.
- parsing: N assets from the compiled graph to DAGs, as the DAG file does; floor: a loop of N one-task DAGs. Without Airflow's import.

Each runs in a separate process.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, run

if TYPE_CHECKING:
    from catalunya.assets.graph.spec import Asset

TIMES, MUNICIPALITIES, SEXES = 7, 949, 3
CELLS = TIMES * MUNICIPALITIES * SEXES


def figures(work: Path, repeat: int) -> Iterator[Figure]:  # noqa: ARG001 - like all subjects
    """A page of cells, a trivial asset, and the parsing of DAGs."""
    found = run("micro.py", "cells").answer
    yield Figure(f"read a page of {CELLS:,} JSON-stat cells", found["ours"] * 1000, "ms", found["floor"] * 1000)
    found = run("micro.py", "trivial").answer
    yield Figure("one trivial asset, in process", found["ours"] * 1000, "ms", found["floor"] * 1000, {}, {"most": 10})
    for assets in (100, 1000):
        turns = [run("micro.py", "parsing", assets).answer for _ in range(repeat)]
        ours, floor = (min(turn[side] for turn in turns) for side in ("ours", "floor"))
        yield Figure(f"parse {assets:,} assets to DAGs", ours, "s", floor, {}, {"most": 1.5} if assets == 1000 else {})


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


def parsing(count: int, cache: Path) -> dict[str, float]:
    """One turn of each: a process parses once."""
    os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
    from airflow.sdk import DAG, Asset, BaseOperator

    from catalunya.assets.graph.discovery import keep_graph, load_graph
    from catalunya.dags.build import build_dags
    from catalunya.io.environment import load_settings

    settings = load_settings(cache=cache)
    keep_graph(settings, _tables(count))
    started = time.perf_counter()
    for number in range(count):
        with DAG(f"dag_{number}", schedule=None):
            BaseOperator(task_id="task", outlets=[Asset(name=f"asset_{number}", uri=f"bare://assets/{number}")])
    floor = time.perf_counter() - started
    started = time.perf_counter()
    dags = build_dags(load_graph(settings), settings)
    ours = time.perf_counter() - started
    assert len(dags) > count, "a DAG for each asset, and those of operations"
    return {"ours": ours, "floor": floor}


def _tables(count: int) -> list[Asset]:
    """A graph of `count` assets: a third landing, a third staging that read one of those, a third marts that read two of those."""
    from catalunya.assets.graph.spec import Asset
    from catalunya.contracts.model.columns import Column

    columns = tuple(Column(f"column_{n}", "string", f"Column number {n}", nullable=True) for n in range(12))

    def table(key: str, *upstream: str, schedule: str | None = None) -> Asset:
        return Asset(key=key, description=key, columns=columns, code_version="1", upstream=upstream, schedule=schedule)

    third = max(1, count // 3)
    made = [table(f"landing.t{n}", schedule="0 5 * * *") for n in range(third)]
    made += [table(f"staging.t{n}", f"landing.t{n}") for n in range(third)]
    marts = range(count - len(made))
    return made + [table(f"marts.fact_t{n}", f"staging.t{n % third}", f"staging.t{(n + 1) % third}") for n in marts]


def main() -> None:
    name, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        match name:
            case "cells":
                figures = cells()
            case "trivial":
                figures = trivial(Path(folder))
            case _:
                figures = parsing(int(arguments[0]), Path(folder))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
