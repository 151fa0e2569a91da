"""Lineage of tables and of columns on a terminal: trees in both directions, Mermaid, JSON, and a column's sources in a few words.

Here: how it looks. Not here: what a column is made from (`assets/graph/column_lineage.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.io.safe_text import few
from catalunya.ops import console

if TYPE_CHECKING:
    from rich.tree import Tree

    from catalunya.assets.graph.column_lineage import ColumnConsumer, ColumnLineage, ColumnMade, ColumnSource
    from catalunya.assets.graph.graph import AssetGraph

_SHORT = 2


class Edge(NamedTuple):
    """One table reads another: `down` is made from `up`, or without it if that is optional."""

    up: str
    down: str
    is_optional: bool


def mermaid(assets: list[Asset], edges: list[Edge]) -> str:
    """A Mermaid flowchart with one box per layer. What is optional has a dotted arrow."""

    def node(key: str) -> str:
        return key.replace(".", "_")

    lines = ["flowchart LR"]
    for layer in dict.fromkeys(sorted((a.layer for a in assets), key=["landing", "staging", "marts"].index)):
        lines.append(f"  subgraph {layer}")
        lines += [f'    {node(a.key)}["{a.name}"]' for a in assets if a.layer is layer]
        lines.append("  end")
    lines += [f"  {node(edge.up)} {'-.->' if edge.is_optional else '-->'} {node(edge.down)}" for edge in edges]
    return "\n".join(lines)


def draw(graph: AssetGraph, assets: list[Asset], key: str | None) -> None:
    """Trees: downstream from every root, or both ways from one asset. A repeated branch is not drawn again."""
    from rich.text import Text
    from rich.tree import Tree

    def label(at: str, more: str = "") -> Text:
        return Text(at, style=console.STYLES[graph[at].layer]) + Text(more, style="dim")

    def grow(tree: Tree, at: str, upwards: bool, seen: set[str]) -> None:
        for near in graph.upstream(at) if upwards else graph.downstream(at):
            again = near.key in seen
            more = bool(graph.upstream(near.key) if upwards else graph.downstream(near.key))
            seen.add(near.key)
            reader, read = (graph[at], near) if upwards else (near, graph[at])
            notes = [*(["optional"] if read.key in reader.optional else []), *(["see above"] if again and more else [])]
            branch = tree.add(label(near.key, f" ({', '.join(notes)})" if notes else ""))
            if not again:
                grow(branch, near.key, upwards, seen)

    if key is None:
        seen: set[str] = set()
        for root in (asset for asset in assets if not asset.upstream):
            tree = Tree(label(root.key))
            grow(tree, root.key, False, seen)
            console.console().print(tree)
        return
    for upwards, title in ((True, "is made from"), (False, "is read by")):
        if graph.upstream(key) if upwards else graph.downstream(key):
            tree = Tree(label(key, f" {title}"))
            grow(tree, key, upwards, set())
            console.console().print(tree)
    if len(assets) == 1:
        console.console().print(label(key, " has no upstream and no downstream"))


def show_column(lineage: ColumnLineage, key: str, column: str, form: Literal["text", "mermaid", "json"]) -> None:
    """Print what a column is made from, and which columns are made from it."""
    if form == "json":
        console.emit_json(document(lineage, key, column))
    elif form == "mermaid":
        console.say(_mermaid_of_column(lineage, key, column))
    else:
        _draw_column(lineage, key, column)


def document(lineage: ColumnLineage, key: str, column: str) -> dict[str, Any]:
    """A column's lineage as plain data: direct sources and consumers, the fields of the sources, everything downstream."""
    return {
        "asset": key,
        "column": column,
        "is_known": lineage.is_known(key),
        **described(lineage.made(key, column)),
        "fields": [_plain(field) for field in lineage.fields(key, column)],
        "consumers": [_plain(consumer) for consumer in lineage.column_consumers(key, column)],
        "downstream": [_plain(consumer) for consumer in lineage.consumers_of(key, column)],
        "rows_decided_by": [_plain(source) for source in lineage.row_sources(key)],
        "decides_rows_of": list(lineage.row_consumers_of(key, column)),
    }


def described(made: ColumnMade) -> dict[str, Any]:
    """What one column is made from directly, as plain data."""
    return {
        "sources": [_plain(source) for source in made.sources],
        "origins": [{"kind": origin.kind, "name": origin.name} for origin in made.origins],
    }


