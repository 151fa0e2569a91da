"""A checkout of the project in a folder of its own, in which commands may change files as a person would.

A command that changes a file runs in a process of its own, because what it changes is read when the tables' modules are imported. Those between two
changes share a `Shell`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from small.commands import Ran
from small.patience import patience

ROOT = Path(__file__).parents[2]
_FOLDERS = ("assets", "cdk", "contracts", "dags", "dbt", "docs", "io", "ops", "portal", "src")
_COMMAND = "import sys; from catalunya.ops.cli import main; sys.exit(main())"
_COMMANDS = """
import contextlib, io, json, os, sys
from catalunya.ops.cli import main

for line in sys.stdin:
    command, out, err = json.loads(line), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = exec(command[1], {}) or 0 if command[0] == "-c" else main(command)
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
os._exit(0)  # leaves the garbage of dbt and DuckDB, which takes a second to find
"""


def copy_code(folder: Path, to: Path) -> None:
    """Copy a folder of the project with what Python has compiled, which takes seconds, but for what it is writing at this moment."""
    shutil.copytree(folder, to, symlinks=True, ignore=shutil.ignore_patterns("*.pyc.*", "target", "logs"))


@dataclass(frozen=True)
class Checkout:
    """The folder, and the environment of its commands."""

    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def at(cls, folder: Path, compiled: Path, **settings: str) -> Checkout:
        """A copy of this project in a folder, with its lake beside it, and its cache, a copy of `compiled`.

        `settings`: `mock_url` for CATALUNYA_MOCK_URL.
        """
        for name in _FOLDERS:
            copy_code(ROOT / name, folder / name)
        shutil.copy(ROOT / "README.md", folder)
        shutil.copytree(compiled, folder / "cache")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CATALUNYA_")}
        mine = {"lake": str(folder / "lake"), "cache": str(folder / "cache"), **settings}
        named = {f"CATALUNYA_{name.upper()}": value for name, value in mine.items()}
        return cls(folder, {**kept, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1", "COLUMNS": "200", **named})

    @property
    def declared(self) -> Path:
        """The project's file."""
        return self.folder / "assets" / "project.toml"

    def run(self, *arguments: str) -> Ran:
        """Run a command of `catalunya` in the checkout."""
        return self._ran("-c", _COMMAND, *arguments)

    def run_each(self, *commands: Sequence[str]) -> list[Ran]:
        """Run commands that change no file one after the other, in one process."""
        with closing(Shell(self)) as shell:
            return [shell.run(*command) for command in commands]

    def generate(self) -> Ran:
        """What `make generate` does."""
        return self._ran("-m", "catalunya.ops.generate")

    def _ran(self, *arguments: str) -> Ran:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(200),
        )
        return Ran(done.returncode, done.stdout, done.stderr)


class Shell:
    """Commands of `catalunya` in the checkout, in one process from the first to `close`: they share what they import."""

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self._process: subprocess.Popen[str] | None = None

    def run(self, *arguments: str) -> Ran:
        """Run a command, or lines of Python: `-c` and the lines."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMANDS],
                cwd=self.checkout.folder,
                env=dict(self.checkout.environment),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(arguments)}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{arguments} ended the process"
        return Ran(*json.loads(answer))

    def close(self) -> None:
        """End the process: the next command sees the checkout as it is then."""
        if self._process:
            self._process.communicate()
            self._process = None
