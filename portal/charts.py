"""Small charts as SVG: lines over time, and bars. No library, no script, no color: those are the style sheet's, by class.

Here: the drawing, its axes, its title and its description in words. Not here: the table with the same numbers, which a page puts below each chart
(`templates/chart.html`), and what is drawn. A value that is not known is a gap: nothing is drawn between values that are not neighbors in time.
"""

from __future__ import annotations

import math
import re
from calendar import isleap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from statistics import median

from markupsafe import Markup, escape

from catalunya.portal.language import Language

WIDTH, HEIGHT = 320, 170
"""Units of a drawing: about CSS pixels on a phone, where text of 12 units can be read."""
TOP, BOTTOM, RIGHT = 34, 24, 12
ROW = 18
"""The height of a line of the legend."""
CHARACTER, BOLD = 6.6, 7.6
"""The width of a character, about, and of one of a value that stands out."""
NARROWEST = 0.1
"""An axis shows at least this share of its largest value, so that a small change does not look like a large one."""
FROM_ZERO = 0.5
"""An axis begins at zero if the smallest value is less than this share of the largest."""
_PERIOD = re.compile(r"(\d{4})(?:-Q([1-4])|-H([12])|-(\d{2}))?")

Point = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, and a value for each period (`2025`, `2025-Q3`, `2025-H1`, `2025-07`, a day or a time in ISO 8601), in order.

    `marked`: the periods whose values are not final, which get an open mark.
    """

    name: str
    periods: Sequence[str]
    values: Sequence[float | None]
    marked: Collection[str] = ()

    @property
    def known(self) -> list[Point]:
        """The periods with a value."""
        return [(at, value) for at, value in zip(self.periods, self.values, strict=True) if value is not None]


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where periods and values are in a drawing."""

    begin: float
    end: float
    low: float
    high: float
    left: float
    top: float
    bottom: float

    def x(self, period: float) -> float:
        if self.begin == self.end:
            return (self.left + WIDTH - RIGHT) / 2
        first, last = self.left + 6, WIDTH - RIGHT - 6
        return first + (period - self.begin) / (self.end - self.begin) * (last - first)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)


def line_chart(
    language: Language,
    lines: Sequence[Line],
    *,
    name: str,
    title: str,
    digits: int = 0,
    unit: str = "",
    is_joined: bool = False,
) -> Markup:
    """A chart of values over time; empty if no value is known. `name`: of letters, digits and `-`, unlike that of any other chart of the page.

    `unit` stands above the axis, `digits` are the decimals of values. `is_joined`: what is drawn are events at uneven times (such as the runs of
    a table), joined however far apart; otherwise a line ends where a period is missing. The last value of a single line is written beside it.
    """
    drawable = [(line, known) for line in lines if (known := line.known)]
    if not drawable:
        return Markup()
    marks = _axis([value for _, known in drawable for _, value in known])
    words = [language.number(mark, _decimals(marks)) for mark in marks]
    periods = [period for _, known in drawable for period, _ in known]
    times = [years(period) for period in periods]
    legend = ROW * len(drawable) if len(drawable) > 1 else 0  # the name of a single line is in the title
    plane = _Plane(
        begin=min(times),
        end=max(times),
        low=marks[0],
        high=marks[-1],
        left=max(len(word) for word in words) * CHARACTER + 8,
        top=TOP + legend,
        bottom=HEIGHT + legend - BOTTOM,
    )
    drawn = [_text(0, 12, unit, "unit")] if unit else []
    if legend:
        for number, (line, _) in enumerate(drawable):
            row = TOP - 8 + ROW * number
            drawn += [f'<path class="line line-{number + 1}" d="M0 {row}h24"/>', _text(30, row + 4, line.name)]
    for mark, word in zip(marks, words, strict=True):
        y = plane.y(mark)
        drawn.append(
            f'<path class="{"base" if mark == 0 else "grid"}" d="M{_short(plane.left)} {_short(y)}H{WIDTH - RIGHT}"/>'
        )
        drawn.append(_text(plane.left - 6, y + 4, word, anchor="end"))
    drawn += _time_axis(language, periods, plane)
    for number, (line, _) in enumerate(drawable):
        drawn.append(
            _drawn(
                tuple(line.periods), tuple(line.values), frozenset(line.marked), number + 1, plane, is_joined=is_joined
            )
        )
    if not legend:
        drawn.append(_last(language, *drawable[0], plane, digits))
    about = " ".join(_in_words(language, line.name if legend else "", known, digits, unit) for line, known in drawable)
    return _svg(name, title, about, HEIGHT + legend, drawn)