def in_short(made: ColumnMade) -> str:
    """The same in a few words: `gdp.figure`, `a constant`."""
    named = [f"{source.asset.partition('.')[2]}.{source.column}" for source in _first(made)]
    if not named:
        return "; ".join(str(origin) for origin in made.origins[:_SHORT])
    return few(named, _SHORT)


def _first(made: ColumnMade) -> list[ColumnSource]:
    """The columns whose values it has; if it has none, those that decide which value it gets."""
    return [source for source in made.sources if source.how != "condition"] or list(made.sources)


def _plain(one: ColumnSource | ColumnConsumer) -> dict[str, str]:
    return {"asset": one.asset, "column": one.column, "how": one.how}


def _draw_column(lineage: ColumnLineage, key: str, column: str) -> None:
    from rich.text import Text
    from rich.tree import Tree

    def label(asset: str, name: str, note: str = "") -> Text:
        field = f" (field of {lineage.graph[asset].source})" if asset.startswith(f"{Layer.LANDING}.") else ""
        text = Text(f"{asset}.{name}", style=console.STYLES[lineage.graph[asset].layer])
        return text + Text("".join([f", {note}" if note else "", field]), style="dim")

    def up(tree: Tree, asset: str, name: str, seen: set[tuple[str, str]]) -> None:
        made = lineage.made(asset, name)
        for source in made.sources:
            again = (source.asset, source.column) in seen and bool(lineage.column_sources(source.asset, source.column))
            seen.add((source.asset, source.column))
            branch = tree.add(label(source.asset, source.column, _note(source.how, again)))
            if not again:
                up(branch, source.asset, source.column, seen)
        for origin in made.origins:
            tree.add(Text(str(origin), style="dim"))

    def down(tree: Tree, asset: str, name: str, seen: set[tuple[str, str]]) -> None:
        for consumer in lineage.column_consumers(asset, name):
            at = (consumer.asset, consumer.column)
            again = at in seen and bool(lineage.column_consumers(*at))
            seen.add(at)
            branch = tree.add(label(consumer.asset, consumer.column, _note(consumer.how, again)))
            if not again:
                down(branch, consumer.asset, consumer.column, seen)

    target = console.console()
    if not lineage.is_known(key):
        console.say(
            f"the code of {key} has changed since its columns were read; `make generate` reads them again",
            style="yellow",
        )
    made = lineage.made(key, column)
    if made.sources or made.origins:
        tree = Tree(label(key, column) + Text(" is made from"))
        up(tree, key, column, set())
        target.print(tree)
    if lineage.column_consumers(key, column):
        tree = Tree(label(key, column) + Text(" is read into"))
        down(tree, key, column, set())
        target.print(tree)
    elif not made.sources and not made.origins:
        target.print(label(key, column) + Text(" is read into no column"))
    if decided := lineage.row_sources(key):
        console.say(f"which rows {key} has: {', '.join(map(str, decided))}", style="dim")
    if decides := lineage.row_consumers_of(key, column):
        console.say(f"it also decides which rows there are in {', '.join(decides)}", style="dim")


def _note(how: str, again: bool) -> str:
    return ", ".join(filter(None, ["" if how == "identity" else how, "see above" if again else ""]))


def _mermaid_of_column(lineage: ColumnLineage, key: str, column: str) -> str:
    """A flowchart of everything upstream and downstream of one column; what only decides which value it gets has a dotted arrow."""
    edges: dict[tuple[tuple[str, str], tuple[str, str]], str] = {}
    waiting, seen = [((key, column), True), ((key, column), False)], set[tuple[tuple[str, str], bool]]()
    while waiting:
        at, upwards = waiting.pop()
        if (at, upwards) in seen:
            continue
        seen.add((at, upwards))
        for near in lineage.column_sources(*at) if upwards else lineage.column_consumers(*at):
            to = (near.asset, near.column)
            edges[(to, at) if upwards else (at, to)] = near.how
            waiting.append((to, upwards))
    nodes = sorted({(key, column), *(node for edge in edges for node in edge)})
    names = {node: f"c{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for number, asset in enumerate(asset.key for asset in lineage.graph):
        own = [node for node in nodes if node[0] == asset]
        if own:
            lines.append(f'  subgraph t{number}["{asset}"]')
            lines += [f'    {names[node]}["{_escaped(node[1])}"]' for node in own]
            lines.append("  end")
    lines += [
        f"  {names[start]} {'-.->' if how == 'condition' else '-->'} {names[end]}"
        for (start, end), how in sorted(edges.items())
    ]
    return "\n".join(lines)


def _escaped(name: str) -> str:
    return name.replace('"', "#quot;")
