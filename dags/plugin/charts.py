"""Small charts as inline SVG: one bar for each materialization of a table, with the same values as text.

Here: geometry, the text alternative. Colors and fonts are the style sheet's. Not here: what is charted (`asset_page.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320, 72
_GAP = 0.22  # of a bar's step
_LEAST = 1.5  # a value that is not zero can be seen


@dataclass(frozen=True, slots=True)
class Point:
    """One materialization: its value, what the tooltip says, and whether it is drawn as a failure."""

    value: float
    label: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in the chart's own units."""

    x: float
    y: float
    width: float
    height: float
    label: str
    failed: bool
    newest: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: its title, the newest value in words, its bars, and the whole of it in one sentence (`alternative`)."""

    title: str
    newest: str
    bars: tuple[Bar, ...]
    span: str
    scale: str
    alternative: str
    width: int = WIDTH
    height: int = HEIGHT


def chart(title: str, points: Sequence[Point], unit: str = "", *, digits: int = 0) -> Chart:
    """A bar chart of the points, oldest first. The scale begins at zero, so that heights can be compared."""

    def shown(value: float) -> str:
        return f"{value:,.{digits}f}{unit}"

    values = [point.value for point in points if not point.failed]
    top = max(values, default=0) or 1
    step = WIDTH / max(len(points), 12)
    bars = tuple(
        Bar(
            x=round(WIDTH - (len(points) - number) * step + step * _GAP / 2, 2),
            y=round(HEIGHT - _height(point, top), 2),
            width=round(step * (1 - _GAP), 2),
            height=round(_height(point, top), 2),
            label=point.label,
            failed=point.failed,
            newest=number == len(points) - 1,
        )
        for number, point in enumerate(points)
    )
    if not values:
        return Chart(title, "none yet", bars, "", "", f"{title}: no materialization yet.")
    failures = len(points) - len(values)
    spread = (
        f"between {shown(min(values))} and {shown(max(values))}"
        if min(values) != max(values)
        else f"always {shown(values[0])}"
    )
    failed = f", {failures} failed attempt{'s' * (failures != 1)} in between" if failures else ""
    times = f"the last {len(values)} materializations" if len(values) > 1 else "the only materialization"
    alternative = f"{title} of {times}: {spread}, the newest {shown(values[-1])}{failed}."
    span = f"last {len(points)}" if len(points) > 1 else "the only one"
    return Chart(
        title, shown(values[-1]), bars, span, f"0 to {shown(max(values))}" if max(values) else "always 0", alternative
    )


def _height(point: Point, top: float) -> float:
    if point.failed:
        return HEIGHT
    return max(point.value / top * HEIGHT, _LEAST) if point.value else 0