def bar_chart(
    language: Language,
    names: Sequence[str],
    values: Sequence[float | None],
    *,
    name: str,
    title: str,
    digits: int = 0,
    unit: str = "",
    strong: Collection[int] = (),
) -> Markup:
    """A chart with a bar for each name, in their order, and a dash for a value that is not known; empty if none is.

    `strong`: the positions of bars that stand out. `name`, `digits`, `unit`: as for lines.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Markup()
    low, high = min(0.0, *known), max(0.0, *known)
    written = [language.number(value, digits) for value in values]
    scale = (WIDTH - max(map(len, written)) * BOLD - 8) / ((high - low) or 1)
    drawn = [_text(0, 12, unit, "unit")] if unit else []
    y, most = 20 if unit else 0, int(WIDTH / CHARACTER)
    for number, (label, value, word) in enumerate(zip(names, values, written, strict=True)):
        drawn.append(_text(0, y + 12, label if len(label) <= most else f"{label[: most - 1]}…"))
        end = -6.0
        if value is not None:
            x, width = (min(0.0, value) - low) * scale, max(abs(value) * scale, 1.0)
            kind, end = "bar strong" if number in strong else "bar", x + width
            drawn.append(f'<rect class="{kind}" x="{_short(x)}" y="{y + 17}" width="{_short(width)}" height="12"/>')
        drawn.append(_text(end + 6, y + 27, word, "last"))
        y += 36
    about = "; ".join(f"{label}: {word}" for label, word in zip(names, written, strict=True))
    return _svg(name, title, f"{about}. {unit}".strip(), y, drawn)


@lru_cache(10_000)
def years(period: str) -> float:
    """Where a period begins, in years: 2025-Q3 is 2025.5. Raises ValueError for another text."""
    if found := _PERIOD.fullmatch(period):
        year, quarter, half, month = (int(part or 1) for part in found.groups())
        return year + (quarter - 1) / 4 + (half - 1) / 2 + (month - 1) / 12
    at = datetime.fromisoformat(period)
    days = 366 if isleap(at.year) else 365
    return at.year + (at.timetuple().tm_yday - 1 + (at.hour + at.minute / 60) / 24) / days


def ticks(low: float, high: float, most: int = 4) -> list[float]:
    """Round numbers from at most `low` to at least `high`, in at most `most` equal steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20):
        step = power * factor
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _axis(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    if 0 <= low < FROM_ZERO * high:
        low = 0.0
    missing = NARROWEST * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    return ticks(low, high)


def _decimals(marks: Sequence[float]) -> int:
    """The decimals that the numbers of an axis need."""
    return max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))


def _time_axis(language: Language, periods: Sequence[str], plane: _Plane) -> list[str]:
    """Round years; if there are not two, the first and the last period."""
    y = plane.bottom + 18
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if (plane.end - plane.begin) / step <= 4.5)
    whole = range(math.ceil(plane.begin / step) * step, math.floor(plane.end) + 1, step)
    if len(whole) > 1:
        return [_text(plane.x(year), y, str(year), anchor="middle") for year in whole]
    first, last = min(periods, key=years), max(periods, key=years)
    if first == last:
        return [_text(plane.x(years(first)), y, _period(language, first), anchor="middle")]
    return [
        _text(plane.left, y, _period(language, first)),
        _text(WIDTH - RIGHT, y, _period(language, last), anchor="end"),
    ]


