"""What is shown of places over time, read from the published tables: places by level, and figures by level, place and period.

Here: the frames that pages, the map and the files about places are made of. Not here: what a project shows (`declaration.py`), how it looks.
Everything stays columnar: a page takes its rows from `partition_by`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from catalunya.assets.graph.titles import title_of
from catalunya.contracts.model.columns import Column
from catalunya.io.errors import ConfigurationError
from catalunya.io.safe_text import few
from catalunya.portal.declaration import WHOLE, Figure, Level, Series
from catalunya.portal.names import folded, said
from catalunya.portal.site import Site

_PERIOD = r"^[12][0-9]{3}(-Q[1-4]|-H[12]|-(0[1-9]|1[0-2])(-[0-9]{2})?)?$"
"""Of the years that the dates of contracts are in."""
_CODE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""The codes that addresses can have as they are, in every kind of file."""
INTERPOLATED = "interpolated"
"""The status of a value that was not counted but computed from those before and after."""


@dataclass(frozen=True, slots=True, eq=False)
class FigureSeries:
    """One figure at one level: its declaration, the column it is from, and `rows`.

    `rows`: place (text), period (text: `2025`, `2025-Q3`, `2025-07`, `2025-07-01`), value (f64, null if not known), status (text or null), sorted by
    place and period, one row for each. `parts`: the newest figure broken down, place, part, value; None if it is not.
    """

    name: str
    level: str
    figure: Figure
    series: Series
    column: Column
    rows: pl.DataFrame
    parts: pl.DataFrame | None

    @property
    def periods(self) -> list[str]:
        """The periods with a known value at any place, in order."""
        return self.rows.filter(pl.col("value").is_not_null())["period"].unique().sort().to_list()

    @property
    def latest(self) -> pl.DataFrame:
        """The last known row of each place."""
        return self.rows.filter(pl.col("value").is_not_null()).group_by("place", maintain_order=True).last()


def places(site: Site, level: str) -> pl.DataFrame:
    """The places of a level as they are now, one row each, sorted by code: code, name, parent (code or null), longitude, latitude (or null).

    And `said`, the name as it is said, and `folded`, by which names are sorted and searched (`names.py`).

    Without those whose code cannot stand in an address. The whole territory is one place with the code "". Empty while the table was never made.
    Raises ConfigurationError for codes that differ only by case.
    """
    columns = {
        "code": pl.String,
        "name": pl.String,
        "parent": pl.String,
        "longitude": pl.Float64,
        "latitude": pl.Float64,
    }
    if level == WHOLE:
        whole = {"code": [""], "name": [title_of(f"level.{WHOLE}", site.languages[0])]}
        one = pl.DataFrame(whole).select(
            *(pl.col(name) if name in whole else pl.lit(None, kind).alias(name) for name, kind in columns.items())
        )
        return one.with_columns(said="name", folded=folded(pl.col("name")))
    declared = site.declared.levels[level]
    table = site.table(declared.table)
    if table is None:
        return pl.DataFrame(schema=columns | {"said": pl.String, "folded": pl.String})
    rows = table.filter(pl.sql_expr(declared.current)) if declared.current else table
    names = {
        "code": declared.code,
        "name": declared.name,
        "parent": declared.parent_code,
        "longitude": declared.longitude,
        "latitude": declared.latitude,
    }
    found = rows.select(
        (pl.col(name).cast(columns[to]) if name else pl.lit(None, columns[to])).alias(to) for to, name in names.items()
    )
    name = pl.col("name")
    ready = found.filter(pl.col("code").str.contains(_CODE)).with_columns(
        said=said(name, site.declared.articles), folded=folded(name)
    )
    each = ready.unique("code", keep="first", maintain_order=True).sort("code").collect()
    alike = each.filter(pl.col("code").str.to_lowercase().is_duplicated())["code"].to_list()
    if alike:
        raise ConfigurationError(
            f"{declared.table}.{declared.code}: expected codes that differ by more than case, found {few(alike)}: on a disk that ignores case "
            f"they would be one page; leave all but one of them out in assets/portal.toml, by `current` of levels.{level}"
        )
    return each


