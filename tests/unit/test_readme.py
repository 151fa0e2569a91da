"""What the README shows is real: its picture of the graph, its excerpts and its make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalunya.assets.graph.discovery import load_graph
from catalunya.assets.graph.graph import AssetGraph
from catalunya.io.environment import load_settings
from catalunya.io.errors import ConfigurationError
from catalunya.ops.generate import picture, readme

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXCERPTS = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def graph(compiled: Path) -> AssetGraph:
    return load_graph(load_settings(cache=compiled))


@pytest.mark.parametrize(("name", "excerpt"), EXCERPTS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(EXCERPTS)])
def test_an_excerpt_is_in_the_file_it_is_from(name: str, excerpt: str) -> None:
    assert excerpt.strip("\n") in (ROOT / name).read_text()


def test_the_picture_is_of_the_graph_as_it_is_today(graph: AssetGraph) -> None:
    assert readme(README, graph) == README, "README.md is out of date: run make generate"


def test_the_picture_has_every_table_except_landing_tables_with_one_reader_of_the_same_name(graph: AssetGraph) -> None:
    drawn = set(re.findall(r"^    (\w+)\[", picture(graph), flags=re.MULTILINE))
    missing = {asset.key for asset in graph if asset.key.replace(".", "_") not in drawn}
    assert missing == {
        asset.key
        for asset in graph.select("layer:landing")
        if [reader.name for reader in graph.downstream(asset.key)] == [asset.name]
    }


def test_the_edges_that_are_left_out_follow_from_those_that_are_drawn(graph: AssetGraph) -> None:
    edges = re.findall(r"^  (\w+) -(?:-|\.-)> (\w+)$", picture(graph), flags=re.MULTILINE)
    above: dict[str, set[str]] = {}
    for up, down in edges:  # in dependency order
        above.setdefault(down, set()).update({up}, above.get(up, set()))
    for asset in graph:
        expected = {key.replace(".", "_") for key in graph.ancestors(asset.key) if not key.startswith("landing.")}
        assert above.get(asset.key.replace(".", "_"), set()) == expected


def test_a_readme_without_a_place_for_the_picture_is_refused(graph: AssetGraph) -> None:
    with pytest.raises(ConfigurationError, match="no place for the picture"):
        readme("# Something else", graph)


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", README, flags=re.MULTILINE)) <= targets


def test_it_stays_under_200_lines_whatever_the_size_of_the_picture() -> None:
    assert len(re.sub(r"```mermaid\n.*?```", "", README, flags=re.DOTALL).splitlines()) < 200
