"""`make bench`: every figure beside its floor and its peers, as ratios of one run. `--only SUBJECT` measures some.

Each subject is a file with a function `figures(work, repeat)`. Prints a table and keeps the run in `bench/history/`, from which
`bench/performance.py` draws `docs/performance.md`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from figures import HERE, Figure
from rich.console import Console
from rich.table import Table

SUBJECTS = ("micro", "commands", "pages", "pipeline", "wave", "large", "thousand", "athena_bytes")
"""`athena_bytes` is last: it works in this process, and a process that is started from a large one counts its memory as its own."""
HISTORY = HERE / "history"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="turns of each side; the best one counts")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, help="measure these subjects, and keep nothing")
    options = parser.parse_args()
    found: dict[str, list[Figure]] = {}
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="catalunya-bench-") as folder:
        for subject in options.only or SUBJECTS:
            print(f"{subject} …", file=sys.stderr)
            found[subject] = [*importlib.import_module(subject).figures(Path(folder), options.repeat)]
            if not options.only:
                keep(found, began)  # a run that is stopped has what it measured
    Console().print(table(found))


def table(found: dict[str, list[Figure]]) -> Table:
    """The figures as a person reads them."""
    shown = Table("figure", "ours", "ratio to", "target", "", title=f"{platform.machine()}, {os.cpu_count()} cores")
    for figure in (figure for figures in found.values() for figure in figures):
        shown.add_row(
            figure.name,
            f"{figure.value:,.3g} {figure.unit}" if figure.value < 1000 else f"{figure.value:,.0f} {figure.unit}",
            "\n".join(f"{ratio:.2f} x {name} ({figure.beside[name]:,.3g})" for name, ratio in figure.ratios.items()),
            "\n".join(figure.targets),
            "\n".join("ok" if met else "MISSED" for met in figure.targets.values()),
        )
    return shown


def keep(found: dict[str, list[Figure]], began: datetime, folder: Path = HISTORY) -> Path:
    """Write the run to the history, with its commit and machine, in place of what it had before."""
    folder.mkdir(exist_ok=True)
    git = ["git", "-C", str(HERE.parent), "describe", "--always", "--dirty", "--match", "v*"]
    document = {
        "at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
        "commit": subprocess.run(git, capture_output=True, text=True, check=True, encoding="utf-8").stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "subjects": {
            subject: [asdict(figure) | {"ratios": figure.ratios, "targets": figure.targets} for figure in figures]
            for subject, figures in found.items()
        },
    }
    path = folder / f"{began:%Y%m%dT%H%M%SZ}.json"
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return beside.replace(path)


if __name__ == "__main__":
    main()
