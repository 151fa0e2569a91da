"""The lineage page: every table and line is in the picture and in the list, no box covers another, few lines cross, with any graph."""

from __future__ import annotations

import re
from html import unescape
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset
from catalunya.assets.record.project import Project
from catalunya.contracts.model.columns import Column
from catalunya.io.environment import Settings
from catalunya.ops.watching.findings import Board
from catalunya.portal.declaration import Declaration
from catalunya.portal.lineage_layout import Edge, Layout, Node, lineage_layout
from catalunya.portal.lineage_page import columns_of, parts, picture, steps
from catalunya.portal.site import Site, read_site
from small.shops import declare


def covered(found: Layout) -> list[tuple[str, str]]:
    """The pairs of boxes that touch."""
    return [
        (a.node.key, b.node.key)
        for a, b in combinations(found.boxes, 2)
        if a.x == b.x and a.y < b.y + b.height and b.y < a.y + a.height
    ]


def graph(*edges: tuple[str, str]) -> AssetGraph:
    """A graph of tables with nothing but these edges."""
    keys = dict.fromkeys(key for edge in edges for key in edge)
    column = Column(name="a", type="string", description="A", nullable=False)
    return AssetGraph(
        Asset(
            key=key,
            description="A table",
            columns=(column,),
            code_version="1",
            upstream=tuple(up for up, down in edges if down == key),
        )
        for key in keys
    )


def html(site: Site, language: str) -> str:
    (part,) = parts(site)
    (found,) = [file for file in part.files() if file.path == f"{language}/lineage.html"]
    assert isinstance(found.body, bytes)
    return found.body.decode()


@pytest.fixture
def site(settings: Settings, compiled: Path) -> Site:
    return read_site(Project(settings.model_copy(update={"cache": compiled})))


@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_the_page_has_every_table_and_every_line_twice(site: Site, language: str) -> None:
    page = html(site, language)
    svg, listed = page.split("</main>")[0].split('id="list"')
    edges = sum(len(asset.upstream) for asset in site.graph)
    for asset in site.published:
        assert f'href="table/{asset.key}.html"' in svg
        assert f'href="table/{asset.key}.html"' in listed
    sources = sum(1 for asset in site.graph if asset.portal)
    assert svg.count('<path class="edge') - svg.count('class="edge optional" d="M1 8H25"') == edges + sources
    used = [each for asset in site.published for each in (*asset.upstream, *site.graph.downstream(asset.key))]
    calculated = [asset for asset in site.published if not asset.upstream]
    assert listed.count("<dd>") == len(used) + len(calculated)


def test_the_layers_of_the_project_are_columns_from_the_sources_to_the_marts(site: Site) -> None:
    found = picture(site.graph, columns_of(site.graph), "en")
    assert [step.name for step in steps(found)] == ["source", "landing", "staging", "marts"]
    at = {box.node.key: box.x for box in found.boxes}
    assert all(at[up] < at[asset.key] for asset in site.graph for up in asset.upstream)
    assert covered(found) == []
    assert all(box.x + 204 <= found.width and box.y + box.height <= found.height for box in found.boxes)


def test_lines_are_untangled_where_they_can_be() -> None:
    reversed_pairs = [(f"landing.l{number}", f"staging.s{9 - number}") for number in range(10)]
    made = graph(*reversed_pairs, ("staging.s9", "marts.dim_a"), ("landing.l5", "staging.s9"))
    found = picture(made, columns_of(made), "en")
    y = {box.node.key: box.y for box in found.boxes}
    pairs = [(up, asset.key) for asset in made for up in asset.upstream if asset.layer == "staging"]
    crossing = [(a, b) for a, b in combinations(pairs, 2) if (y[a[0]] - y[b[0]]) * (y[a[1]] - y[b[1]]) < 0]
    assert len(crossing) <= 1, "all lines cross each other in the order in which the tables are declared"


def test_without_hosts_there_is_no_column_of_sources() -> None:
    made = graph(("landing.l", "staging.s"))
    assert [step.name for step in steps(picture(made, columns_of(made), "en"))] == ["landing", "staging"]
    assert min(columns_of(made).values()) == 0


def test_a_project_with_one_table_or_none_has_a_page(settings: Settings, tmp_path: Path) -> None:
    assert lineage_layout([], []) == Layout(0, 0, (), (), ())
    project = Project(settings, declare(tmp_path / "source")[1])
    site = Site(project, Declaration(("en",)), project.state(), Board(), "http://localhost")
    page = html(site, "en")
    assert "staging.shops" in page
    nothing = Project(settings, [])
    assert "Where the data come from" in html(Site(nothing, Declaration(("en",)), nothing.state(), Board(), ""), "en")


def test_hostile_names_are_only_text() -> None:
    evil = "<script>alert(1)</script>\"'&{{ 7*7 }}"
    found = lineage_layout([Node("a", evil, "staging", 0), Node("b", "b", "marts", 2)], [Edge("a", "b")])
    assert "".join(found.boxes[0].lines).startswith("<script>"), (
        "the template escapes it: test_the_titles_of_tables_are_escaped"
    )


def test_the_titles_of_tables_are_escaped(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets/project.toml").write_text('name = "other"\ntitle = "Other"\nqualifier = "o"\n[portals]\n')
    title = "<script>alert(1)</script>\\\"'&{{ 7*7 }}"
    (folder / "assets/titles.toml").write_text(f'["staging.shops"]\nen = "{title}"\n', encoding="utf-8")
    monkeypatch.setenv("CATALUNYA_PROJECT", str(folder))
    project = Project(settings, declare(tmp_path / "source")[1])
    page = html(Site(project, Declaration(("en",)), project.state(), Board(), "http://localhost"), "en")
    assert "<script>alert" not in page
    assert "{{ 7*7 }}" in unescape(page)


def test_the_page_moves_with_the_graph_and_with_nothing_else(settings: Settings, tmp_path: Path) -> None:
    _, declared = declare(tmp_path / "source")
    versions = []
    for these in (declared, declared, declared[:2]):
        project = Project(settings, these)
        (part,) = parts(Site(project, Declaration(("en",)), project.state(), Board(), ""))
        versions.append(dict(part.made_from))
    assert versions[0] == versions[1] != versions[2]


@st.composite
def layered(draw: st.DrawFn) -> tuple[list[Node], list[Edge]]:
    """Up to fifty boxes in up to six columns, lines from left to right."""
    columns = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    nodes = [Node(f"{at}.{n}", "a title " * n, "marts", at) for at, count in enumerate(columns) for n in range(count)]
    pairs = [(a.key, b.key) for a in nodes for b in nodes if a.column < b.column]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=40)) if pairs else []
    return nodes, [Edge(*pair) for pair in chosen]


@given(layered())
def test_in_any_graph_no_box_covers_another_and_each_line_joins_its_boxes(made: tuple[list[Node], list[Edge]]) -> None:
    nodes, edges = made
    found = lineage_layout(nodes, edges)
    assert covered(found) == []
    assert {box.node.key for box in found.boxes} == {node.key for node in nodes}
    assert all(box.y >= 0 and box.y + box.height <= found.height for box in found.boxes)
    boxes = {box.node.key: box for box in found.boxes}
    for each in found.edges:
        numbers = [int(text) for text in re.findall(r"-?\d+", each.path)]
        start, end = boxes[each.edge.start], boxes[each.edge.end]
        assert numbers[:2] == [start.x + 204, start.y + start.height // 2]
        assert numbers[-2:] == [end.x, end.y + end.height // 2]
    assert lineage_layout(nodes, edges) == found, "the same graph gives the same picture"
