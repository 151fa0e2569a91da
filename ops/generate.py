"""`make generate`: write the files that follow from the declarations (dbt's YAML, the data dictionary, the settings, the graph).

Here: which contracts there are, the order, and the writing. Not here: what the files say (`contracts/model/derive.py`,
`settings_page.py`, `assets/graph/document.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalunya.io.errors import CatalunyaError, ConfigurationError

if TYPE_CHECKING:
    from catalunya.io.environment import Settings


def rendered() -> dict[str, str]:
    """Every file that follows from contracts alone, by its path below the repository, as it should be."""
    from catalunya.assets.graph.discovery import contracts
    from catalunya.contracts.model.derive import render

    return render(contracts())


def graph_now(settings: Settings) -> dict[str, Any]:
    """The snapshot of the graph as it is declared now. Raises ConfigurationError without dbt, which knows the marts' edges."""
    from catalunya.assets.graph.discovery import contracts, load_graph
    from catalunya.assets.graph.document import snapshot
    from catalunya.contracts.retired import RETIRED
    from catalunya.io.warehouse.dbt import is_installed

    if not is_installed():
        raise ConfigurationError(
            "the whole graph needs dbt, which reads the marts' SQL; expected it in this environment, found none; `make setup` installs it"
        )
    return snapshot(load_graph(settings), contracts(), RETIRED)


def write(root: Path) -> list[Path]:
    """Write what is stale below `root`. Returns the files that changed."""
    from catalunya.assets.graph.document import SNAPSHOT, text
    from catalunya.cdk import access_page
    from catalunya.io.environment import load_settings
    from catalunya.ops.settings_page import PAGE, settings_page

    pages = rendered() | {PAGE: settings_page(), access_page.PAGE: access_page.access_page()}
    changed = [path for name, content in pages.items() if (path := _written(root / name, content))]
    # dbt reads the YAML just written, and the graph follows from what dbt says.
    graph = _written(root / SNAPSHOT, text(graph_now(load_settings())))
    return [*changed, *([graph] if graph else [])]


def _written(path: Path, content: str) -> Path | None:
    """Write a file unless it says the same already; returns it when it changed."""
    if path.exists() and path.read_text() == content:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def main() -> int:
    """Write below the current folder, and say what changed. Returns the exit code."""
    from rich.console import Console

    try:
        changed = write(Path.cwd())
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    Console().print("\n".join(f"written: {path}" for path in changed) or "everything generated is up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
