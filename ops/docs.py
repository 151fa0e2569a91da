"""`make docs`: dbt's documentation of the marts as one page, built on this machine from empty tables.

Here: what dbt gets, and where the page goes. Not here: running dbt (`io/warehouse/dbt.py`), the descriptions (the contracts).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.spec import Layer
from catalunya.io.environment import Settings, load_settings
from catalunya.io.errors import CatalunyaError
from catalunya.io.warehouse.build import build_docs
from catalunya.io.warehouse.relation import Relation

FOLDER = "dbt-docs"


def write(settings: Settings) -> Path:
    """Write the page and dbt's two artifacts (`manifest.json`, `catalog.json`) below the cache; returns the page.

    Raises WarehouseError when dbt cannot build a model, or a model does not match its contract.
    """
    sources = [
        Relation(str(asset.layer), asset.name, {column.name: column.type for column in asset.columns}, files=())
        for asset in load_graph(settings)
        if asset.layer is Layer.STAGING
    ]
    folder = settings.cache / FOLDER
    with tempfile.TemporaryDirectory(prefix="catalunya-docs-") as scratch:
        today = {"as_of": f"{datetime.now(UTC):%Y-%m-%d}"}
        page = build_docs(sources, variables=today, settings=settings, scratch=Path(scratch))
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("manifest.json", "catalog.json"):
            shutil.copyfile(page.with_name(name), folder / name)
        return Path(shutil.copyfile(page, folder / "index.html"))


def main() -> int:
    """Write the page and print its path. Returns the exit code."""
    try:
        page = write(load_settings())
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"written: {page.resolve()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
