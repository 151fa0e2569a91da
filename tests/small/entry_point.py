"""The entry point by which Airflow finds the plugin, for tests of a working copy whose installed metadata do not have it yet.

An editable install keeps the metadata of the day it was made. A process that has `folder` on its PYTHONPATH finds what pyproject.toml
declares now.
"""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).parents[2]
GROUP = "airflow.plugins"


def declared() -> dict[str, str]:
    """The entry points that pyproject.toml declares for Airflow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, str] = project["entry-points"][GROUP]
    return found


def python_path(folder: Path) -> str:
    """A PYTHONPATH for processes that start Airflow: this working copy, and `folder` with the metadata if they are not installed."""
    installed = {point.name: point.value for point in entry_points(group=GROUP)}
    path = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    if installed.items() >= declared().items():
        return os.pathsep.join(path)
    metadata = folder / "catalunya_working_copy-0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: catalunya-working-copy\nVersion: 0\n")
    lines = [f"{name} = {value}" for name, value in declared().items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    return os.pathsep.join([*path, str(folder)])
