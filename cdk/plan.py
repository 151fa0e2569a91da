"""`make plan`: what the changes since a commit do to assets and infrastructure, as Markdown for a pull request.

Here: the templates of both commits, each written by its own code, and `cdk diff` between them. Not here: which assets differ
(`ops/commands/comparing.py`). Nothing is asked of AWS, so that whoever runs a stranger's change needs no credentials for it: what
stands here is the difference of two commits, not of a commit and what is deployed (`make diff`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from catalunya.cdk import command
from catalunya.io.errors import CatalunyaError, ConfigurationError
from catalunya.ops import git
from catalunya.ops.cli import main as catalunya

# Any will do, as long as both commits are given the same.
CONTEXT = {
    "account": "000000000000",
    "region": "eu-west-1",
    "replica_region": "eu-central-1",
    "github_subject": "repo:example/example",
}
_TEMPLATE = ".template.json"


def infrastructure(base: str) -> Iterator[str]:
    """Markdown, a section for each stack that differs. Raises ConfigurationError when one side cannot be written or compared."""
    with tempfile.TemporaryDirectory(prefix="catalunya-plan-") as folder:
        scratch = Path(folder)
        git.checkout(base, scratch / "base")
        now = _write(Path.cwd() / "src", scratch / "now")
        was = (
            _write(scratch / "base" / "src", scratch / "was")
            if (scratch / "base" / "cdk").is_dir()
            else scratch / "none"
        )
        names = {path.name.removesuffix(_TEMPLATE) for side in (was, now) for path in side.glob(f"*{_TEMPLATE}")}
        for name in sorted(names):
            if not (now / f"{name}{_TEMPLATE}").exists():
                yield f"### {name}\n\nThis stack is no longer declared. It is not deleted by a deployment: do that by hand."
            elif not (was / f"{name}{_TEMPLATE}").exists():
                yield f"### {name}\n\nThis stack is new."
            elif difference := _difference(name, was, now):
                yield f"### {name}\n\n```\n{difference}\n```"


def _write(source: Path, outdir: Path) -> Path:
    """The templates that a commit's code writes. The functions' package is none: its code shows in the assets."""
    package = outdir.with_suffix(".zip")
    with zipfile.ZipFile(package, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("nothing"), "")
    given = [f"--context={name}={value}" for name, value in (CONTEXT | {"package": str(package)}).items()]
    here = {"PYTHONPATH": str(source), "CDK_OUTDIR": str(outdir), "CATALUNYA_CACHE": str(outdir.with_suffix(".cache"))}
    program = [sys.executable, "-m", "catalunya.cdk", *given]
    told = subprocess.run(program, env=os.environ | here, capture_output=True, text=True, check=False)  # noqa: S603
    if told.returncode or not any(outdir.glob(f"*{_TEMPLATE}")):
        found = (told.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ConfigurationError(f"templates were expected of {source}, found: {found}; run `make synth` there")
    return outdir


def _difference(name: str, was: Path, now: Path) -> str:
    """What `cdk diff` tells of one stack; nothing when there is no difference."""
    told = command.run(
        ["diff", name, "--app", str(now), "--template", str(was / f"{name}{_TEMPLATE}"), "--no-color", "--exclusively"],
        capture=True,
    )
    if told.returncode:
        raise ConfigurationError(f"cdk diff {name} was expected to succeed, found: {told.stderr.strip()}")
    lines = [line for line in (told.stdout + told.stderr).splitlines() if not line.startswith("npm ")]
    text = "\n".join(lines).strip()
    return "" if re.search(r"^There were no differences", text, flags=re.MULTILINE) else text


def main() -> int:
    """Print the plan against the commit that is named. Returns the exit code."""
    base = (sys.argv[1:] or ["HEAD"])[0]
    sys.stdout.write("## Assets\n\n")
    sys.stdout.flush()
    code = catalunya(["changes", "--base", base, "--format", "markdown"])
    try:
        sections = list(infrastructure(base))
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write("\n## Infrastructure\n\n" + ("\n\n".join(sections) or "No template differs.") + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
