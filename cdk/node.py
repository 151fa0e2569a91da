"""The Node packages that package.json names: the CDK's command, what tests run, and what makes the portal's geometry.

`package-lock.json` pins each of them and what it needs by hash. They are installed into node_modules when first used, by the npm that
comes with the dependencies, so that Node need not be installed. Not here: what the CDK is asked to do (`__main__.py`).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import catalunya
from catalunya.io.errors import ConfigurationError

ROOT = Path(catalunya.__file__).parents[2]
LOCK = ROOT / "package-lock.json"
MODULES = ROOT / "node_modules"


def command(script: Path) -> list[str]:
    """The start of a command that runs a script of Node, after which its arguments follow.

    Raises ConfigurationError if Node is missing or the programs cannot be installed.
    """
    _install()
    return [str(_node()), str(script)]


def modules() -> Path:
    """The folder with the packages. Raises as `command` does."""
    _install()
    return MODULES


def cdk() -> list[str]:
    """The start of the CDK's own command. Raises as `command` does."""
    return command(MODULES / "aws-cdk" / "bin" / "cdk")


def environment() -> dict[str, str]:
    """The environment of this process, with that Node first on the path: the CDK and npm start Node by name."""
    return {**os.environ, "PATH": f"{_node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _node() -> Path:
    node = Path(os.environ.get("JSII_NODE", ""))
    if not node.name or not _npm(node).is_file():
        raise ConfigurationError("expected the Node that comes with the dependencies, found none; run `make setup`")
    return node


def _npm(node: Path) -> Path:
    return node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _install() -> None:
    """Install what the lock names, unless that is what is installed. One process at a time."""
    node = _node()
    if not LOCK.is_file():
        raise ConfigurationError(
            f"the Node programs are installed in a checkout of the project: expected {LOCK}, found none"
        )
    installed = MODULES / ".installed.json"
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = lock.read()
        if installed.exists() and installed.read_bytes() == wanted:
            return
        npm = [str(node), str(_npm(node)), "ci", "--loglevel=error"]
        done = subprocess.run(  # noqa: S603
            npm, cwd=ROOT, env=environment(), check=False, capture_output=True, text=True, encoding="utf-8"
        )
        if done.returncode:
            found = (done.stderr.strip().splitlines() or ["no error message"])[0]
            raise ConfigurationError(f"could not install the programs of {LOCK.name}: {found}")
        installed.write_bytes(wanted)
