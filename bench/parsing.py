"""N assets parsed to DAGs, as the DAG file does it from the compiled graph, beside a bare loop of N one-task DAGs.

Prints one JSON line of seconds, Airflow's own import left out of both. Run by `bench/run.py` in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")

from airflow.sdk import DAG, Asset, BaseOperator

from catalunya.assets.graph.discovery import keep_graph, load_graph
from catalunya.assets.graph.spec import Asset as Table
from catalunya.contracts.model.columns import Column
from catalunya.dags.backup import BACKUP
from catalunya.dags.build import RECONCILE, RETENTION, build_dags
from catalunya.io.environment import load_settings

COLUMNS = tuple(Column(f"column_{n}", "string", f"The column number {n}", nullable=True) for n in range(12))


def tables(count: int) -> list[Table]:
    """A graph of `count` assets: a third landing, a third staging that reads it, a third marts that read two of those."""
    third = max(1, count // 3)
    made = [_table(f"landing.t{n}", schedule="0 5 * * *") for n in range(third)]
    made += [_table(f"staging.t{n}", f"landing.t{n}") for n in range(third)]
    marts = range(count - len(made))
    return made + [_table(f"marts.fact_t{n}", f"staging.t{n % third}", f"staging.t{(n + 1) % third}") for n in marts]


def _table(key: str, *upstream: str, schedule: str | None = None) -> Table:
    return Table(key=key, description=key, columns=COLUMNS, code_version="1", upstream=upstream, schedule=schedule)


def floor(count: int) -> float:
    """Seconds of a bare loop: one DAG, one task, one outlet each."""
    started = time.perf_counter()
    for number in range(count):
        with DAG(f"dag_{number}", schedule=None):
            BaseOperator(task_id="task", outlets=[Asset(name=f"asset_{number}", uri=f"bare://assets/{number}")])
    return time.perf_counter() - started


def ours(count: int, cache: Path) -> float:
    """Seconds of reading the compiled graph and building its DAGs."""
    settings = load_settings(cache=cache)
    keep_graph(settings, tables(count))
    started = time.perf_counter()
    dags = build_dags(load_graph(settings), settings)
    seconds = time.perf_counter() - started
    assert len(dags) == count + len((RECONCILE, RETENTION, BACKUP))
    return seconds


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"floor": floor(count), "ours": ours(count, Path(folder))}))


if __name__ == "__main__":
    main()
