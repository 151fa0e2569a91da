"""Column lineage of one table as a drawing: the columns it is made from on the left, its own on the right, a line for each use.

Here: geometry, and the same in words. Colors and fonts are the style sheet's. Not here: what a column is made from
(`assets/graph/column_lineage.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalunya.assets.graph.column_lineage import ColumnLineage, ColumnSource, Origin
from catalunya.assets.graph.spec import Asset

WIDTH, LEFT, RIGHT = 900, 380, 560
_ROW, _HEAD, _GAP = 22, 26, 12


@dataclass(frozen=True, slots=True)
class Label:
    """One text: a column, or the table above its columns. `y` is its middle."""

    text: str
    y: float
    is_table: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One use of a column, from left to right; `how` is a class of the style sheet."""

    path: str
    how: str
    label: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The whole drawing. Empty (`lines`) where no column of another table is used."""

    left: list[Label]
    right: list[Label]
    lines: list[Line]
    height: float
    width: int = WIDTH
    left_edge: int = LEFT
    right_edge: int = RIGHT


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What one column is made from, and what is made from it, for its row in the contract."""

    sources: tuple[ColumnSource, ...]
    origins: tuple[Origin, ...]
    consumers: tuple[str, ...]

    @property
    def values_by_table(self) -> dict[str, list[str]]:
        """The columns whose values it has or is computed from, by their table."""
        found: dict[str, list[str]] = {}
        for each in self.sources:
            if each.how != "condition":
                found.setdefault(each.asset, []).append(
                    each.column if each.how == "identity" else f"{each.column} ({each.how})"
                )
        return found

    @property
    def conditions(self) -> list[str]:
        """The columns that only decide which value it has."""
        return [str(each) for each in self.sources if each.how == "condition"]


def made_from(lineage: ColumnLineage, asset: Asset) -> dict[str, MadeFrom]:
    """What each column of a table is made from, by its name."""
    return {
        column.name: MadeFrom(
            lineage.column_sources(asset.key, column.name),
            lineage.origins(asset.key, column.name),
            tuple(str(each) for each in lineage.column_consumers(asset.key, column.name)),
        )
        for column in asset.columns
    }


def drawing(asset: Asset, made: dict[str, MadeFrom]) -> Drawing:
    """The drawing of a table's columns."""
    sources = sorted({(each.asset, each.column) for one in made.values() for each in one.sources})
    tables = {table: [column for each, column in sources if each == table] for table, _ in sources}
    left, at, y = [], dict[tuple[str, str], float](), 0.0
    for table, columns in tables.items():
        left.append(Label(table, y + _HEAD / 2, is_table=True))
        y += _HEAD
        for column in columns:
            at[table, column] = y + _ROW / 2
            left.append(Label(column, y + _ROW / 2))
            y += _ROW
        y += _GAP
    names = [column.name for column in asset.columns]
    height = max(y, _HEAD + len(names) * _ROW)
    right = [Label(asset.key, _HEAD / 2, is_table=True)]
    right += [Label(name, _HEAD + number * _ROW + _ROW / 2) for number, name in enumerate(names)]
    return Drawing(left, right, list(_lines(made, at, {label.text: label.y for label in right[1:]})), height)


def _lines(made: dict[str, MadeFrom], left: dict[tuple[str, str], float], right: dict[str, float]) -> Iterable[Line]:
    middle = (LEFT + RIGHT) / 2
    for name, one in made.items():
        for source in one.sources:
            a, b = left[source.asset, source.column], right[name]
            path = f"M{LEFT + 8} {a:g} C{middle:g} {a:g} {middle:g} {b:g} {RIGHT - 8} {b:g}"
            yield Line(path, source.how, f"{source} → {name} ({source.how})")
