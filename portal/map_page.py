"""The map: places colored by a figure, beside a table of the same places and values.

The page shows the first figure at its newest period, and needs no script for that. `static/map.js` lets readers choose another figure, level or
period; it takes the values from `data/map/{figure}.{level}.json`. Here: the page and these files. Not here: the classes (`classes.py`), the
shapes (`geometry.py`), places as GeoJSON (`geojson.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from catalunya.assets.graph.spec import digest
from catalunya.assets.graph.titles import title_of, titles
from catalunya.io.project_folder import active
from catalunya.portal.build import File, Part
from catalunya.portal.classes import classified, limits
from catalunya.portal.declaration import Figure
from catalunya.portal.figure_text import is_percentage, unit_text, value_text
from catalunya.portal.figures import FigureSeries, figure_series, places
from catalunya.portal.geometry import Drawing
from catalunya.portal.language import Language
from catalunya.portal.place_map import geometry_of
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site, table_path

PATH = "map"
WIDTH = 600
"""Of the drawing, in its units: where three of 947 municipalities have no area any more."""
NEWEST_PERIODS = 60
"""That can be chosen. A figure of each day has more."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A level of the map: its places by name (as `figures.places`, with the `parent_name`), their shapes, and the lines of the level `above`."""

    level: str
    above: str
    places: pl.DataFrame
    drawing: Drawing
    borders: str


@dataclass(frozen=True, eq=False)
class Shade:
    """A figure at a level, as the map shows it. `rows`: place, period, value (rounded), class; `periods`: the newest last."""

    series: FigureSeries
    periods: list[str]
    rows: pl.DataFrame

    @property
    def figure(self) -> Figure:
        return self.series.figure

    @property
    def file(self) -> str:
        """Where its values are on the site."""
        return f"data/map/{self.series.name}.{self.series.level}.json"

    @cached_property
    def limits(self) -> dict[str, list[tuple[float, float] | None]]:
        """The limits of the classes of each period."""
        return limits(self.rows)

    def at(self, codes: pl.Series, period: str) -> pl.DataFrame:
        """Value and class of these places in a period, in the order of `codes`; null for a place without a row."""
        found = self.rows.filter(pl.col("period") == period).select("place", "value", "class")
        return codes.to_frame("place").join(found, on="place", how="left", maintain_order="left")


def parts(site: Site) -> Iterator[Part]:
    """The page in all languages; the values of the figures."""
    if PATH in site.sections:
        yield Part("map", made_from(site), lambda: _pages(site))
        yield Part("map values", made_from(site), lambda: _values(site))


def made_from(site: Site) -> dict[str, str]:
    """What places, their shapes and figures depend on: the tables they are read from, and the file of the shapes."""
    levels, figures = site.declared.levels.values(), site.declared.figures.values()
    tables = {level.table for level in levels} | {at.table for figure in figures for at in figure.levels.values()}
    shapes = active().folder / site.declared.geometry
    found = {"shapes": digest(shapes.read_text(encoding="utf-8")) if shapes.is_file() else ""}
    return found | {key: site.version(key) for key in sorted(tables)}


def layers(site: Site) -> list[Layer]:
    """The levels that have shapes and known places, the smallest places first; all are drawn in one frame."""
    geometry = geometry_of(site)
    if geometry is None:
        return []
    levels = [level for level in site.declared.levels if level in geometry.levels]
    frame = geometry.frame(levels[0]) if levels else None
    known = {level: places(site, level).sort("folded", "code") for level in levels}
    drawn = {level: geometry.shapes(level, WIDTH, frame) for level in levels}
    found = []
    for level in levels:
        above = site.declared.levels[level].parent if site.declared.levels[level].parent in known else ""
        names = known[above] if above else known[level].clear()
        named = names.select(parent="code", parent_name="said")
        rows = known[level].join(named, on="parent", how="left", maintain_order="left")
        borders = "".join(drawn[above].paths.values()) if above else ""
        if len(rows):
            found.append(Layer(level, above, rows, drawn[level], borders))
    return found


def shades(site: Site, levels: Iterable[str]) -> list[Shade]:
    """The figures of the map at these levels that have a known value, in the order of the declaration."""
    chosen = set(levels)
    found = []
    for series in figure_series(site):
        if series.figure.map and series.level in chosen and series.periods:
            periods = series.periods[-NEWEST_PERIODS:]
            rows = series.rows.filter(pl.col("period").is_in(periods))
            diverging = series.figure.style == "change"
            found.append(Shade(series, periods, classified(rows, series.figure.digits, diverging=diverging)))
    return found


def _values(site: Site) -> Iterator[File]:
    for shade in shades(site, [layer.level for layer in layers(site)]):
        yield File(shade.file, values_file(shade))


