"""Figures of a place as a reader sees them in one language: the value, its date, what it was before, a chart with its numbers.

Here: which figures a page of a place shows, and how each is written. Not here: the values (`place_facts.py`), the page (`place_page.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from catalunya.assets.graph.titles import titles
from catalunya.io.safe_text import NAME, legible
from catalunya.portal.charts import Line, bar_chart, line_chart
from catalunya.portal.declaration import Figure
from catalunya.portal.figure_text import is_percentage, unit_text, value_text
from catalunya.portal.language import Language
from catalunya.portal.place_facts import History, LevelFigure, Place, PlaceFacts

OWN, RECENT = 120, 24
"""The most periods that are shown of a place's own figures, and of those of the places above it: a day or a quarter each, in the longest series."""
FINAL = "final"


def change(language: Language, then: float, now: float, digits: int, *, is_percent: bool) -> tuple[str, str]:
    """A change in words and its direction (up, down or same), as far as readers see it: what rounds to zero is none."""
    more = now - then
    share = 100 * (now / then - 1) if then and not is_percent else 0
    if not round(more, digits) and not round(share, 1):
        return language.t("place.unchanged"), "same"
    written = language.signed(more, digits)
    if is_percent:
        written = language.t("place.points", change=written)
    elif then:
        written = f"{written} ({language.percent(share, signed=True)})"
    return written, "up" if more > 0 else "down"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A chart and the same numbers as a table: the names of its columns, its rows as texts."""

    chart: Markup
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure of one place, in words. `trend`: the change and its `direction` (up, down or same), `compared` to when; empty if there is none.

    `status`: how final the value is, if it is not; `gap`: that there is no value for the newest period. `over_time` and `parts` are None if there is
    only one value, or one part; `span` is from when to when the chart is.
    """

    name: str
    figure: Figure
    owner: Place
    table: str
    title: str
    value: str
    unit: str
    period: str
    trend: str
    direction: str
    compared: str
    status: str
    gap: str
    note: str
    over_time: Numbers | None
    span: str
    is_marked: bool
    parts: Numbers | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure of a place beside those of the places above it: as a share of the first value of each, and how each changed."""

    title: str
    table: str
    first: str
    over_time: Numbers
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class ChildrenTable:
    """The places in a place, with their key figures."""

    level: str
    heads: Sequence[str]
    rows: Sequence[tuple[Place, Sequence[str]]]


class ShownFigures:
    """The figures of all places in one language."""

    def __init__(self, facts: PlaceFacts, language: Language) -> None:
        self.facts = facts
        self.language = language
        self.t = language.t
        # Looked up once for all places.
        self.unit, self.value_title = cache(self._unit), cache(self._value_title)
        self._recent: dict[tuple[str, str, str], Shown | None] = {}
        self._written_once: dict[Hashable, Markup] = {}

    def once(self, key: Hashable, write: Callable[..., Markup], *values: object) -> Markup:
        """What `write` makes of the values, made once for all pages of these figures: those of one level, whose links are the same."""
        if key not in self._written_once:
            self._written_once[key] = write(*values)
        return self._written_once[key]

    def of(self, place: Place) -> list[Shown]:
        """The known figures of a place itself."""
        found = (self._shown(each, place, OWN) for each in self.facts.figures if each.level == place.level)
        return [each for each in found if each]

    def unknown(self, place: Place) -> list[tuple[str, str]]:
        """The figures that are not known of a place: what they are called, and why."""
        found = []
        for name, figure in self.facts.site.declared.figures.items():
            each = self.facts.figure(name, place.level)
            if place.level in figure.levels and (each is None or each.of(place.code).last is None):
                found.append((self._title(name), self.t("place.never_made" if each is None else "place.not_known")))
        return found

    def context(self, place: Place) -> list[tuple[Place, list[Shown]]]:
        """The figures that there are only for the places above: those of the nearest of which they are known."""
        found: dict[Place, list[Shown]] = {higher: [] for higher in self.facts.above(place)}
        for name, figure in self.facts.site.declared.figures.items():
            if place.level not in figure.levels:
                known = (shown for higher in found if (shown := self._recently(name, higher)))
                if nearest := next(known, None):
                    found[nearest.owner].append(nearest)
        return [(owner, figures) for owner, figures in found.items() if figures]

    def comparisons(self, place: Place) -> Iterator[Comparison]:
        """Each figure over time that the places above have too."""
        for each in self.facts.figures:
            if each.level == place.level and each.figure.style == "count" and each.figure.dated:
                lines = [(place, each.of(place.code))]
                for higher in self.facts.above(place):
                    if other := self.facts.figure(each.name, higher.level):
                        lines.append((higher, other.of(higher.code)))
                if len(lines) > 1 and (found := self._comparison(each, lines)):
                    yield found

    def children(self, place: Place) -> ChildrenTable | None:
        """The places in a place as a table; None for a place of the smallest level."""
        level = self.facts.lower_level(place.level)
        figures = [each for each in self.facts.figures if each.level == level and each.figure.key and each.newest]
        if not level:
            return None
        return ChildrenTable(
            level=level,
            heads=[self._head(each) for each in figures],
            rows=[(child, [self._at_newest(each, child) for each in figures]) for child in self.facts.children(place)],
        )

    def _head(self, each: LevelFigure) -> str:
        details = [self.unit(each), self.language.period(each.newest) if each.figure.dated else ""]
        return f"{self._title(each.name)} ({', '.join(detail for detail in details if detail)})"

    def _at_newest(self, each: LevelFigure, place: Place) -> str:
        history = each.of(place.code)
        at = dict(zip(history.periods, history.values, strict=True)).get(each.newest)
        return self.language.number(at, each.figure.digits)

    def _title(self, name: str) -> str:
        return self.facts.site.title_of(f"figure.{name}", self.language.code)

    def _unit(self, each: LevelFigure) -> str:
        return unit_text(self.language, each.figure, each.column)

    def _value_title(self, value: str) -> str:
        return legible(self.facts.site.title_of(f"value.{value}", self.language.code), NAME)

    def _written(self, each: LevelFigure, value: float | None) -> str:
        return value_text(self.language, each.figure, value)

    def _recently(self, name: str, place: Place) -> Shown | None:
        # The same on the pages of all places below.
        key = (name, place.level, place.code)
        if key not in self._recent:
            each = self.facts.figure(name, place.level)
            self._recent[key] = self._shown(each, place, RECENT) if each else None
        return self._recent[key]

    def _shown(self, each: LevelFigure, place: Place, most: int) -> Shown | None:
        history = each.of(place.code)
        last = history.last
        if last is None:
            return None
        status = history.statuses[last] or FINAL
        trend, direction, compared = self._trend(each, history, last)
        over_time = self._over_time(each, history.newest(most), place)
        code, period = self.language.code, history.periods[last]
        return Shown(
            name=each.name,
            figure=each.figure,
            owner=place,
            table=each.series.table,
            title=self._title(each.name),
            value=self._written(each, history.values[last]),
            unit="" if is_percentage(each.figure) else self.unit(each),
            period=self.language.period(period) if each.figure.dated else "",
            trend=trend,
            direction=direction,
            compared=compared,
            status=self.value_title(status) if status != FINAL else "",
            gap=self.t("place.gap", period=self.language.period(each.newest)) if each.newest != period else "",
            note=titles().get(f"note.{each.name}", {}).get(code, ""),
            over_time=over_time,
            span=self._span(over_time),
            is_marked=over_time is not None and len(over_time.heads) > 2,
            parts=self._parts(each, place, period),
        )

    def _trend(self, each: LevelFigure, history: History, last: int) -> tuple[str, str, str]:
        before = history.before(last)
        if before is None or not each.figure.dated or each.figure.style == "change":
            return "", "", ""
        now, then, language = history.values[last], history.values[before], self.language
        assert now is not None
        assert then is not None
        shown, direction = change(language, then, now, each.figure.digits, is_percent=each.figure.style == "percent")
        period = history.periods[before]
        kind = "year" if len(period) == 4 else "quarter" if "-Q" in period else "other"
        return shown, direction, self.t(f"place.compared_{kind}", period=language.period(period))

    def _over_time(self, each: LevelFigure, history: History, place: Place) -> Numbers | None:
        if not (each.figure.dated and each.figure.over_time) or sum(value is not None for value in history.values) < 2:
            return None
        code, unit = self.language.code, self.unit(each)
        marked = [p for p, s in zip(history.periods, history.statuses, strict=True) if s and s != FINAL]
        title = f"{self._title(each.name)}. {place.said_in(code)}"
        chart = line_chart(
            self.language,
            [Line(title, history.periods, history.values, marked)],
            name=f"{each.name}-{place.level}",
            title=title,
            digits=each.figure.digits,
            unit=unit,
        )
        words = [self.value_title(status) if status else "" for status in history.statuses]
        columns = [
            [self.language.period(period) for period in history.periods],
            [self._written(each, value) for value in history.values],
            *([words] if marked else []),
        ]
        heads = [self.t("chart.period"), self._title(each.name), *([self.t("chart.note")] if marked else [])]
        return Numbers(chart, heads, list(zip(*columns, strict=True))[::-1])

    def _span(self, numbers: Numbers | None) -> str:
        return f"{numbers.rows[-1][0]} – {numbers.rows[0][0]}" if numbers else ""

    def _parts(self, each: LevelFigure, place: Place, period: str) -> Numbers | None:
        names, values = each.parts.get(place.code, ((), ()))
        if len(names) < 2 or not any(values):
            return None
        named = [self.value_title(name) for name in names]
        title = self.t("place.parts", figure=self._title(each.name), period=self.language.period(period))
        chart = bar_chart(
            self.language,
            named,
            values,
            name=f"{each.name}-{place.level}-parts",
            title=f"{title}. {place.said_in(self.language.code)}",
            digits=each.figure.digits,
            unit=self.unit(each),
        )
        written = [self._written(each, value) for value in values]
        heads = [self.t("chart.name"), self._title(each.name)]
        return Numbers(chart, heads, list(zip(named, written, strict=True)))

    def _comparison(self, each: LevelFigure, lines: Sequence[tuple[Place, History]]) -> Comparison | None:
        known = [{at: value for at, value in zip(of.periods, of.values, strict=True) if value} for _, of in lines]
        common = sorted(set.intersection(*map(set, known)))
        if len(common) < 3:
            return None
        language, first, last = self.language, common[0], common[-1]
        names = [place.said_in(language.code) for place, _ in lines]
        periods = [period for period in lines[0][1].periods if first <= period <= last][-OWN:]
        indexes = [
            [100 * values[period] / values[first] if period in values else None for period in periods]
            for values in known
        ]
        begin, digits = language.period(first), each.figure.digits
        chart = line_chart(
            language,
            [Line(name, periods, index) for name, index in zip(names, indexes, strict=True)],
            name=f"{each.name}-compared",
            title=self.t("place.index", figure=self._title(each.name), period=begin),
            digits=1,
            unit=self.t("place.index_unit", period=begin),
        )
        numbers = [[language.number(value, 1) for value in index] for index in indexes]
        index_rows = list(zip([language.period(period) for period in periods], *numbers, strict=True))[::-1]
        rows = [
            [
                name,
                language.number(values[first], digits),
                language.number(values[last], digits),
                language.percent(100 * (values[last] / values[first] - 1), signed=True),
            ]
            for name, values in zip(names, known, strict=True)
        ]
        return Comparison(
            title=self._title(each.name),
            table=each.series.table,
            first=begin,
            over_time=Numbers(chart, [self.t("chart.period"), *names], index_rows),
            heads=[self.t("chart.name"), begin, language.period(last), self.t("place.change")],
            rows=rows,
        )
