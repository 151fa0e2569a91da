"""What git knows of this checkout: an earlier commit's files.

Here: asking git, and its refusals as one line each. Not here: what the files mean (`commands/`).
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from catalunya.io.errors import UsageError


def commit_of(revision: str) -> str:
    """The id of the commit that a revision names. Raises UsageError, one line, when there is none to be had."""
    if revision.startswith("-"):
        raise UsageError(f"{revision!r} is no revision, expected a commit, a branch or a tag; give one as git knows it")
    checkout = _git("rev-parse", "--git-dir")
    if checkout.returncode:
        found = " ".join(checkout.stderr.decode(errors="replace").split())
        raise UsageError(f"there is no git checkout to compare with here: {found}; run this in the project's own")
    commit = _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if commit.returncode:
        raise UsageError(
            f"git knows no commit {revision!r} here; choose one that `git log` lists (a shallow clone has few: fetch more)"
        )
    return commit.stdout.decode().strip()


def file_at(revision: str, path: str) -> bytes:
    """A file as a commit holds it. Raises UsageError when it does not, or there is no such commit."""
    stored = _git("cat-file", "blob", f"{commit_of(revision)}:{path}")
    if stored.returncode:
        raise UsageError(f"{path} is not in {revision!r}: was that before the file existed? Choose a later base")
    return stored.stdout


def checkout(revision: str, folder: Path) -> None:
    """Put all files of a commit into a folder; this checkout is not touched. Raises UsageError as `commit_of`."""
    packed = _git("-C", _top(), "archive", "--format=tar", commit_of(revision))
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")


def _top() -> str:
    return _git("rev-parse", "--show-toplevel").stdout.decode().strip() or "."


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Ask git. Raises UsageError where there is none."""
    try:
        return subprocess.run(["git", "--no-pager", *arguments], capture_output=True, check=False)  # noqa: S603, S607
    except OSError as error:
        raise UsageError(
            f"an earlier commit is what this compares with, and git cannot be run: {error}; install it"
        ) from None
