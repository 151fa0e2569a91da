"""Files of earlier commits of this checkout, from git.

Here: calling git, with its errors as one line each. Not here: what the files mean (`commands/comparing.py`, `cdk/plan.py`).
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from catalunya.io.errors import UsageError
from catalunya.io.project_folder import VARIABLE, active


def commit_of(revision: str) -> str:
    """The id of a revision's commit in the checkout of the project. Raises UsageError if there is none."""
    if revision.startswith("-"):
        raise UsageError(f"{revision!r} is not a revision; give a commit, branch or tag")
    checkout = _git("rev-parse", "--git-dir")
    if checkout.returncode:
        reason = " ".join(checkout.stderr.decode(errors="replace").split())
        raise UsageError(f"not in a git checkout ({reason}); run this in the project's own")
    commit = _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if commit.returncode:
        raise UsageError(
            f"git knows no commit {revision!r}; choose one from `git log` (in a shallow clone, fetch more history first)"
        )
    return commit.stdout.decode().strip()


def file_at(revision: str, path: str) -> bytes:
    """The content of a project's file at a commit. Raises UsageError if there is no such commit or file."""
    stored = _git("cat-file", "blob", f"{commit_of(revision)}:{path if active().is_ours else f'./{path}'}")
    if stored.returncode:
        raise UsageError(f"{path} does not exist at {revision!r}; choose a later base")
    return stored.stdout


def checkout(revision: str, folder: Path) -> None:
    """Write all files of a commit into a folder; this checkout is not changed. Raises UsageError as `commit_of`."""
    packed = _git("-C", _top(), "archive", "--format=tar", commit_of(revision))
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")


def environment_of(folder: Path) -> dict[str, str]:
    """What makes Python run the project as `checkout` wrote it there: with the engine beside it, or, without one, with this engine."""
    project = active()
    beside = folder / "src"
    engine = {"PYTHONPATH": str(beside)} if project.is_ours or (beside / "catalunya").exists() else {}
    if project.is_ours:
        return engine
    return engine | {VARIABLE: str(folder / project.folder.relative_to(Path(_top()).resolve()))}


def _top() -> str:
    return _git("rev-parse", "--show-toplevel").stdout.decode().strip() or "."


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Call git in the current folder, or in that of another project. Raises UsageError if it cannot be run."""
    project = active()
    where = None if project.is_ours else project.folder
    try:
        return subprocess.run(["git", "--no-pager", *arguments], cwd=where, capture_output=True, check=False)  # noqa: S603, S607
    except OSError as error:
        raise UsageError(f"cannot run git: {error}; install it to compare with an earlier commit") from None
