"""A source of very many small rows, from its portal to its checked, published table: is memory flat, and is time linear?

`python bench/large.py serve ROWS` serves the source, each page worked out when it is asked for, and prints its address; `make URL FOLDER` lands
and stages it with a lake in the folder, and prints one JSON line. `figures ROWS…` runs both for each number of rows, in processes of their own:
seconds, CPU seconds and peak memory of `make`, and the most that the lake had on disk. `shuffled` as the first word after `serve` or
`figures` gives rows that are not in the order of the key.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import structlog
from figures import Figure, peak

from catalunya.assets.graph.spec import Landing, staging
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.sources.socrata import Socrata
from catalunya.ops.mock.tables import ROW, Dataset

ID = "larg-erow"
PLACES = 947
_FIELDS = ("id", "place", "persons")


class RawLarge(LandingContract):
    """The source as its portal publishes it."""

    id: str = raw("Number", required=True)
    place: str = raw("Code of the place", required=True)
    persons: str = raw("Persons")


class Large(Contract):
    """One row per number."""

    number_id: str = column("Number", source=RawLarge.id, key=True)
    place_id: str = column("Code of the place", source=RawLarge.place)
    persons: int = column("Persons", source=RawLarge.persons, nullable=True, ge=0)


landing = Landing(
    "large",
    source=Socrata(ID, key=("id",), portal="https://data.example.org"),
    contract=RawLarge,
    schedule="0 5 * * *",
)


@staging(landing, contract=Large)
def large(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Nothing to add."""
    return rows


class Numbers:
    """Rows that are functions of their position. Of a thousand, one is there twice. `shuffled`: the key does not ascend."""

    def __init__(self, count: int, *, shuffled: bool = False) -> None:
        self.count, self.shuffled = count, shuffled

    def total(self, _version: int) -> int:
        return self.count

    def at(self, _version: int, positions: pl.Series) -> pl.LazyFrame:
        return self._rows(positions).lazy()

    def system_fields(self, _version: int) -> Collection[str]:
        return ()

    def complete(self) -> Collection[str]:
        return _FIELDS

    def rendered(self, _version: int, positions: pl.Series) -> pl.Series | None:
        parts = [
            pl.lit('{"id":"'),
            "id",
            pl.lit('","place":"'),
            "place",
            pl.lit('","persons":"'),
            "persons",
            pl.lit('"}'),
        ]
        return self._rows(positions).select(pl.concat_str(parts)).to_series()

    def _rows(self, positions: pl.Series) -> pl.DataFrame:
        number = pl.col(ROW) - (pl.col(ROW) % 1000 == 500).cast(pl.UInt64)
        key = number * 7_919 % 999_999_937 if self.shuffled else number
        return (
            positions.alias(ROW)
            .to_frame()
            .select(
                id=key.cast(pl.String).str.zfill(9),
                place=(number % PLACES).cast(pl.String).str.zfill(5),
                persons=(number % 1013).cast(pl.String),
                **{ROW: ROW},
            )
        )


def dataset(count: int, *, shuffled: bool = False) -> Dataset:
    columns = [
        {"id": n, "name": name, "fieldName": name, "dataTypeName": "text", "position": n}
        for n, name in enumerate(_FIELDS, start=1)
    ]
    view = {"id": ID, "name": "Large", "rowsUpdatedAt": 1_780_000_000, "columns": columns}
    return Dataset(view=view, rows=Numbers(count, shuffled=shuffled), key=("id",))


def serve(count: int, *, shuffled: bool) -> None:
    from catalunya.ops.mock import serve as served

    with served(datasets=[dataset(count, shuffled=shuffled)]) as mock:
        print(mock.url, flush=True)
        sys.stdin.readline()


def make(url: str, folder: Path) -> dict[str, Any]:
    from catalunya.assets.making.materialize import materialize
    from catalunya.assets.record.project import Project
    from catalunya.io.environment import load_settings

    settings = load_settings(
        lake=str(folder / "lake"), mock_url=url, http_requests_per_second=1000, http_deadline_s=36_000, scratch=folder
    )
    project = Project(settings, [landing, large])
    figures: dict[str, Any] = {}
    for key in ("landing.large", "staging.large"):
        began, cpu = time.perf_counter(), time.process_time()
        entry = materialize(project, key).entry
        assert entry
        layer = key.partition(".")[0]
        figures |= {
            layer: time.perf_counter() - began,
            f"{layer}_cpu": time.process_time() - cpu,
            f"{layer}_bytes": entry.bytes,
            f"{layer}_peak": peak(),
            "rows": entry.rows,
            "duplicates": entry.duplicates,
        }
    return figures


def measured(sizes: Collection[int], *, shuffled: bool, work: Path) -> Iterator[dict[str, Any]]:
    """Of each size: what `make` prints, and the most that the lake and the scratch files had on disk, in MB."""
    more = ["shuffled"] if shuffled else []
    for rows in sizes:
        folder = work / str(rows)
        folder.mkdir()
        command = [sys.executable, __file__]
        serving = subprocess.Popen(
            [*command, "serve", *more, str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert serving.stdin
        assert serving.stdout
        making = subprocess.Popen(
            [*command, "make", serving.stdout.readline().strip(), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert making.stdout
        most = 0.0
        while making.poll() is None:
            most = max(most, _megabytes(folder))
            time.sleep(1)
        serving.communicate("\n")
        if making.returncode:
            raise SystemExit(f"error: {rows} rows: exited with status {making.returncode}")
        yield {"size": rows, "disk": most} | json.loads(making.stdout.read().splitlines()[-1])
        shutil.rmtree(folder)


def _megabytes(folder: Path) -> float:
    found = 0
    for parent, _, names in os.walk(folder):  # a folder that was deleted since it was listed has none
        for name in names:
            with suppress(FileNotFoundError):
                found += Path(parent, name).stat().st_size
    return found / 1e6


def figures(work: Path, _repeat: int) -> Iterator[Figure]:
    """One turn: memory at ten million rows beside that at one million, and the seconds of one million rows more."""
    one, ten = measured((1_000_000, 10_000_000), shuffled=False, work=work)
    peaks = {"1,000,000 rows": one["staging_peak"]}
    limit = {"1,000,000 rows": 1.2}
    yield Figure("peak memory, 10,000,000 small rows", ten["staging_peak"], "MB", None, peaks, limit)
    for layer in ("landing", "staging"):
        tenfold = {"ten times 1,000,000 rows": 10 * one[f"{layer}_cpu"]}
        name = f"{layer} in CPU, 10,000,000 small rows"
        yield Figure(name, ten[f"{layer}_cpu"], "s", None, tenfold, {"ten times 1,000,000 rows": 1.2})
    yield Figure(
        "on disk at most, 10,000,000 small rows", ten["disk"], "MB", ten["landing_bytes"] / 1e6, {}, {"floor": 2}
    )


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    name, *arguments = sys.argv[1:]
    shuffled = "shuffled" in arguments
    arguments = [each for each in arguments if each != "shuffled"]
    match name:
        case "serve":
            serve(int(arguments[0]), shuffled=shuffled)
        case "make":
            print(json.dumps(make(arguments[0], Path(arguments[1]))))
        case _:
            with tempfile.TemporaryDirectory(prefix="catalunya-large-") as work:
                for each in measured([int(rows) for rows in arguments], shuffled=shuffled, work=Path(work)):
                    print(
                        json.dumps({k: round(v, 2) if isinstance(v, float) else v for k, v in each.items()}), flush=True
                    )


if __name__ == "__main__":
    main()
