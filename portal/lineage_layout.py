"""Where the boxes and lines of a whole lineage are: columns from left to right, boxes in an order in which few lines cross.

The classic way for layered graphs (Sugiyama): a line that passes a column has a place of its own there, each column is sorted by where its neighbors
are, again and again, and the order with the fewest crossings is kept. The same graph always gives the same picture. Here: units of about a CSS
pixel. Not here: which tables there are (`lineage_page.py`), the picture of one table (`lineage_picture.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from catalunya.portal.lineage_picture import BETWEEN, GAP, LINE, PADDING, WIDTH, wrapped

TOP = 28
"""The space for the headings of columns."""
SWEEPS = 12
_PASSING = 4
"""The height of the place of a line that passes a column."""
Point = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """One box to place. `kind`: what it is, a class of the style sheet; `column`: from the left, from 0."""

    key: str
    title: str
    kind: str
    column: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A line to draw, from a node to one in a column further right."""

    start: str
    end: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """A box in the picture, its title in lines."""

    node: Node
    x: int
    y: int
    height: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacedEdge:
    """A line in the picture, as the path of SVG."""

    edge: Edge
    path: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole picture. `columns`: where each column begins."""

    width: int
    height: int
    columns: tuple[int, ...]
    boxes: tuple[PlacedBox, ...]
    edges: tuple[PlacedEdge, ...]


Columns = list[list[str]]
Links = Mapping[str, Collection[str]]


def lineage_layout(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layout:
    """Place these boxes and lines. Every column up to the last should have a node."""
    by_key = {node.key: node for node in nodes}
    columns: Columns = [[] for _ in range(max((node.column for node in nodes), default=-1) + 1)]
    for node in nodes:
        columns[node.column].append(node.key)
    ways = {edge: _way(edge, by_key) for edge in edges}
    for way in ways.values():
        for at, place in enumerate(way[1:-1], by_key[way[0]].column + 1):
            columns[at].append(place)
    before: dict[str, dict[str, None]] = {}
    after: dict[str, dict[str, None]] = {}
    for way in ways.values():
        for left, right in pairwise(way):
            after.setdefault(left, {})[right] = None
            before.setdefault(right, {})[left] = None
    columns = _ordered([list(dict.fromkeys(column)) for column in columns], before, after)
    lines = {node.key: wrapped(node.title) for node in nodes}
    heights = {key: len(text) * LINE + 2 * PADDING for key, text in lines.items()}
    middles = _middles(columns, heights, before, after)
    left_of = [1 + at * (WIDTH + GAP) for at in range(len(columns))]
    boxes = [
        PlacedBox(
            node,
            left_of[node.column],
            middles[node.key] - heights[node.key] // 2,
            heights[node.key],
            tuple(lines[node.key]),
        )
        for node in nodes
    ]
    placed = [PlacedEdge(edge, _path(way, by_key[edge.start].column, left_of, middles)) for edge, way in ways.items()]
    bottom = max((box.y + box.height for box in boxes), default=TOP)
    width = left_of[-1] + WIDTH + 1 if left_of else 0
    return Layout(
        width, max([bottom, *middles.values()]) + 2 if boxes else 0, tuple(left_of), tuple(boxes), tuple(placed)
    )


def _way(edge: Edge, nodes: Mapping[str, Node]) -> list[str]:
    """The nodes of a line, with a place in each column that it passes."""
    passed = range(nodes[edge.start].column + 1, nodes[edge.end].column)
    # Lines from one node that pass a column together have one place: they part where they must.
    return [edge.start, *(f"{edge.start}\0{column}" for column in passed), edge.end]


def _ordered(columns: Columns, before: Links, after: Links) -> Columns:
    """The columns, each in the order with which the fewest lines cross, of those tried."""
    best, fewest = columns, _crossings(columns, after)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        columns = [list(column) for column in columns]
        for at in range(1, len(columns)) if forward else range(len(columns) - 2, -1, -1):
            beside = {key: place for place, key in enumerate(columns[at - 1 if forward else at + 1])}
            links = before if forward else after
            wanted = {
                key: _mean([beside[each] for each in links.get(key, ())], place)
                for place, key in enumerate(columns[at])
            }
            columns[at].sort(key=wanted.__getitem__)
        crossings = _crossings(columns, after)
        if crossings < fewest:
            best, fewest = columns, crossings
    return best


def _crossings(columns: Columns, after: Links) -> int:
    place = {key: at for column in columns for at, key in enumerate(column)}
    lines = [[(place[key], place[end]) for key in column for end in after.get(key, ())] for column in columns]
    return sum((a - c) * (b - d) < 0 for found in lines for (a, b), (c, d) in combinations(found, 2))


def _middles(columns: Columns, heights: Mapping[str, int], before: Links, after: Links) -> dict[str, int]:
    """The middle of each place: near its neighbors, in the order of its column, with space between."""
    found: dict[str, float] = {}
    for column in columns:
        found |= _stacked(column, heights, dict.fromkeys(column, 0.0))
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            near = {key: [found[each] for each in (*before.get(key, ()), *after.get(key, ()))] for key in column}
            found |= _stacked(column, heights, {key: _mean(near[key], found[key]) for key in column})
    return {key: round(middle) for key, middle in found.items()}


def _stacked(column: Sequence[str], heights: Mapping[str, int], wanted: Mapping[str, float]) -> dict[str, float]:
    """The middles of a column in its order, as near as possible to those wanted on average."""
    found: dict[str, float] = {}
    below = 0.0
    for key in column:
        half = heights.get(key, _PASSING) / 2
        found[key] = max(wanted[key], below + half)
        below = found[key] + half + BETWEEN
    shift = _mean([wanted[key] - found[key] for key in column], 0)
    highest = min((found[key] - heights.get(key, _PASSING) / 2 for key in column), default=0)
    shift = max(shift, TOP - highest)
    return {key: middle + shift for key, middle in found.items()}


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _path(way: Sequence[str], column: int, left_of: Sequence[int], middles: Mapping[str, int]) -> str:
    """Curves between the columns, straight through them."""
    y = middles[way[0]]
    found = [f"M{left_of[column] + WIDTH} {y}"]
    for at, place in enumerate(way[1:], column + 1):
        x, to = left_of[at], middles[place]
        found.append(f"C{x - GAP // 2} {y} {x - GAP // 2} {to} {x} {to}")
        y = to
        if place != way[-1]:
            found.append(f"H{x + WIDTH}")
    return "".join(found)
