"""`python -m catalunya.cdk`: what the CDK's command runs (`cdk.json`). Makes the functions' package, then writes the templates.

By itself it takes `-c name=value` as the CDK's command does, and writes to cdk.out: no Node is needed to see or check them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import catalunya
from catalunya.io.errors import CatalunyaError

ROOT = Path(catalunya.__file__).parents[2]
PACKAGE = ROOT / "dist" / "lambda.zip"


def make_package() -> Path:
    """The functions' zip, made anew each time, to the same bytes where nothing changed: an old one would be deployed unseen."""
    from catalunya.ops import package

    package.build(PACKAGE)
    return PACKAGE


def main() -> int:
    """Write the templates to where the CDK's command wants them, or to cdk.out. Returns the exit code."""
    from catalunya.assets.graph.discovery import load_graph
    from catalunya.cdk.app import build
    from catalunya.io.environment import load_settings

    parser = argparse.ArgumentParser(prog="python -m catalunya.cdk", description="Write the CloudFormation templates.")
    said = "a value that a deployment needs: docs/infrastructure.md lists them"
    parser.add_argument("-c", "--context", action="append", default=[], metavar="NAME=VALUE", help=said)
    given = dict(pair.partition("=")[::2] for pair in parser.parse_args().context)
    outdir = Path(os.environ.get("CDK_OUTDIR") or ROOT / "cdk.out")
    try:
        app = build(load_graph(load_settings()), make_package, given, outdir=outdir)
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    try:
        app.synth()
    except Exception as error:  # noqa: BLE001  jsii raises plain RuntimeErrors; the findings were printed by then
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
