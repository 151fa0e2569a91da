"""`make generate`: write the files that are derived from the declarations: dbt's YAML, the data dictionary, docs/graph.json and
assets/lineage.json of a project; of the package's own also the pages on settings and access, and the picture of the graph in the README.

Here: the list of these files, their order, the picture, and writing. Not here: what the other files contain
(`contracts/model/derive.py`, `settings_page.py`, `cdk/access.py`, `cdk/context.py`, `assets/graph/document.py`,
`assets/graph/lineage_document.py`).
"""

from __future__ import annotations

import gc
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalunya.assets.graph.spec import Layer
from catalunya.io.errors import CatalunyaError, ConfigurationError
from catalunya.io.project_folder import active

if TYPE_CHECKING:
    from catalunya.assets.graph.graph import AssetGraph
    from catalunya.assets.graph.spec import Asset
    from catalunya.io.environment import Settings

README = "README.md"
_PICTURE = re.compile(r"(<!-- graph: written by `make generate` -->\n).*?(<!-- /graph -->)", re.DOTALL)


def rendered() -> dict[str, str]:
    """The files that are derived from contracts alone: path below the repository -> text."""
    from catalunya.assets.graph.discovery import contracts
    from catalunya.contracts.model.derive import render

    return render(contracts())


def graph_now(settings: Settings) -> dict[str, Any]:
    """docs/graph.json as it should be now. Raises ConfigurationError without dbt, which knows the edges of the marts."""
    from catalunya.assets.graph.discovery import contracts, load_graph, retired
    from catalunya.assets.graph.document import graph_document
    from catalunya.io.warehouse.dbt import is_installed

    if not is_installed():
        raise ConfigurationError(
            "dbt is not installed in this environment, and the graph cannot be read without it (dbt parses the SQL of the marts); "
            "run `make setup`"
        )
    return graph_document(load_graph(settings), contracts(), retired())


def lineage_now(settings: Settings, root: Path) -> str:
    """assets/lineage.json as it should be now; what it has below `root` is kept for tables whose code is the same."""
    from catalunya.assets.graph.discovery import declarations, load_graph
    from catalunya.assets.graph.lineage_document import lineage_text

    return lineage_text(load_graph(settings), declarations(), settings, root)


def readme(text: str, graph: AssetGraph) -> str:
    """The README with the picture of the graph as it should be now. Raises ConfigurationError when it has no place for one."""
    if not _PICTURE.search(text):
        raise ConfigurationError(
            f"{README} has no place for the picture of the graph: expected the line <!-- graph: written by `make generate` --> "
            "and, further down, <!-- /graph -->; put both back"
        )
    return _PICTURE.sub(lambda found: f"{found[1]}```mermaid\n{picture(graph)}\n```\n{found[2]}", text)


def picture(graph: AssetGraph) -> str:
    """The graph as a Mermaid flowchart that stays readable as tables are added.

    A landing table that only the staging table of the same name reads is left out, and so is an edge that other edges imply.
    `catalunya lineage --format mermaid` draws all of them.
    """
    from catalunya.ops.lineage_view import Edge, mermaid

    assets = [
        asset
        for asset in graph
        if asset.layer is not Layer.LANDING or [down.name for down in graph.downstream(asset.key)] != [asset.name]
    ]
    shown = {asset.key for asset in assets}
    edges = [
        Edge(up, asset.key, up in asset.optional)
        for asset in assets
        for up in asset.upstream
        if up in shown and not any(up in _above(graph, asset, up, other) for other in asset.upstream)
    ]
    return mermaid(assets, edges)


def _above(graph: AssetGraph, asset: Asset, up: str, other: str) -> set[str]:
    """What the edge from `other` implies: a required table is not implied by an optional one."""
    if up in asset.optional:
        return graph.ancestors(other)
    return graph.required(other) if other not in asset.optional else set()


def write(root: Path) -> list[Path]:
    """Write the files that are out of date below `root`. Returns those that changed."""
    from catalunya.assets.graph.column_lineage import LINEAGE_FILE
    from catalunya.assets.graph.discovery import load_graph
    from catalunya.assets.graph.document import GRAPH_FILE, text
    from catalunya.io.environment import load_settings

    is_ours = active().is_ours
    pages = rendered() | (_pages(root) if is_ours else {})
    changed = [path for name, content in pages.items() if (path := _written(root / name, content))]
    # Only now: dbt reads the YAML that was just written, and the graph depends on what dbt finds.
    settings = load_settings()
    drawn = {GRAPH_FILE: text(graph_now(settings)), LINEAGE_FILE: lineage_now(settings, root)}
    if is_ours:
        drawn[README] = readme((root / README).read_text(encoding="utf-8"), load_graph(settings))
    return [*changed, *(path for name, content in drawn.items() if (path := _written(root / name, content)))]


def paths() -> list[str]:
    """The files that `write` may write, below the repository or another project."""
    from catalunya.assets.graph.column_lineage import LINEAGE_FILE
    from catalunya.assets.graph.document import GRAPH_FILE
    from catalunya.contracts.model.derive import DICTIONARY, MODELS, SOURCES

    ours = []
    if active().is_ours:
        from catalunya.cdk import access, context
        from catalunya.ops.settings_page import PAGE

        ours = [README, PAGE, access.PAGE, context.PAGE]
    return [SOURCES, MODELS, DICTIONARY, GRAPH_FILE, LINEAGE_FILE, *ours]


def _pages(root: Path) -> dict[str, str]:
    """The pages about the engine."""
    from catalunya.cdk import access, context
    from catalunya.ops.settings_page import PAGE, settings_page

    return {
        PAGE: settings_page(),
        access.PAGE: access.access_page(root),
        context.PAGE: context.context_page(root),
    }


def _written(path: Path, content: str) -> Path | None:
    """Write a file if its content differs; returns its path if it did."""
    if path.exists() and path.read_text(encoding="utf-8") == content:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def main() -> int:
    """Write below the current folder, or that of another project, and print what changed. Returns the exit code."""
    from rich.console import Console

    gc.set_threshold(200_000, 20, 20)  # as for any command: a fifth of its time
    try:
        project = active()
        changed = write(Path.cwd() if project.is_ours else project.folder)
    except CatalunyaError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    Console().print("\n".join(f"written: {path}" for path in changed) or "everything generated is up to date")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python would look for garbage in all that dbt imports, for a second
