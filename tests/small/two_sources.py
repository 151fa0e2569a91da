"""The births of `years.py` with a second source, a register that counts once a year under other names, and a process killed in a switch.

The table says which of the two each row is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from catalunya.assets.graph.alternatives import Alternative
from catalunya.assets.graph.spec import Declaration, Landing, LandingDeclaration, StagingDeclaration, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Outcome, Request
from catalunya.assets.record.project import Project
from catalunya.contracts.model.columns import PROVENANCE
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from small.killing import TrapdoorLake, elsewhere
from small.patience import patience
from small.years import RawBirths, YearsSource

KEYS = ("landing.births", "staging.births")
FIRST, REGISTER = "folder first", "folder register"


class BirthsAndSource(Contract, max_shrink=0.4, max_change=1.0, tolerate=0.5):
    """Births by half-year, and the dataset that each row is from."""

    half_year_id: str = column(
        "The half-year", source=RawBirths.quan, key=True, period=True, str_matches=r"^\d{4}-H[12]$"
    )
    births: int = column("Births", source=RawBirths.nascuts, ge=0)
    births_source: str = column("Dataset", source=PROVENANCE)
    year_id: str = column("The year")


def first_half(raw: pl.LazyFrame) -> pl.LazyFrame:
    """The register's years as first half-years."""
    return raw.with_columns(quan=pl.col("quan") + "-H1")


def declare(folder: Path, uses: str = "") -> tuple[YearsSource, YearsSource, list[Declaration]]:
    """Both sources, and the graph of `years.py`, read from the first one or from `register`."""
    first, register = YearsSource(folder / "first"), YearsSource(folder / "register", when="any", count="total")
    other = Alternative(source=register, fields={"quan": "any", "nascuts": "total"}, rows=first_half)
    landing = Landing(
        "births", source=first, contract=RawBirths, schedule="0 5 * * *", alternatives={"register": other}
    )

    @staging(landing, contract=BirthsAndSource, partition_by=["year_id"])
    def births(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(year_id=pl.col("half_year_id").str.slice(0, 4))

    return first, register, using([landing, births], "births", uses)


def using(declared: Sequence[Declaration], table: str, name: str) -> list[Declaration]:
    """The declarations with one landing table read from one of its alternatives, as after a switch."""
    made: list[Declaration] = []
    for each in declared:
        if isinstance(each, LandingDeclaration) and each.name == table:
            made.append(each.using(name))
        elif isinstance(each, StagingDeclaration) and each.landing.name == table:
            made.append(replace(each, landing=each.landing.using(name)))
        else:
            made.append(each)
    return made


def make(settings: Settings, folder: Path, uses: str = "", *, accept: bool = False) -> list[Outcome]:
    """Make both tables from the source in use."""
    project = Project(settings, declare(folder, uses)[2])
    return [materialize(project, key, Request(accept_change=accept)) for key in KEYS]


def switch(settings: Settings, folder: Path, trapdoor: int | None = None) -> int:
    """Make both tables from the register, accepting what that changes; returns the number of writes and deletions."""
    project = Project(settings, declare(folder, "register")[2])
    project.lake = lake = TrapdoorLake(settings.lake, trapdoor)
    for key in KEYS:
        materialize(project, key, Request(accept_change=True))
    return lake.writes


def switch_elsewhere(settings: Settings, folder: Path, trapdoor: int) -> int | None:
    """The same in a child process; returns its exit code: -9 if it was killed."""
    child = elsewhere(switch, settings, folder, trapdoor)
    child.join(patience(60))
    return child.exitcode
