"""What a table looks like at a moment: its dimensions and categories, as the faults in force have left them.

Data and metadata are both made from a view, so that they tell the same story. A fault that speaks of columns is one of
dimensions here, and one that speaks of rows is one of geographic categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from catalunya.ops.mock.faults import Fault
from catalunya.ops.mock.idescat.cube import TOTAL, Cells, Dimension, StatTable, offsets

NEW_DIMENSION = "NOVA_DIMENSIO"


@dataclass(frozen=True)
class Axis:
    """A dimension and which of its categories are there, by their position; `shown`: it is told of.

    `size`: the categories that the table's cells have along it, 1 for a dimension that is made up.
    """

    dimension: Dimension
    size: int
    picked: tuple[int, ...]
    shown: bool = True

    def codes(self) -> list[str]:
        """The codes of the categories that are there."""
        codes = list(self.dimension.categories)
        return [codes[at] for at in self.picked]

    def only(self, asked: set[str]) -> Axis:
        """Only the categories asked for, in the table's order."""
        codes = list(self.dimension.categories)
        return replace(self, picked=tuple(at for at in self.picked if codes[at] in asked))


@dataclass(frozen=True)
class View:
    """A table's axes. `token` differs where they differ for a reason but new data."""

    axes: tuple[Axis, ...]
    token: str = ""

    def cells(self) -> int:
        """How many cells there are."""
        return prod(len(axis.picked) for axis in self.axes)

    def shown(self) -> list[Axis]:
        """The axes that are told of."""
        return [axis for axis in self.axes if axis.shown]

    def filtered(self, asked: Mapping[str, set[str]], last: int | None) -> View:
        """What a request leaves: the categories asked for by dimension, and the last periods.

        A dimension that there is not is passed over, as the API does. A category that there is not is just absent from
        the answer: what the API does there is not known.
        """
        axes = tuple(
            axis.only(asked[axis.dimension.code]) if axis.shown and axis.dimension.code in asked else axis
            for axis in self.axes
        )
        if last is not None:
            axes = tuple(
                replace(axis, picked=axis.picked[-last:]) if axis.dimension.role == "time" else axis for axis in axes
            )
        return replace(self, axes=axes)

    def of(self, cells: Cells) -> Cells:
        """The cells of these axes."""
        wanted = offsets((axis.size, axis.picked) for axis in self.axes)
        values = [cells.values[at] for at in wanted]
        told = ((place, cells.statuses.get(at)) for place, at in enumerate(wanted))
        return Cells(values, {place: status for place, status in told if status})


def view(table: StatTable, version: int, faults: Sequence[Fault]) -> View:
    """The table under those of the faults that are of dimensions and categories."""
    axes = [
        Axis(dimension, size, tuple(range(size)))
        for dimension in table.dimensions(version)
        for size in (len(dimension.categories),)
    ]
    tokens = []
    for fault in faults:
        changed = _changed(axes, fault)
        if changed != axes:
            axes = changed
            tokens.append(f"{fault.kind}={fault.column}={fault.to}={fault.keep}")
    return View(tuple(axes), "&".join(tokens))


def _changed(axes: list[Axis], fault: Fault) -> list[Axis]:
    match fault.kind:
        case "empty":
            return _shrunken(axes, 0)
        case "shrunken":
            return _shrunken(axes, fault.keep)
        case "new-column":
            made_up = Dimension(fault.column or NEW_DIMENSION, "nova dimensió", "", {TOTAL: "total"})
            return [*axes, Axis(made_up, 1, (0,))]
        case "missing-column":
            return [_folded(axis) if _is_meant(axis, fault) else axis for axis in axes]
        case "renamed-column":
            return [_renamed(axis, fault.to) if _is_meant(axis, fault) else axis for axis in axes]
    return axes


def _is_meant(axis: Axis, fault: Fault) -> bool:
    """Whether the fault is of this dimension: the one it names, or that which is no time, place or metric."""
    return axis.dimension.code == fault.column if fault.column else axis.dimension.role == ""


def _shrunken(axes: Sequence[Axis], keep: float) -> list[Axis]:
    """Only the first places are left; of a table of one place, the first periods."""
    places = any(axis.dimension.role == "geo" and axis.size > 1 for axis in axes)
    role = "geo" if places else "time"
    return [
        replace(axis, picked=axis.picked[: int(len(axis.picked) * keep)]) if axis.dimension.role == role else axis
        for axis in axes
    ]


def _folded(axis: Axis) -> Axis:
    """The dimension is not told of any more: its total is what is left, or its last category."""
    codes = list(axis.dimension.categories)
    return replace(axis, picked=(codes.index(TOTAL) if TOTAL in codes else len(codes) - 1,), shown=False)


def _renamed(axis: Axis, to: str) -> Axis:
    old = axis.dimension
    return replace(axis, dimension=replace(old, code=to or f"{old.code}_NOU", label=f"{old.label} (nou)"))
