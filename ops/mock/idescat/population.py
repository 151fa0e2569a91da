"""Estimates of population (ep/9122/10002/mun), generated: half-years from 2012S1 by municipality and sex.

TOTAL is Catalonia: the sum of all municipalities, those that are not told (`..`) counted with. As in the real tables an
extinct municipality (171045, Medinyà) is listed without a value, and Catalonia itself lacks its value in one half-year.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from catalunya.ops.mock.generate_municipalities import natural_name
from catalunya.ops.mock.idescat.cube import (
    PROVISIONAL,
    TOTAL,
    Cells,
    Dimension,
    Head,
    StatTable,
    dense,
    periods,
    with_statuses,
)
from catalunya.ops.mock.idescat.sizes import COMARCA_THOUSANDS, MUNICIPALITY_THOUSANDS
from catalunya.ops.mock.noise import column, number

HEAD = Head(
    path="ep/9122/10002/mun",
    statistic="Estimacions de població",
    label="Població. Per sexe",
    source="Idescat.",
    updated=date(2026, 4, 30),
    notes=("Les dades del darrer semestre són provisionals.",),
)
EXTINCT = ("171045", "Medinyà")
HALF_YEARS = 28  # of version 0: 2012S1 to 2025S2
UNTOLD_TOTAL = "2016S1"  # the half-year without a figure for Catalonia
SEXES = {"M": "homes", "F": "dones", TOTAL: "total"}
_TINY = 150  # people in a municipality whose figures are held back now and then


@dataclass(frozen=True)
class Town:
    """A municipality: people at the beginning, growth a half-year in millionths, men in a thousand."""

    code: str
    name: str
    people: int
    growth: int
    men: int


def population_table(seed: int, municipalities: Sequence[tuple[str, str, str]]) -> StatTable:
    """The table of these municipalities (code, name, comarca) and its later versions."""
    known: list[Town] = []

    def towns() -> list[Town]:
        if not known:
            known.extend(_towns(seed, municipalities))
        return known

    return StatTable(HEAD, lambda version: _dimensions(towns(), version), lambda v: _cells(seed, towns(), v))


def _dimensions(towns: Sequence[Town], version: int) -> tuple[Dimension, ...]:
    half_years = periods("S", (2012, 1), HALF_YEARS + version)
    names = {town.code: town.name for town in towns} | {TOTAL: "Catalunya"}
    newest = {"status": {list(half_years)[-1]: PROVISIONAL}}
    return (
        Dimension("SEMESTER", "semestre", "time", half_years, extension=newest),
        Dimension("MUN", "municipi", "geo", names),
        Dimension("SEX", "sexe", "", SEXES),
        Dimension("CONCEPT", "concepte", "metric", {"POP": "població"}, {"POP": 0}, {"%": ["POP"]}),
    )


def _towns(seed: int, municipalities: Sequence[tuple[str, str, str]]) -> list[Town]:
    """In the order in which the API lists them: by name, the article left aside, the extinct one among them."""
    weights: dict[str, float] = {}
    left = dict(enumerate((1000.0 * thousands for thousands in COMARCA_THOUSANDS), start=1))
    for code, _, comarca in municipalities:
        if code in MUNICIPALITY_THOUSANDS:
            left[int(comarca)] -= 1000 * MUNICIPALITY_THOUSANDS[code]
        else:  # a few large ones, and many small ones
            weights[code] = 1 / (0.05 + number(seed, 31, int(code)) % 1000 / 1000)
    together: dict[int, float] = {}
    for code, _, comarca in municipalities:
        together[int(comarca)] = together.get(int(comarca), 0) + weights.get(code, 0)
    towns = []
    for code, name, comarca in municipalities:
        people = 1000 * MUNICIPALITY_THOUSANDS.get(code, 0)
        if not people:
            people = max(30.0, left[int(comarca)] * weights[code] / together[int(comarca)])
        noise = number(seed, 32, int(code))
        towns.append(Town(code, name, int(people), noise % 10_000 - 2_500, 475 + noise // 2**32 % 50))
    towns.append(Town(*EXTINCT, people=0, growth=0, men=0))
    return sorted(towns, key=lambda town: (_sorted_by(town.name), town.code))


def _sorted_by(name: str) -> str:
    stem = name.rpartition(", ")[0] if natural_name(name) != name else name
    bare = unicodedata.normalize("NFD", stem)
    return "".join(letter for letter in bare if not unicodedata.combining(letter)).casefold()


def _cells(seed: int, towns: Sequence[Town], version: int) -> Cells:
    half_years, newest = HALF_YEARS + version, HALF_YEARS + version - 1
    frame = pl.DataFrame(
        {
            "town": pl.Series(range(len(towns)), dtype=pl.UInt64),
            "people": [town.people for town in towns],
            "growth": [town.growth for town in towns],
            "men": [town.men for town in towns],
            "is_extinct": [town.code == EXTINCT[0] for town in towns],
        }
    )
    time = pl.DataFrame({"time": pl.Series(range(half_years), dtype=pl.UInt64)})
    cell = pl.col("time") * 4096 + pl.col("town")
    level = pl.col("people") * (1_000_000 + pl.col("growth") * pl.col("time").cast(pl.Int64)) // 1_000_000
    frame = time.join(frame, how="cross").with_columns(
        M=level * pl.col("men") // 1000 + level * _spread(cell, seed, 33) // 1_000_000,
        F=level * (1000 - pl.col("men")) // 1000 + level * _spread(cell, seed, 34) // 1_000_000,
        held_back=column(cell, seed, 35) % 120,
    )
    # What is provisional is a little beside what it will be.
    is_new = pl.col("time") == newest
    beside = level * _spread(cell, seed, 36) // 1_000_000 + (column(cell, seed, 37) % 3).cast(pl.Int64)
    frame = frame.with_columns(
        pl.col("M") + pl.when(is_new).then(beside).otherwise(0) + _revised(seed, len(towns), version)
    ).with_columns(pl.when(pl.col("is_extinct")).then(0).otherwise(pl.col("M", "F").clip(lower_bound=0)).name.keep())
    catalonia = frame.group_by("time", maintain_order=True).agg(
        pl.col("M", "F", "people").sum(),
        town=pl.lit(len(towns), pl.UInt64),
        is_extinct=pl.lit(value=False),
        held_back=pl.lit(0, pl.UInt64),
    )
    rows = pl.concat([frame, catalonia], how="diagonal").sort("time", "town")
    untold = list(periods("S", (2012, 1), half_years)).index(UNTOLD_TOTAL)
    held_back = pl.when(pl.col("people") < _TINY).then("held_back").otherwise(120)
    nobody = pl.col("is_extinct") | (held_back == 0) | ((pl.col("town") == len(towns)) & (pl.col("time") == untold))
    half = nobody | (held_back < 3)
    told = rows.select(
        pl.when(~half).then("M").alias("M"),
        pl.when(~half).then("F").alias("F"),
        pl.when(~nobody).then(pl.col("M") + pl.col("F")).alias(TOTAL),
    )
    return with_statuses(dense(told), newest * (len(towns) + 1) * len(SEXES), PROVISIONAL)


def _spread(cell: pl.Expr, *salt: int) -> pl.Expr:
    """From -1000 to 1000."""
    return (column(cell, *salt) % 2001).cast(pl.Int64) - 1000


def _revised(seed: int, towns: int, version: int) -> pl.Series:
    """People more by row (half-year, municipality): at each version, a few figures of the year before are revised."""
    more = [0] * (towns * (HALF_YEARS + version))
    for step in range(1, version + 1):
        for change in range(5):
            noise = number(seed, 38, step, change)
            time = HALF_YEARS + step - 3 - noise % 2
            more[time * towns + noise // 2 % towns] += 1 + noise // 2**32 % 5
    return pl.Series(more, dtype=pl.Int64)
