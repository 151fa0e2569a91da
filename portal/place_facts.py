"""What is known of each place: its place among the others, and its figures over time. Read once, looked up by level and code.

Here: grouping the frames of `figures.py` by place, and what a value is compared with. Not here: words and pages (`place_page.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import pairwise

import polars as pl

from catalunya.assets.graph.titles import title_of
from catalunya.contracts.model.columns import Column
from catalunya.io.safe_text import legible
from catalunya.portal.declaration import WHOLE, Figure, Series
from catalunya.portal.figures import above, figure_series, places, versions
from catalunya.portal.names import said
from catalunya.portal.site import Site


@dataclass(frozen=True, slots=True)
class Place:
    """A place: `name` as in the data, `said` as it is said, `folded` to sort by, `parent` the code of the place above it ("" for the whole)."""

    level: str
    code: str
    name: str
    said: str
    folded: str
    parent: str
    longitude: float | None
    latitude: float | None

    def said_in(self, language: str) -> str:
        """The name in a language: only the whole territory has one in each."""
        return title_of(f"level.{WHOLE}", language) if self.level == WHOLE else self.said


@dataclass(frozen=True, slots=True)
class History:
    """A figure of one place over time: periods in order, and for each its value and status."""

    periods: Sequence[str] = ()
    values: Sequence[float | None] = ()
    statuses: Sequence[str | None] = ()

    @property
    def last(self) -> int | None:
        """The position of the last known value."""
        return next((at for at in reversed(range(len(self.values))) if self.values[at] is not None), None)

    def before(self, at: int) -> int | None:
        """The position of the known value that one is compared with: of the same time a year earlier, else the one before."""
        period = self.periods[at]
        year_ago = f"{int(period[:4]) - 1}{period[4:]}" if period[:4].isdigit() else ""
        known = [other for other in range(at) if self.values[other] is not None]
        same = next((other for other in reversed(known) if self.periods[other] == year_ago), None)
        return same if same is not None else known[-1] if known else None

    def newest(self, most: int) -> History:
        """The last periods, at most so many, from the first of them that is known on."""
        from_here = max(0, len(self.periods) - most)
        first = next((at for at in range(from_here, len(self.values)) if self.values[at] is not None), from_here)
        return History(self.periods[first:], self.values[first:], self.statuses[first:])


@dataclass(frozen=True, slots=True, eq=False)
class LevelFigure:
    """A figure at one level, by code of the place. `newest`: the last period that any place has a value for.

    `parts`: the names and values of the parts of the last known value, if the figure is broken down.
    """

    name: str
    level: str
    figure: Figure
    series: Series
    column: Column
    histories: Mapping[str, History]
    parts: Mapping[str, tuple[Sequence[str], Sequence[float | None]]]
    newest: str

    def of(self, code: str) -> History:
        """The history of a place; an empty one if nothing was ever known."""
        return self.histories.get(code) or History()


@dataclass(frozen=True, slots=True)
class Version:
    """A place had this name and was in this place from a day (None: since the records begin) to a day (None: it still does)."""

    code: str
    said: str
    parent: str
    first: date | None
    last: date | None


class PlaceFacts:
    """The places and figures of a site. Nothing is read before it is asked for."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.levels = (*site.declared.levels, WHOLE)

    @cached_property
    def _places(self) -> Mapping[str, Mapping[str, Place]]:
        columns = ("code", "name", "said", "folded", "parent", "longitude", "latitude")
        frames = {level: places(self.site, level).sort("folded", "code").select(columns) for level in self.levels}
        return {
            level: {
                code: Place(level, code, legible(name), legible(said), folded, parent or "", longitude, latitude)
                for code, name, said, folded, parent, longitude, latitude in frame.iter_rows()
            }
            for level, frame in frames.items()
        }

    @cached_property
    def _children(self) -> Mapping[tuple[str, str], Sequence[Place]]:
        found: dict[tuple[str, str], list[Place]] = {}
        for level, by_code in self._places.items():
            for place in by_code.values():
                if level != WHOLE:
                    found.setdefault((above(self.site, level)[0], place.parent), []).append(place)
        return found

    @cached_property
    def figures(self) -> Sequence[LevelFigure]:
        """Every declared figure at every level whose table was made."""
        return list(self._figures())

    def _figures(self) -> Iterator[LevelFigure]:
        for each in figure_series(self.site):
            grouped = each.rows.group_by("place").agg("period", "value", "status")
            histories = {place: History(*map(tuple, lists)) for place, *lists in grouped.iter_rows()}
            parts = {}
            if each.parts is not None:
                of_place = each.parts.group_by("place", maintain_order=True).agg("part", "value")
                parts = {place: (names, values) for place, names, values in of_place.iter_rows()}
            newest = each.periods[-1] if each.periods else ""
            yield LevelFigure(each.name, each.level, each.figure, each.series, each.column, histories, parts, newest)

    def figure(self, name: str, level: str) -> LevelFigure | None:
        """A figure at a level; None if it is not declared for it, or its table was never made."""
        return next((each for each in self.figures if (each.name, each.level) == (name, level)), None)

    def at(self, level: str) -> Sequence[Place]:
        """The places of a level, sorted by name without its article."""
        return list(self._places[level].values())

    def place(self, level: str, code: str) -> Place | None:
        """One place; None if there is none of that code now."""
        return self._places[level].get(code)

    def above(self, place: Place) -> list[Place]:
        """The places that this one is in, the nearest first."""
        found, at = [], place
        for level in above(self.site, place.level) if place.level != WHOLE else ():
            higher = self.place(level, "" if level == WHOLE else at.parent)
            if higher:
                found.append(higher)
                at = higher
        return found

    def children(self, place: Place) -> Sequence[Place]:
        """The places of the level below that are in this one, sorted by name."""
        return self._children.get((place.level, place.code), ())

    def lower_level(self, level: str) -> str:
        """The level below; "" below the smallest."""
        return next((each for each in self.site.declared.levels if above(self.site, each)[0] == level), "")

    @cached_property
    def _versions(self) -> Mapping[str, Mapping[str, Sequence[Version]]]:
        return {level: self._read_versions(level) for level in self.site.declared.levels}

    def _read_versions(self, level: str) -> Mapping[str, Sequence[Version]]:
        shown = ("said", "parent")
        named = versions(self.site, level).with_columns(said=said(pl.col("name"), self.site.declared.articles))
        # A row that differs from the one before only in what is not shown begins nothing. The first day of the table is not that of its places.
        changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift().over("code")) for name in shown)
        begin = pl.col("valid_from")
        kept = named.with_columns(
            first=pl.when(begin > begin.min()).then(begin), end=pl.col("valid_to").last().over("code")
        ).filter(changes)
        ended = pl.coalesce(pl.col("first").shift(-1).over("code"), "end").dt.offset_by("-1d").alias("last")
        lists = kept.with_columns(ended).group_by("code").agg(*shown, "first", "last")
        return {
            code: [Version(code, legible(name), *rest) for name, *rest in zip(*columns, strict=True)]
            for code, *columns in lists.iter_rows()
        }

    def versions(self, place: Place) -> Sequence[Version]:
        """The history of a place, the oldest first; empty if its level has none."""
        return self._versions.get(place.level, {}).get(place.code, ())

    def moves(self, place: Place) -> Sequence[tuple[Version, Version]]:
        """The places below that came to this one or left it, by day: how each was before and after."""
        below = self._versions.get(self.lower_level(place.level), {}) if place.level != WHOLE else {}
        found = [
            (before, after)
            for history in below.values()
            for before, after in pairwise(history)
            if before.parent != after.parent and place.code in {before.parent, after.parent}
        ]
        return sorted(found, key=lambda move: (move[1].first or date.min, move[1].code))
