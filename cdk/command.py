"""`python -m catalunya.cdk.command ARGUMENTS`: the CDK's own command, at one pinned version, on the Node of the dependencies.

Here: how it is started. Not here: what it deploys (`app.py`), in which order (`docs/infrastructure.md`). It is fetched when it is
first needed: to write and check templates, nobody needs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from catalunya.io.errors import CatalunyaError, ConfigurationError

CDK = "aws-cdk@2.1148.1"  # the registry's `latest` is a 3.0.0 that refuses what aws-cdk-lib 2 writes


def run(arguments: Sequence[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it; with `capture`, what it said is in the result. Raises ConfigurationError without the Node it needs."""
    node = Path(os.environ.get("JSII_NODE", ""))
    npx = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npx-cli.js" if node.name else Path()
    if not npx.is_file():
        raise ConfigurationError(
            "the CDK's command was expected to find Node among the dependencies, found none; `make setup` installs it"
        )
    here = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(node), str(npx), "--yes", CDK, *arguments]
    output = subprocess.PIPE if capture else None
    return subprocess.run(command, env=here, check=False, text=True, stdout=output, stderr=output)  # noqa: S603


def main() -> int:
    """Run it with this process's arguments. Returns its exit code."""
    try:
        return run(sys.argv[1:]).returncode
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
