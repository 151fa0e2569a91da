"""The lineage page: where all data come from and what is made of them, as a picture and as a list.

Sources are whom the project reads from, by the host of their API. Here: which boxes and lines there are, from the graph. Not here: where they are
(`lineage_layout.py`), columns of tables (`assets/graph/column_lineage.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.graph.titles import title_of
from catalunya.io.base_url import host_of
from catalunya.io.safe_text import legible
from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.lineage_layout import Edge, Layout, Node, lineage_layout
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site

PATH = "lineage"
SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Step:
    """A layer of the picture: its name, its first column, and how many tables it has."""

    name: str
    column: int
    count: int


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        columns = columns_of(site.graph)
        for code in site.languages:
            language = Language(code)
            found = picture(site.graph, columns, code)
            body = render_page(
                site,
                language,
                PATH,
                "lineage.html",
                title=language.t("lineage.title"),
                description=language.t("lineage.intro"),
                picture=found,
                steps=steps(found),
                layers=[
                    (layer, [each for each in site.published if each.layer is layer])
                    for layer in (Layer.MARTS, Layer.STAGING)
                ],
            )
            yield File(site.page(code, PATH), body)

    yield Part(PATH, {asset.key: _version(asset) for asset in site.graph}, files)


def columns_of(graph: AssetGraph) -> dict[str, int]:
    """The column of each table, from the left: layer by layer; in a layer, a table is right of those of its layer that it reads."""
    depth: dict[str, int] = {}
    for asset in graph:
        own = [depth[up.key] + 1 for up in graph.upstream(asset.key) if up.layer is asset.layer]
        depth[asset.key] = max(own, default=0)
    start, found = int(any(sources(graph).values())), dict[str, int]()
    for layer in Layer:
        of_layer = [asset.key for asset in graph if asset.layer is layer]
        found |= {key: start + depth[key] for key in of_layer}
        start += max((depth[key] + 1 for key in of_layer), default=0)
    return found


def sources(graph: AssetGraph) -> dict[str, str]:
    """The host that each landing table is read from; "" if it is read from none."""
    return {asset.key: host_of(asset.portal or "") for asset in graph if asset.layer is Layer.LANDING}


def picture(graph: AssetGraph, columns: dict[str, int], code: str) -> Layout:
    """The whole picture, with its titles in a language."""
    hosts = sources(graph)
    nodes = [Node(host, legible(host), SOURCE, 0) for host in dict.fromkeys(hosts.values()) if host]
    nodes += [Node(asset.key, legible(title_of(asset.key, code)), asset.layer, columns[asset.key]) for asset in graph]
    edges = [Edge(host, key) for key, host in hosts.items() if host]
    edges += [Edge(up, asset.key, up in asset.optional) for asset in graph for up in asset.upstream]
    return lineage_layout(nodes, edges)


def steps(found: Layout) -> list[Step]:
    """The layers of a picture, from the left."""
    names = dict.fromkeys(box.node.kind for box in found.boxes)
    of = {name: [box.node.column for box in found.boxes if box.node.kind == name] for name in names}
    return sorted((Step(name, min(of[name]), len(of[name])) for name in names), key=lambda step: step.column)


def _version(asset: Asset) -> str:
    return f"{asset.portal} {asset.source} {asset.upstream} {asset.optional}"
