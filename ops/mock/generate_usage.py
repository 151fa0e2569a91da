"""Users of day centres and residences (yavr-pn8q), generated: years 2015 to 2024 by comarca and sex, 422 rows.

42 comarques until 2022, 43 from 2023. As in the real table, nobody is told by leaving the field out, totals are women
plus men, and every row was replaced at once. Small enough for Python loops.
"""

from __future__ import annotations

import polars as pl

from catalunya.ops.mock.datasets import USAGE
from catalunya.ops.mock.noise import number
from catalunya.ops.mock.places import COMARQUES
from catalunya.ops.mock.tables import SmallTable, from_rows

Row = dict[str, str | None]

YEARS = range(2015, 2025)
LLUCANES, LLUCANES_SINCE = "43", 2023
_SMALL = ("05", "15", "26", "43")  # comarques with a handful of places in day centres
_DAY = "{}_centre_de_dia_gent"
_HOME = "{}_resid_ncia_gent_gran"


def usage_table(seed: int) -> SmallTable:
    """The table of the 422 rows and its later versions."""
    return SmallTable(USAGE, from_rows(USAGE, generate(seed)), step)


def generate(seed: int) -> list[Row]:
    """The rows of version 0, by year and comarca."""
    return [
        _row(seed, year, comarca.code, comarca.name)
        for year in YEARS
        for comarca in COMARQUES
        if comarca.code != LLUCANES or year >= LLUCANES_SINCE
    ]


def _row(seed: int, year: int, code: str, name: str) -> Row:
    size = number(seed, 21, int(code)) % 140 + 20 if code != "13" else 2400
    drift = number(seed, 22, year, int(code))
    day_women, day_men = size + drift % 17, size // 3 + drift // 2**8 % 9
    if code in _SMALL:
        day_women, day_men = drift % 5, drift // 2**8 % 2
    home_women, home_men = size * 4 + drift // 2**16 % 60, size * 3 // 2 + drift // 2**24 % 30
    day = {"dones": day_women, "homes": day_men, "total": day_women + day_men}
    row: Row = {"any": str(year), "codi": code, "comarca": name}
    row |= {_DAY.format(who): str(count) if count else None for who, count in day.items()}
    row |= {
        _HOME.format("dones"): str(home_women),
        _HOME.format("homes"): str(home_men),
        _HOME.format("total"): str(home_women + home_men),
        "dones_total": str(day_women + home_women),
        "homes_total": str(day_men + home_men),
        "total": str(day_women + day_men + home_women + home_men),
    }
    return row


def step(frame: pl.DataFrame, version: int) -> pl.DataFrame:
    """A woman more in three rows, one row of the first years withdrawn, one of the coming year published."""
    rows: list[Row] = frame.to_dicts()
    for change in range(3):
        row = rows[number(version, 23, change) % len(rows)]
        for field in (_HOME.format("dones"), _HOME.format("total"), "dones_total", "total"):
            row[field] = str(int(row[field] or 0) + 1)
    withdrawn = number(version, 24) % max(1, len(rows) // 4)
    latest = {row["codi"]: row for row in rows}  # rows come by year
    comarca = COMARQUES[(version - 1) % len(COMARQUES)].code
    template = latest.get(comarca, rows[-1])
    published = template | {"any": str(int(template["any"] or 0) + 1)}
    return from_rows(USAGE, [*rows[:withdrawn], *rows[withdrawn + 1 :], published])
