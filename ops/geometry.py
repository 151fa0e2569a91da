"""`make geometry`: write assets/geometry/places.json, the places that the portal's maps are drawn from.

Here: running the script beside the file, with the Node of the dependencies. Not here: what it makes and from what
(`assets/geometry/make.mjs`), reading the file (`portal/geometry.py`). The same sources give the same bytes.
"""

from __future__ import annotations

import subprocess
import sys

from catalunya.cdk import node
from catalunya.io.errors import CatalunyaError, ConfigurationError

FILE = node.ROOT / "assets" / "geometry" / "places.json"
SCRIPT = FILE.with_name("make.mjs")


def made() -> str:
    """The file's text as it should be now. Raises ConfigurationError if Node is missing or the script fails."""
    command = node.command(SCRIPT)
    done = subprocess.run(  # noqa: S603
        command, env=node.environment(), check=False, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        raise ConfigurationError(f"{SCRIPT.name} failed: {done.stderr.strip()}")
    return done.stdout


def main() -> int:
    """Write the file and print its path. Returns the exit code."""
    try:
        FILE.write_text(made(), encoding="utf-8")
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{FILE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
