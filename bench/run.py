"""`make bench`: every figure against its floor, both measured on this machine in this run, as a ratio.

Each side runs in a separate process (with cold caches, and to measure peak memory), alternating, and the best of `--repeat` turns
counts. Prints a table and writes `bench/results/<time>.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


@dataclass
class Figure:
    """One measured figure: `value` in `unit`, its floor (if any) in the same unit, and the target."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    target: str = ""
    ok: bool | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None


def run(script: str, *args: object, env: dict[str, str] | None = None) -> tuple[dict[str, Any], float]:
    """Run a script in this folder. Returns its output (JSON), with the CPU seconds of its process as `cpu`, and its peak memory in MB."""
    command = [sys.executable, str(HERE / script), *map(str, args)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, encoding="utf-8"
    )
    assert process.stdout
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: {' '.join(command)} exited with status {os.waitstatus_to_exitcode(status)}")
    return {**json.loads(printed.splitlines()[-1]), "cpu": usage.ru_utime + usage.ru_stime}, usage.ru_maxrss / 1024


@contextmanager
def mock(rows: int) -> Iterator[str]:
    """The mock portal in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = f"from catalunya.ops.mock import run; run(port={port}, rows={rows})"
    with subprocess.Popen(
        [sys.executable, "-c", serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(200):
                try:
                    httpx.get(f"{url}/_mock/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield url
        finally:
            process.terminate()


def portal_to_staging(rows: int, repeat: int, work: Path) -> Iterator[Figure]:
    """The register from the portal to its checked, published table; the floor only fetches, parses and writes."""
    floors, ours, peaks = [], [], []
    with mock(rows) as url:
        for turn in range(repeat):
            floors.append(run("floor.py", url, rows, work / f"floor-{rows}-{turn}")[0])
            ours_now, peak = run("pipeline.py", url, work / f"ours-{rows}-{turn}")
            ours.append(ours_now)
            peaks.append(peak)
            shutil.rmtree(work / f"floor-{rows}-{turn}")
            shutil.rmtree(work / f"ours-{rows}-{turn}")
    megabytes = ours[0]["bytes"] / 1e6
    landing, staging = (min(o[step] for o in ours) for step in ("landing", "staging"))
    whole = min(o["landing"] + o["staging"] for o in ours)
    floor_fetch, floor_parse = (min(f[step] for f in floors) for step in ("fetch", "parse"))
    floor = min(f["fetch"] + f["parse"] for f in floors)
    label = f"{rows:,} rows"
    yield Figure(f"portal to staging, {label}", whole, "s", floor, "<= 1.5x", whole <= 1.5 * floor)
    cpu, floor_cpu = (min(side["cpu"] for side in sides) for sides in (ours, floors))
    yield Figure(f"portal to staging in CPU, {label}", cpu, "s", floor_cpu, "<= 1.8x", cpu <= 1.8 * floor_cpu)
    yield Figure(f"landing, {label}", megabytes / landing, "MB/s", megabytes / floor_fetch)
    yield Figure(f"landing to staging, {label}", rows / staging, "rows/s", rows / floor_parse)
    yield Figure(f"peak memory, {label}", min(peaks), "MB")
    yield Figure(
        f"no-change tick of 4 assets, {label}", min(o["tick"] for o in ours), "s", None, "< 1 s", ours[0]["tick"] < 1
    )


def small_figures(repeat: int) -> Iterator[Figure]:
    """What people and the scheduler wait for: the help of `catalunya`, parsing DAGs, one trivial asset."""
    helps = [_seconds([str(Path(sys.executable).parent / "catalunya"), "--help"]) for _ in range(repeat)]
    bare = [_seconds([sys.executable, "-c", "pass"]) for _ in range(repeat)]
    yield Figure("catalunya --help", min(helps), "s", min(bare), "< 0.5 s", min(helps) < 0.5)
    for assets in (100, 1000):
        found = [run("micro.py", "parsing", assets)[0] for _ in range(repeat)]
        ours, floor = min(f["ours"] for f in found), min(f["floor"] for f in found)
        target = ("<= 1.5 s", ours <= 1.5) if assets == 1000 else ("", None)
        yield Figure(f"parse {assets:,} assets to DAGs", ours, "s", floor, *target)
    cells = run("micro.py", "cells")[0]
    name = f"read a page of {cells['cells']:,} JSON-stat cells"
    yield Figure(name, cells["ours"] * 1000, "ms", cells["floor"] * 1000)
    trivial = run("micro.py", "trivial")[0]
    milliseconds = trivial["ours"] * 1000
    yield Figure(
        "one trivial asset, in process", milliseconds, "ms", trivial["floor"] * 1000, "<= 20 ms", milliseconds <= 20
    )


def watching(repeat: int, work: Path) -> Iterator[Figure]:
    """One look of the watch over a thousand assets with a hundred entries each."""
    lake = work / "watched"
    run("watching.py", "build", lake)
    run("watching.py", "look", lake)  # the first look reads the entries, the others the index
    floors, looks, peaks = [], [], []
    for _ in range(repeat):
        floors.append(run("watching.py", "floor", lake)[0]["seconds"])
        found, peak = run("watching.py", "look", lake)
        assert (found["new"], found["open"]) == (0, 0), "the pipeline is up to date"
        looks.append(found["seconds"])
        peaks.append(peak)
    shutil.rmtree(lake)
    seconds, peak = min(looks), min(peaks)
    yield Figure("a look over 1,000 assets", seconds, "s", min(floors), "< 2 s", seconds < 2)
    yield Figure("peak memory of a look over 1,000 assets", peak, "MB", None, "<= 150 MB", peak <= 150)


def public_pages(work: Path) -> Iterator[Figure]:
    """The public pages of 990 places in three languages, and of all tables: everything, and after one source changed."""
    folder = work / "pages"
    with mock(1000) as url:
        run("pages.py", "make", folder, url)
        whole, peak = run("pages.py", "build", folder)
        floor = run("pages.py", "floor", folder)[0]["seconds"]
        run("pages.py", "move", folder, url)
        again, _ = run("pages.py", "build", folder)
    shutil.rmtree(folder)
    assert 0 < again["written"] < whole["written"], "only what moved is written"
    label = f"{whole['files']:,} files, {whole['bytes'] / 1e6:,.0f} MB"
    yield Figure(f"public pages: {label}", whole["seconds"], "s", floor, "< 60 s", whole["seconds"] < 60)
    yield Figure("peak memory of the public pages", peak, "MB", None, "<= 400 MB", peak <= 400)
    yield Figure("public pages after one source changed", again["seconds"], "s", None, "< 10 s", again["seconds"] < 10)


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="turns of each; the best one counts")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of the register; memory is also measured at 4 times as many"
    )
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="catalunya-bench-") as folder:
        work = Path(folder)
        figures += small_figures(options.repeat)
        figures += watching(options.repeat, work)
        figures += public_pages(work)
        figures += portal_to_staging(options.rows, options.repeat, work)
        figures += portal_to_staging(4 * options.rows, 1, work)
    peaks = [f for f in figures if f.name.startswith("peak memory, ")]
    if options.rows == 1_000_000:
        peaks[0].target, peaks[0].ok = "<= 700 MB", peaks[0].value <= 700
    peaks[1].floor, peaks[1].target, peaks[1].ok = peaks[0].value, "<= 1.2x", peaks[1].value <= 1.2 * peaks[0].value
    report(figures)


def report(figures: list[Figure]) -> None:
    """Print the table and write the file."""
    table = Table(
        "figure", "ours", "floor", "ratio", "target", "", title=f"{platform.machine()}, {os.cpu_count()} cores"
    )
    for f in figures:
        mark = {True: "ok", False: "MISSED", None: ""}[f.ok]
        floor, ratio = (f"{f.floor:,.3g}" if f.floor else "", f"{f.ratio:.2f}" if f.ratio else "")
        table.add_row(
            f.name,
            f"{f.value:,.3g} {f.unit}" if f.value < 1000 else f"{f.value:,.0f} {f.unit}",
            floor,
            ratio,
            f.target,
            mark,
        )
    Console().print(table)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = results / f"{now:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps([asdict(f) | {"ratio": f.ratio} for f in figures], indent=1), encoding="utf-8")
    Console().print(f"written to {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
