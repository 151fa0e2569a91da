"""`make docs`: dbt's documentation of the marts as one page, built on this machine from empty tables; `UPLOAD=1` puts it into the lake.

Here: what dbt gets, and where the page goes. Not here: running dbt (`io/warehouse/dbt.py`), the descriptions (the contracts).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.spec import Layer
from catalunya.assets.record.paths import DOCS
from catalunya.assets.record.project import Project
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


def upload(settings: Settings, page: Path) -> Iterator[str]:
    """Put the page and what lies beside it into the lake of the environment; gives their URLs. Raises LakeError."""
    lake = Project(settings).lake
    for path in sorted(page.parent.iterdir()):
        lake.put(f"{DOCS}/{path.name}", path)
        yield lake.url(f"{DOCS}/{path.name}")


def main() -> int:
    """Write the page, put it into the lake if asked to, and print where it is. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m catalunya.ops.docs", description=__doc__)
    parser.add_argument("--upload", action="store_true", help="also put it into the lake of CATALUNYA_ENV")
    wants_upload = parser.parse_args().upload
    try:
        settings = load_settings()
        page = write(settings)
        urls = list(upload(settings, page)) if wants_upload else []
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write("".join(f"written: {place}\n" for place in (page.resolve(), *urls)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
