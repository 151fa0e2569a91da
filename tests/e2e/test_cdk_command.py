"""The CDK's own command, as package-lock.json pins it, installed where there was none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from catalunya.cdk import node
from catalunya.cdk.__main__ import run_cdk


def test_the_pinned_command_is_installed_when_it_is_missing_and_only_then() -> None:
    shutil.rmtree(node.MODULES, ignore_errors=True)
    asked = json.loads((node.ROOT / "package.json").read_text())["dependencies"]["aws-cdk"]

    assert run_cdk(["--version"], capture=True).stdout.startswith(f"{asked} ")
    installed = Path(node.MODULES / ".installed.json").stat().st_mtime_ns
    assert run_cdk(["--version"], capture=True).returncode == 0
    assert Path(node.MODULES / ".installed.json").stat().st_mtime_ns == installed