def values_file(shade: Shade) -> bytes:
    """The values of a figure at a level, for the script: `places` (codes); by period `values` in their order, and `limits` of the classes."""
    digits = shade.figure.digits
    whole = pl.Int64 if digits == 0 else pl.Float64
    table = (
        shade.rows.with_columns(pl.col("value").cast(whole))
        .pivot(on="period", on_columns=shade.periods, index="place", values="value")
        .sort("place")
    )
    codes = table["place"].to_list()
    found = {
        "places": codes,
        "values": {period: table[period].to_list() for period in shade.periods},
        "limits": {
            period: [each and [_whole(value, digits) for value in each] for each in shade.limits[period]]
            for period in shade.periods
        },
    }
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()


def _whole(value: float, digits: int) -> float:
    return value if digits else int(value)


def _pages(site: Site) -> Iterator[File]:
    found = layers(site)
    shown = shades(site, [layer.level for layer in found])
    geometry = geometry_of(site)
    for code in site.languages:
        language = Language(code)
        values: dict[str, Any] = {"first": None, "levels": [layer.level for layer in found]}
        if shown:
            values |= _shown(language, found, shown) | {"attribution": geometry.attribution if geometry else ""}
        title = language.t("map.title")
        page = render_page(
            site, language, PATH, "map.html", title=title, description=language.t("map.description"), **values
        )
        yield File(site.page(code, PATH), page)


def _shown(language: Language, found: list[Layer], shown: list[Shade]) -> dict[str, Any]:
    first = shown[0]
    period = first.periods[-1]
    return {
        "first": first,
        "period": period,
        "layers": [_drawn(language, layer, first if first.series.level == layer.level else None) for layer in found],
        "drawing": found[0].drawing,
        "legend": [
            (number, each and _range(language, first.figure, *each)) for number, each in enumerate(first.limits[period])
        ],
        "shows": language.t(
            "map.shows",
            figure=title_of(f"figure.{first.series.name}", language.code),
            level=_level_word(first.series.level, language),
            period=language.period(period),
        ),
        "choices": _choices(language, shown),
    }


def _drawn(language: Language, layer: Layer, shade: Shade | None) -> dict[str, Any]:
    """A layer for the template: each of `places` has path, code, name, parent, value (in words), number, class."""
    codes = layer.places["code"]
    empty = [None] * len(codes)
    at = shade.at(codes, shade.periods[-1]) if shade else None
    values = at["value"].to_list() if at is not None else empty
    classes = at["class"].to_list() if at is not None else empty
    names, parents = layer.places["said"].to_list(), layer.places["parent_name"].to_list()
    figure = shade.figure if shade else None
    return {
        "level": layer.level,
        "chosen": shade is not None,
        "drawing": layer.drawing,
        "borders": layer.borders,
        "above": layer.above,
        "places": [
            (code, name, parent or "", value_text(language, figure, value) if figure else "", value, number)
            for code, name, parent, value, number in zip(codes, names, parents, values, classes, strict=True)
        ],
    }


def _range(language: Language, figure: Figure, low: float, high: float) -> str:
    from_, to = value_text(language, figure, low), value_text(language, figure, high)
    return from_ if low == high else language.t("map.range", low=from_, high=to)


def _unit(language: Language, series: FigureSeries) -> str:
    """The unit of a figure, unless each value has it."""
    return "" if is_percentage(series.figure) else unit_text(language, series.figure, series.column)


def _level_word(level: str, language: Language) -> str:
    """What a level is called within a sentence."""
    return title_of(f"level.{level}", language.code).lower()


def _choices(language: Language, shown: list[Shade]) -> Mapping[str, Any]:
    """What the script needs to know: what can be chosen, by figure and level, and how the language writes it."""
    figures: dict[str, dict[str, Any]] = {}
    for shade in shown:
        series, unit = shade.series, _unit(language, shade.series)
        title = title_of(f"figure.{series.name}", language.code)
        figure = figures.setdefault(
            series.name,
            {
                "name": series.name,
                "title": title,
                "column": f"{title} ({unit})" if unit else title,
                "unit": unit,
                "note": titles().get(f"note.{series.name}", {}).get(language.code, ""),
                "change": series.figure.style == "change",
                "digits": series.figure.digits,
                "suffix": language.percent(1, 0)[1:] if is_percentage(series.figure) else "",
                "levels": [],
            },
        )
        figure["levels"].append(
            {
                "name": series.level,
                "title": title_of(f"level.{series.level}", language.code),
                "word": _level_word(series.level, language),
                "file": shade.file,
                "source": title_of(series.series.table, language.code),
                "link": f"{table_path(series.series.table)}.html",
                "periods": [{"name": each, "title": language.period(each)} for each in reversed(shade.periods)],
            }
        )
    return {
        "figures": list(figures.values()),
        "range": language.t("map.range"),
        "shows": language.t("map.shows"),
        "failed": language.t("map.failed"),
        "unknown": language.t("map.unknown"),
        "even": language.t("map.classes"),
        "around_zero": language.t("map.classes_change"),
        "root": "../",
    }
