"""CPU seconds of this tree against the last release, in turns on one machine: `python bench/compare.py [BASE]`.

Runs commands, which every release has, with the code and the dependencies of each side: an environment is made for the other one. Exits with 1
if a command takes 15 % more CPU seconds than with the base. Without a release, the base is the last commit that `bench/history/` was measured at.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from figures import HERE, mock, used
from rich.console import Console
from rich.table import Table

ROOT = HERE.parent
WORSE = 1.15
ROWS = 200_000
COMMANDS: dict[str, Sequence[str]] = {
    "help": ("--help",),
    "everything, nothing made yet": ("materialize", "*"),
    "everything, nothing changed": ("materialize", "*"),
    "status": ("status",),
    "plan": ("plan",),
    "ls": ("ls",),
    "verify": ("verify",),
}
"""In this order, on one lake: the first `materialize` fills it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", nargs="?", help="a commit or tag; the last release if left out")
    parser.add_argument("--repeat", type=int, default=3, help="turns of each side; the best one counts")
    options = parser.parse_args()
    base = options.base or last_release()
    with tempfile.TemporaryDirectory(prefix="catalunya-compare-") as folder:
        work = Path(folder)
        git("worktree", "add", "--quiet", "--detach", str(work / "base"), base)
        try:
            subprocess.run(["make", "--silent", "setup"], cwd=work / "base", check=True, stdout=subprocess.DEVNULL)
            sides = {"base": work / "base/.venv/bin/catalunya", "ours": Path(sys.executable).with_name("catalunya")}
            found = turns(sides, work, options.repeat)
        finally:
            git("worktree", "remove", "--force", str(work / "base"))
    worse = report(found, base)
    if worse:
        raise SystemExit(f"error: {', '.join(worse)}: more than {WORSE - 1:.0%} more CPU seconds than {base}")


def last_release() -> str:
    """The newest tag `v…` that this commit descends from; else the last measured commit."""
    found = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--tags", "--abbrev=0", "--match", "v*"],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if found.returncode == 0:
        return found.stdout.strip()
    measured = sorted((HERE / "history").glob("*.json"))
    if not measured:
        raise SystemExit("error: there is no release and no run in bench/history to compare with: name a commit")
    return json.loads(measured[-1].read_text(encoding="utf-8"))["commit"].removesuffix("-dirty")


def turns(sides: dict[str, Path], work: Path, repeat: int) -> dict[str, dict[str, float]]:
    """The fewest CPU seconds of each command by side. Each turn has a lake of its own."""
    found: dict[str, dict[str, float]] = {name: {} for name in COMMANDS}
    with mock(ROWS) as url:
        for _ in range(repeat):
            for side, program in sides.items():
                lake = work / f"lake-{side}"
                settings = {
                    "CATALUNYA_LAKE": str(lake), "CATALUNYA_CACHE": str(work / f"cache-{side}"), "CATALUNYA_MOCK_URL": url
                }  # fmt: skip
                for name, arguments in COMMANDS.items():
                    cpu = used([program, *arguments], env=settings, folder=work).cpu
                    found[name][side] = min(cpu, found[name].get(side, cpu))
                shutil.rmtree(lake)
    return found


def report(found: dict[str, dict[str, float]], base: str) -> list[str]:
    """Print the table; the commands that got worse."""
    table = Table("command", base, "this tree", "ratio", title="CPU seconds, the best turn")
    ratios = {name: cpu["ours"] / cpu["base"] for name, cpu in found.items()}
    for name, cpu in found.items():
        table.add_row(name, f"{cpu['base']:.2f}", f"{cpu['ours']:.2f}", f"{ratios[name]:.2f}")
    Console().print(table)
    return [name for name, ratio in ratios.items() if ratio > WORSE]


def git(*words: str) -> None:
    subprocess.run(["git", "-C", str(ROOT), *words], check=True)


if __name__ == "__main__":
    main()