def _period(language: Language, period: str) -> str:
    return language.short_period(period[:10])


def _runs(periods: Sequence[str], values: Sequence[float | None], *, is_joined: bool) -> Iterator[list[Point]]:
    """The known values in runs without a gap between them."""
    times = [years(period) for period in periods]
    steps = [after - before for before, after in pairwise(times)]
    widest = math.inf if is_joined or not steps else 1.5 * median(steps)
    run: list[Point] = []
    for period, value, step in zip(periods, values, [0.0, *steps], strict=True):
        if run and (value is None or step > widest):
            yield run
            run = []
        if value is not None:
            run.append((period, value))
    if run:
        yield run


@lru_cache(64)  # the pages of a place in each language, which are made one after the other, have the same line
def _drawn(
    periods: tuple[str, ...],
    values: tuple[float | None, ...],
    marked: frozenset[str],
    number: int,
    plane: _Plane,
    *,
    is_joined: bool,
) -> str:
    drawn, marks = [], []
    for run in _runs(periods, values, is_joined=is_joined):
        places = [f"{_short(plane.x(years(period)))} {_short(plane.y(value))}" for period, value in run]
        if len(run) > 1:
            drawn.append(f'<path class="line line-{number}" d="M{" ".join(places)}"/>')
        elif run[0][0] not in marked:
            drawn.append(_dot(plane, run[0], f"dot line-{number}"))
        marks += [_dot(plane, point, f"open line-{number}") for point in run if point[0] in marked]
    return "".join(drawn + marks)


def _last(language: Language, line: Line, points: Sequence[Point], plane: _Plane, digits: int) -> str:
    """The last value, on the side where the line does not come from."""
    point, before = points[-1], points[-2][1] if len(points) > 1 else points[-1][1]
    x, y = plane.x(years(point[0])), plane.y(point[1])
    is_below = point[1] < before and y + 18 < plane.bottom
    written = _text(min(x + 24, WIDTH), y + 17 if is_below else y - 8, language.number(point[1], digits), "last", "end")
    return written if point[0] in line.marked else _dot(plane, point, "dot line-1") + written


def _dot(plane: _Plane, point: Point, kind: str) -> str:
    return f'<circle class="{kind}" cx="{_short(plane.x(years(point[0])))}" cy="{_short(plane.y(point[1]))}" r="3"/>'


def _in_words(language: Language, name: str, known: Sequence[Point], digits: int, unit: str) -> str:
    low, high = min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])

    def number(point: Point) -> str:
        return language.number(point[1], digits)

    def period(point: Point) -> str:
        return language.period(point[0][:10])

    said = language.t(
        "chart.about",
        first=period(known[0]),
        start=number(known[0]),
        last=period(known[-1]),
        end=number(known[-1]),
        low=number(low),
        low_period=period(low),
        high=number(high),
        high_period=period(high),
    )
    named = f"{name}. {said}" if name else said
    return named + (f" {language.t('chart.unit', unit=unit)}" if unit else "")


def _short(number: float) -> str:
    """A number of a drawing, to a tenth of a unit."""
    return f"{number:.1f}".removesuffix(".0")


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    classes = f' class="{kind}"' if kind else ""
    ends = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{_short(x)}" y="{_short(y)}"{classes}{ends}>{escape(text)}</text>'


def _svg(name: str, title: str, about: str, height: int, drawn: Sequence[str]) -> Markup:
    assert re.fullmatch(r"[\w-]+", name), f"the name of a chart is an id, found {name!r}"
    return Markup(  # noqa: S704  every text in it is escaped
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-title {name}-about">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-about">{escape(about)}</desc>'
        f"{''.join(drawn)}</svg>"
    )
