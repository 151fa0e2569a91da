"""The public pages: `python bench/pages.py make FOLDER URL`, `build FOLDER`, `move FOLDER URL` (one source changes) or `floor FOLDER`. Prints one
JSON line.

The floor writes the files of the built site again: what a build costs that makes nothing. Each runs in a separate process.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import structlog
from figures import Figure, mock, run

from catalunya.assets.making.materialize import materialize
from catalunya.assets.record.project import Project
from catalunya.io.environment import load_settings
from catalunya.portal.making import build_site

MOVED = "source:service_usage+"


def figures(work: Path, repeat: int) -> Iterator[Figure]:  # noqa: ARG001 - once: it is long enough
    """The pages of 990 places in three languages and of all tables: everything, and after one source changed."""
    folder = work / "pages"
    with mock(1000) as url:
        run("pages.py", "make", folder, url)
        whole = run("pages.py", "build", folder)
        floor = run("pages.py", "floor", folder).answer["seconds"]
        run("pages.py", "move", folder, url)
        again = run("pages.py", "build", folder)
    shutil.rmtree(folder)
    built = whole.answer
    assert 0 < again.answer["written"] < built["written"], "only what moved is written"
    name = f"public pages: {built['files']:,} files, {built['bytes'] / 1e6:,.0f} MB"
    yield Figure(name, built["seconds"], "s", floor, {}, {"most": 60})
    yield Figure("public pages, memory", built["megabytes"], "MB", None, {}, {"most": 400})
    yield Figure("public pages after one source changed", again.answer["seconds"], "s", None, {}, {"most": 10})


def make(folder: Path, url: str) -> dict[str, float]:
    """Every table from the mock's data: 947 municipalities."""
    return _materialize(folder, url, "*")


def move(folder: Path, url: str) -> dict[str, float]:
    """The tables below one source, after it changed."""
    httpx.post(f"{url}/_mock/advance", params={"dataset": "yavr-pn8q"}).raise_for_status()
    return _materialize(folder, url, MOVED)


def build(folder: Path) -> dict[str, float]:
    """What moved since the last build, imports not included."""
    project = Project(load_settings(lake=str(folder / "lake")))
    began = time.perf_counter()
    with _memory() as used:
        built = build_site(project, "bench")
    return {
        "seconds": time.perf_counter() - began,
        "megabytes": max(used),
        "written": built.written,
        "files": built.files,
        "bytes": built.bytes,
    }


@contextmanager
def _memory() -> Iterator[list[float]]:
    """The memory of this process and those it forked, in MB, about every half second; what they share counts once."""
    used, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
            with suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
                texts = [Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8") for pid in ("self", *children)]
                used.append(sum(int(text.partition("\nPss:")[2].split()[0]) for text in texts) / 1024)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield used
    finally:
        ended.set()
        watching.join()


def floor(folder: Path) -> dict[str, float]:
    """Writing the same files."""
    site, copy = folder / "lake/portal", folder / "copy"
    began = time.perf_counter()
    for path in (found for found in site.rglob("*") if found.is_file()):
        to = copy / path.relative_to(site)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    return {"seconds": time.perf_counter() - began}


def _materialize(folder: Path, url: str, select: str) -> dict[str, float]:
    project = Project(load_settings(lake=str(folder / "lake"), mock_url=url))
    made = [materialize(project, asset.key).status for asset in project.graph.select(select)]
    return {"materialized": made.count("materialized")}


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    steps = {"make": make, "move": move, "build": build, "floor": floor}
    print(json.dumps(steps[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
