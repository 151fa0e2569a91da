"""What the stacks are made of: graph and template agree in both directions, and nothing is open, endless or unwatched."""

from __future__ import annotations

from catalunya.assets.graph import AssetGraph
from small.templates import Template


def test_each_staging_asset_has_its_table_and_nothing_else_has(graph: AssetGraph, template: Template) -> None:
    tables = template.of("Custom::StagingTable").values()

    assert {table["TableInput"]["Name"] for table in tables} == {asset.name for asset in graph.select("layer:staging")}
