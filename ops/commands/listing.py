"""`ls`, `lineage` and `plan`: what the graph and the ledger say, without making or reading a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from catalunya.assets.record.project import Project
from catalunya.ops import console
from catalunya.ops.commands.options import AsJson, Force, Key, Select, selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from catalunya.assets.graph.graph import AssetGraph
    from catalunya.assets.graph.spec import Asset
    from catalunya.assets.record.state import Stale


def ls(*select: Select, as_json: AsJson = False) -> None:
    """List the assets."""
    assets = Project().graph.select(selection(select))
    if as_json:
        console.emit_json([_described(asset) for asset in assets])
        return
    rows = [
        (a.key, _schedule(a), a.source if a.schedule else "", console.first_sentence(a.description)) for a in assets
    ]
    console.table(["asset", "made (UTC)", "source", "what"], rows)


def lineage(
    key: Key | None = None,
    *,
    format: Annotated[Literal["text", "mermaid", "json"], Parameter(help="How it is drawn.")] = "text",  # noqa: A002
    as_json: AsJson = False,
) -> None:
    """Show which asset is made from which: all, or what one depends on and what depends on it."""
    graph = Project().graph
    keys = (
        {asset.key for asset in graph}
        if key is None
        else {graph[key].key, *graph.ancestors(key), *graph.descendants(key)}
    )
    assets = [asset for asset in graph if asset.key in keys]
    edges = [(up, asset.key) for asset in assets for up in asset.upstream if up in keys]
    if as_json or format == "json":
        nodes = [{"key": a.key, "layer": a.layer, "description": a.description} for a in assets]
        console.emit_json({"nodes": nodes, "edges": [{"from": up, "to": down} for up, down in edges]})
    elif format == "mermaid":
        console.say(mermaid(assets, edges))
    else:
        _draw(graph, assets, key)


def plan(*select: Select, force: Force = False, as_json: AsJson = False) -> None:
    """Show what materialize would do, and why. Nothing is touched, no source is asked."""
    from catalunya.assets.making import plan as planning

    project = Project()
    show_steps(planning.plan(project.state(), project.graph.select(selection(select)), force=force), as_json=as_json)


def show_steps(steps: Sequence[Stale], *, as_json: bool) -> None:
    """A plan as a table, or as JSON."""
    if as_json:
        console.emit_json([{"asset": step.key, "reason": step.reason, "why": step.why} for step in steps])
    elif not steps:
        console.say("everything is up to date")
    else:
        console.table(["asset", "reason", "why"], [(step.key, step.reason, step.why) for step in steps])


def _described(asset: Asset) -> dict[str, object]:
    return {
        "key": asset.key,
        "layer": asset.layer,
        "description": asset.description,
        "uri": asset.uri,
        "source": asset.source,
        "schedule": asset.schedule,
        "upstream": asset.upstream,
        "partition_by": asset.partition_by,
        "columns": len(asset.columns),
        "code_version": asset.code_version,
        "declared_in": asset.module,
    }


def _schedule(asset: Asset) -> str:
    if asset.schedule:
        return asset.schedule
    return ", ".join([*(["on change"] if asset.upstream else []), *([f"each {asset.clock}"] if asset.clock else [])])


def mermaid(assets: list[Asset], edges: list[tuple[str, str]]) -> str:
    """A flowchart with one box per layer, for a README."""
    lines = ["flowchart LR"]
    for layer in dict.fromkeys(sorted((a.layer for a in assets), key=["landing", "staging", "marts"].index)):
        lines.append(f"  subgraph {layer}")
        lines += [f'    {_node(a.key)}["{a.name}"]' for a in assets if a.layer is layer]
        lines.append("  end")
    lines += [f"  {_node(up)} --> {_node(down)}" for up, down in edges]
    return "\n".join(lines)


def _node(key: str) -> str:
    return key.replace(".", "_")


def _draw(graph: AssetGraph, assets: list[Asset], key: str | None) -> None:
    """Trees: downstream from every root, or up and down from one asset. What was drawn above is not drawn again."""
    from rich.text import Text
    from rich.tree import Tree

    def label(at: str, more: str = "") -> Text:
        return Text(at, style=console.STYLES[graph[at].layer]) + Text(more, style="dim")

    def grow(tree: Tree, at: str, upwards: bool, seen: set[str]) -> None:
        for near in graph.upstream(at) if upwards else graph.downstream(at):
            again = near.key in seen
            more = bool(graph.upstream(near.key) if upwards else graph.downstream(near.key))
            seen.add(near.key)
            branch = tree.add(label(near.key, " (see above)" if again and more else ""))
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
        console.console().print(label(key, " stands alone: it reads no asset and none reads it"))