def versions(site: Site, level: str) -> pl.DataFrame:
    """The history of the places of a level: code, name, parent, valid_from, valid_to (null while it holds), by code and time.

    Empty if the level's table has no history.
    """
    columns = {"code": pl.String, "name": pl.String, "parent": pl.String, "valid_from": pl.Date, "valid_to": pl.Date}
    declared = site.declared.levels.get(level)
    table = site.table(declared.table) if declared and declared.valid_from else None
    if declared is None or table is None or not declared.parent_code:
        return pl.DataFrame(schema=columns)
    names = (declared.code, declared.name, declared.parent_code, declared.valid_from, declared.valid_to)
    chosen = [pl.col(name).alias(to) for to, name in zip(columns, names, strict=True)]
    return table.select(chosen).sort("code", "valid_from").collect()


def figure_series(site: Site) -> Iterator[FigureSeries]:
    """Every declared figure at every level whose table was made, in the order of the declaration."""
    for name, figure in site.declared.figures.items():
        for level, series in figure.levels.items():
            table = site.table(series.table)
            if table is not None:
                yield _read(site, name, level, figure, series, table)


def _read(site: Site, name: str, level: str, figure: Figure, series: Series, table: pl.LazyFrame) -> FigureSeries:
    column = next(each for each in site.graph[series.table].columns if each.name == series.value)
    chosen = table.filter(pl.sql_expr(series.where)) if series.where else table
    status = pl.col(series.status).cast(pl.String) if series.status else pl.lit(None, pl.String)
    if series.interpolated:
        status = pl.when(pl.col(series.interpolated)).then(pl.lit(INTERPOLATED)).otherwise(status)
    number = pl.col(series.value).cast(pl.Float64)
    picked = chosen.select(
        (pl.col(series.place) if series.place else pl.lit("")).alias("place"),
        pl.col(series.period).cast(pl.String).alias("period"),
        pl.when(number.is_finite()).then(number).alias("value"),
        status.alias("status"),
        *([pl.col(series.by).cast(pl.String).alias("part")] if series.by else []),
    ).filter(_is_period(pl.col("period")))
    # A sum with an unknown part is unknown; without a sum, the rows of a place and period say the same.
    value = pl.col("value").sum() if series.sum else pl.col("value").first()
    known = pl.col("value").is_not_null().all() if series.sum else pl.lit(value=True)
    complete = known & (pl.len() == series.rows) if series.rows else known
    latest_status = pl.col("status").drop_nulls().max().alias("status")
    rows = (
        picked.group_by("place", "period")
        .agg(pl.when(complete).then(value).alias("value"), latest_status)
        .sort("place", "period")
        .collect()
    )
    parts = None
    if series.by:
        newest = rows.filter(pl.col("value").is_not_null()).group_by("place").agg(pl.col("period").max())
        parts = (
            picked.join(newest.lazy(), on=["place", "period"])
            .group_by("place", "part")
            .agg(pl.when(known).then(value).alias("value"))
            .sort("place", "value", "part", descending=[False, True, False], nulls_last=True)
            .collect()
        )
    return FigureSeries(name, level, figure, series, column, rows, parts)


def _is_period(text: pl.Expr) -> pl.Expr:
    """Whether a text is a period or a day that there is: what has no place in time is not shown."""
    is_day = text.str.len_chars() == 10
    return text.str.contains(_PERIOD) & (~is_day | text.str.to_date("%Y-%m-%d", strict=False).is_not_null())


def above(site: Site, level: str) -> list[str]:
    """The levels above one, nearest first, ending with the whole."""
    found, at = [], level
    while at != WHOLE:
        declared: Level | None = site.declared.levels.get(at)
        at = (declared.parent if declared else "") or WHOLE
        found.append(at)
    return found
