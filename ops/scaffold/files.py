"""New files in a project: all of them and what is generated from them, or none.

Here: where a project's files are, refusing to overwrite, undoing. Not here: what is in them.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from catalunya.io.errors import ConfigurationError, UsageError
from catalunya.io.project_folder import SAMPLES, VARIABLE, active
from catalunya.io.whole_file import write_whole
from catalunya.ops import generate

MESSAGE_LINES = 3


def root() -> Path:
    """The folder that the project's files are below: the repository, or another project. Raises ConfigurationError if it is installed."""
    project = active()
    if not project.is_ours:
        return project.folder
    found = (project.folder / "assets").resolve().parent
    if not (found / "README.md").exists() or not (found / "pyproject.toml").exists():
        raise ConfigurationError(
            f"expected a checkout of the project to add files to, found an installed package in {found}; run it in the repository"
        )
    return found


def put(folder: Path, new: Mapping[str, bytes], edited: Mapping[str, bytes] | None = None) -> list[str]:
    """Write files, by their paths below the folder, and what is generated from them; returns the paths of all that changed.

    `edited`: files that exist, with their new content. Whatever fails or interrupts it, nothing is left changed.
    Raises UsageError, with how to take it back, if a new file exists already; ConfigurationError if nothing can be generated from them.
    """
    if there := [name for name in new if (folder / name).exists()]:
        raise UsageError(
            f"{there[0]} exists already: nothing was written. To replace it, first `{undo(new)}`, or give another --name"
        )
    known = {*generate.paths(), *(edited or {})}
    before = {name: (folder / name).read_bytes() for name in known if (folder / name).exists()}
    try:
        for name, content in [*new.items(), *(edited or {}).items()]:
            write_whole(folder / name, content)
        _generate(folder)
    except BaseException:
        _take_back(folder, new, before, known)
        raise
    changed = [
        name for name in sorted(known) if (folder / name).exists() and (folder / name).read_bytes() != before.get(name)
    ]
    return [*new, *changed]


def undo(new: Sequence[str] | Mapping[str, bytes]) -> str:
    """The command that takes new files back."""
    below = "" if active().is_ours else f"{active().folder}/"
    return f"rm -r {' '.join(shlex.quote(below + each) for each in places(new))} && make generate"


def places(new: Sequence[str] | Mapping[str, bytes]) -> list[str]:
    """The files, and in place of those of a sample their folder."""
    return [*dict.fromkeys(str(Path(name).parent) if name.startswith(f"assets/{SAMPLES}/") else name for name in new)]


def _take_back(folder: Path, new: Mapping[str, bytes], before: Mapping[str, bytes], known: set[str]) -> None:
    for name in [*new, *(known - before.keys())]:
        (folder / name).unlink(missing_ok=True)
        for parent in (folder / name).parents:
            if parent == folder:
                break
            with suppress(OSError):  # not empty: others' files are in it
                parent.rmdir()
    for name, content in before.items():
        if (folder / name).read_bytes() != content:
            write_whole(folder / name, content)


def _generate(folder: Path) -> None:
    """Run `make generate` in a process of its own: this one has imported the project as it was."""
    same = {VARIABLE: str(active().folder)} if os.environ.get(VARIABLE) else {}  # it may be relative to this folder
    done = subprocess.run(
        [sys.executable, "-m", "catalunya.ops.generate"],
        cwd=folder,
        env=os.environ | same,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode in (-signal.SIGINT, 128 + signal.SIGINT):  # Ctrl-C reaches both processes
        raise KeyboardInterrupt
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        reason = " ".join(lines[-MESSAGE_LINES:]).removeprefix("error: ")
        raise ConfigurationError(
            f"nothing was written, because `make generate` fails with the new files: {reason[:1000]}"
        )
