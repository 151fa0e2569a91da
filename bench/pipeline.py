"""The register from the portal to its checked, published staging table: ours, the floor (`floor.py`) and the peers (`peers/`), whole processes in turns.

`python bench/pipeline.py URL FOLDER` is ours: `materialize` in a process of its own. Prints one JSON line.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from figures import HERE, Figure, Used, mock, used

sys.path.insert(0, str(HERE.parent / "tests"))
from small.apart import environment

REGISTER = ("landing.social_services", "staging.social_services")
PLACES = ("landing.municipalities", "staging.municipalities")
PEERS = {"dagster": "dagster_polars.py", "dlt": "dlt_arrow.py"}


def figures(work: Path, repeat: int, rows: int = 1_000_000) -> Iterator[Figure]:
    """Wall, CPU and memory of a million rows beside the floor and the peers; memory again at four times as many rows."""
    found = _turns(work, repeat, rows)
    best = {side: min(used.seconds for used in turns) for side, turns in found.items()}
    cpu = {side: min(used.cpu for used in turns) for side, turns in found.items()}
    peak = {side: min(used.peak for used in turns) for side, turns in found.items()}
    name = f"portal to staging, {rows:,} rows"
    yield Figure(name, best["ours"], "s", best["floor"], _peers(best), {"dagster": 0.6})
    yield Figure(f"{name}, CPU", cpu["ours"], "s", cpu["floor"], _peers(cpu), {"floor": 1.3})
    yield Figure(f"{name}, memory", peak["ours"], "MB", peak["floor"], _peers(peak), {"most": 600})
    steps = {step: min(used.answer[step] for used in found["ours"]) for step in ("landing", "staging")}
    floor = {step: min(used.answer[step] for used in found["floor"]) for step in ("fetch", "parse")}
    yield Figure(f"landing, {rows:,} rows", steps["landing"], "s", floor["fetch"])
    yield Figure(f"landing to staging, {rows:,} rows", steps["staging"], "s", floor["parse"])
    more = _turns(work, 1, 4 * rows, sides=("ours",))["ours"][0]
    yield Figure(f"portal to staging, {4 * rows:,} rows", more.seconds, "s", 4 * best["ours"], {}, {"floor": 1.1})
    yield Figure(f"portal to staging, {4 * rows:,} rows, memory", more.peak, "MB", peak["ours"], {}, {"most": 700})


def _turns(
    work: Path, repeat: int, rows: int, sides: tuple[str, ...] = ("ours", "floor", *PEERS)
) -> dict[str, list[Used]]:
    """What each side used, in turns, after a first turn in which the portal keeps its answers. A peer that cannot be installed is left out,
    with a word."""
    pythons = {side: python for side in sides if (python := _python(side))}
    found: dict[str, list[Used]] = {side: [] for side in pythons}
    with mock(rows) as answers, _portal(answers, work / "answers") as url:
        for number in range(repeat + 1):
            for side, python in pythons.items():
                folder = work / side
                shutil.rmtree(folder, ignore_errors=True)
                match side:
                    case "ours":
                        turn = used([python, __file__, url, folder])
                    case "floor":
                        turn = used([python, HERE / "floor.py", url, rows, folder])
                    case _:
                        settings = {"BENCH_URL": url, "BENCH_ROWS": str(rows), "BENCH_OUT": str(folder)}
                        turn = used([python, HERE / "peers" / PEERS[side]], env={**QUIET, **settings})
                if number:
                    found[side].append(turn)
                shutil.rmtree(folder)
    return found


@contextmanager
def _portal(mock: str, folder: Path) -> Iterator[str]:
    """`portal.py` in a process of its own; the folder is gone afterwards."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, HERE / "portal.py", mock, folder], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            shutil.rmtree(folder)


QUIET = {"DAGSTER_DISABLE_TELEMETRY": "1", "RUNTIME__DLTHUB_TELEMETRY": "false"}


def _python(side: str) -> str | None:
    if side not in PEERS:
        return sys.executable
    try:
        return str(environment(f"bench-{side}", HERE / "peers" / f"{side}.lock") / "bin" / "python")
    except subprocess.CalledProcessError as error:
        print(f"{side} is not measured: it could not be installed ({error})", file=sys.stderr)
        return None


def _peers(values: Mapping[str, float]) -> dict[str, float]:
    return {side: value for side, value in values.items() if side in PEERS}


def main() -> None:
    """Ours. The places come first: a register is checked against them."""
    import structlog

    from catalunya.assets.graph.discovery import declarations
    from catalunya.assets.making.materialize import materialize
    from catalunya.assets.record.project import Project
    from catalunya.io.environment import load_settings

    url, folder = sys.argv[1], Path(sys.argv[2])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    project = Project(load_settings(lake=str(folder / "lake"), mock_url=url), list(declarations().values()))
    for key in PLACES:
        materialize(project, key)
    seconds = {}
    for key in REGISTER:
        began = time.perf_counter()
        materialize(project, key)
        seconds[key.partition(".")[0]] = time.perf_counter() - began
    landed, staged = (project.ledger.latest(key) for key in REGISTER)
    assert landed
    assert staged
    print(json.dumps({**seconds, "bytes": landed.bytes, "rows": staged.rows, "quarantined": staged.quarantined}))


if __name__ == "__main__":
    main()
