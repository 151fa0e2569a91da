"""The lineage of one table as a picture: what it is made from on the left, what is made from it on the right.

Here: where boxes and lines are, in units of about a CSS pixel. Colors and fonts are the style sheet's. Not here: the list with the same tables and
their links, which a page puts below (`templates/table.html`), the lineage of the whole graph (`lineage_page.py`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

WIDTH, GAP, BETWEEN = 204, 52, 12
"""The width of a box, of the space between columns, of the space between boxes of a column."""
LETTERS, LINES, LINE, PADDING = 27, 3, 16, 9
MOST = 8
"""Boxes of a column; if there are more, the last one says how many."""
Kind = Literal["source", "staging", "marts", "here", "more"]


@dataclass(frozen=True, slots=True)
class Node:
    """A table to draw."""

    title: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Box:
    """A table in the picture, its title in lines."""

    x: int
    y: int
    height: int
    lines: tuple[str, ...]
    kind: Kind

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole picture. `lines`: each from (x, y) to (x, y)."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[tuple[int, int, int, int], ...]


def lineage_picture(here: str, upstream: Sequence[Node], downstream: Sequence[Node], more: str) -> Picture:
    """The picture of a table called `here`. `more` has an `{n}`: it stands for the tables for which there is no place."""
    columns = [column for column in (_few(upstream, more), [Node(here, "here")], _few(downstream, more)) if column]
    height = max(sum(map(_height, column)) + BETWEEN * (len(column) - 1) for column in columns) + 2
    placed = [_placed(column, 1 + number * (WIDTH + GAP), height) for number, column in enumerate(columns)]
    lines = [
        (left.x + WIDTH, left.middle, right.x, right.middle)
        for before, after in pairwise(placed)
        for left in before
        for right in after
    ]
    width = len(columns) * (WIDTH + GAP) - GAP + 2
    return Picture(width, height, tuple(box for column in placed for box in column), tuple(lines))


def _few(nodes: Sequence[Node], more: str) -> list[Node]:
    if len(nodes) <= MOST:
        return list(nodes)
    return [*nodes[: MOST - 1], Node(more.format(n=len(nodes) - MOST + 1), "more")]


def wrapped(title: str) -> list[str]:
    """A title in the lines of its box."""
    is_name = " " not in title  # of a host, or a key
    lines = textwrap.wrap(title.replace(".", ". ") if is_name else title, LETTERS, max_lines=LINES, placeholder="…")
    return [line.replace(". ", ".") if is_name else line for line in lines] or [""]


def _height(node: Node) -> int:
    return len(wrapped(node.title)) * LINE + 2 * PADDING


def _placed(column: Sequence[Node], x: int, height: int) -> list[Box]:
    heights = [_height(node) for node in column]
    y = (height - sum(heights) - BETWEEN * (len(column) - 1)) // 2
    found = []
    for node, own in zip(column, heights, strict=True):
        found.append(Box(x, y, own, tuple(wrapped(node.title)), node.kind))
        y += own + BETWEEN
    return found
