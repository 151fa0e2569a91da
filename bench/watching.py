"""One look of the watch over a thousand assets with a hundred ledger entries each: `python bench/watching.py build FOLDER`, `look FOLDER` or
`floor FOLDER`. Prints one JSON line.

The floor lists the same entries and reads, of each asset, the newest: what a look at nothing but the newest failures would cost without an
index, and without saying what is unusual. Each runs in a separate process.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from figures import Figure, run

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.ledger import FOLDER, Entry, Ledger, Stored, encode
from catalunya.contracts.model.columns import Column

SOURCES, MARTS, ENTRIES = 200, 600, 100
COLUMNS = (Column("id", "string", "The key", nullable=False, key=True),)


def figures(work: Path, repeat: int) -> Iterator[Figure]:
    """One look that finds nothing new."""
    lake = work / "watched"
    run("watching.py", "build", lake)
    run("watching.py", "look", lake)  # the first look reads the entries, the others the index
    floors, looks = [], []
    for _ in range(repeat):
        floors.append(run("watching.py", "floor", lake).answer["seconds"])
        looks.append(run("watching.py", "look", lake))
        assert (looks[-1].answer["new"], looks[-1].answer["open"]) == (0, 0), "the pipeline is up to date"
    shutil.rmtree(lake)
    seconds = min(look.answer["seconds"] for look in looks)
    yield Figure("a look over 1,000 assets", seconds, "s", min(floors), {}, {"most": 2})
    yield Figure("a look over 1,000 assets, memory", min(look.peak for look in looks), "MB", None, {}, {"most": 150})


def assets() -> list[Asset]:
    """200 sources with a landing and a staging table each, and 600 marts on two levels."""
    found = []
    for number in range(SOURCES):
        landing, staging = f"landing.source_{number}", f"staging.source_{number}"
        found.append(_asset(landing, schedule="0 5 * * *", source=f"source {number}", portal="https://data.example"))
        found.append(_asset(staging, upstream=(landing,)))
    for number in range(MARTS):
        first = tuple(f"staging.source_{(number + step) % SOURCES}" for step in (0, 7))
        upstream = first if number < MARTS // 2 else (f"marts.dim_{number - MARTS // 2}",)
        found.append(_asset(f"marts.dim_{number}", upstream=upstream))
    return found


def build(lake: Path) -> dict[str, float]:
    """The ledger of a pipeline that has run daily for a hundred days and is up to date."""
    chance, now = random.Random(1), datetime.now(UTC)
    for asset in assets():
        folder = lake / Ledger.folder(asset.key)
        folder.mkdir(parents=True)
        for number in range(1, ENTRIES + 1):
            at = now - timedelta(days=ENTRIES - number, hours=1)
            entry = Entry(
                asset=asset.key,
                sequence=number,
                status="materialized",
                run_id=f"run-{number}",
                correlation_id=f"run-{number}",
                reason="DATA",
                started_at=at,
                seconds=1.5,
                code_version=asset.code_version,
                versions=dict.fromkeys(asset.upstream, f"version-{number}"),
                data_version=f"version-{number}",
                rows=10_000 + chance.randrange(50),
                bytes=1_000_000,
                objects=(Stored(path=f"{asset.prefix}/file.parquet", bytes=1_000_000, rows=10_000, sha256="0" * 64),),
                source_updated_at=at if asset.schedule else None,
            )
            (folder / f"{number:010d}.json").write_bytes(encode(entry))
    return {"entries": len(assets()) * ENTRIES}


def look(lake: Path) -> dict[str, float]:
    """A whole look that is kept, imports not included."""
    from catalunya.assets.record.project import Project
    from catalunya.io.environment import load_settings
    from catalunya.ops.watching.look import watch

    project = Project(load_settings(lake=str(lake)))
    project.graph = AssetGraph(assets())
    began = time.perf_counter()
    found = watch(project, datetime.now(UTC))
    return {"seconds": time.perf_counter() - began, "new": found.index.new, "open": len(found.board.open)}


def floor(lake: Path) -> dict[str, float]:
    """Listing the entries, and reading the newest of each asset as JSON."""
    began = time.perf_counter()
    newest: dict[str, str] = {}
    for folder, _, files in os.walk(lake / FOLDER):
        if files:
            newest[folder] = max(files)
    for folder, name in newest.items():
        json.loads(Path(folder, name).read_bytes())
    return {"seconds": time.perf_counter() - began}


def _asset(key: str, **more: object) -> Asset:
    return Asset(key=key, description="A table", columns=COLUMNS, code_version="1", **more)  # type: ignore[arg-type]


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps({"build": build, "look": look, "floor": floor}[sys.argv[1]](Path(sys.argv[2]))))
