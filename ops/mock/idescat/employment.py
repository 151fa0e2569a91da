"""Affiliations to the Social Security (afic), generated: jobs by month, comarca and section of activity, two tables.

CCAE-2009 until 2025M12, a closed table, and CCAE-2025 from 2026M03. Totals count every job, also those that are not told
(`..`). Lluçanès is a comarca since 2023: before, it has no figures, and its jobs are Osona's. The ids of these two tables
are made up: the real ones of `afic` are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from catalunya.ops.mock.idescat.cube import (
    MISSING,
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
from catalunya.ops.mock.idescat.sizes import COMARCA_THOUSANDS
from catalunya.ops.mock.noise import column, number
from catalunya.ops.mock.places import COMARQUES

OSONA, LLUCANES, LLUCANES_SINCE = 24, 43, 2023
_STATISTIC = "Afiliacions a la Seguretat Social segons ubicació del compte de cotització"
_FEW = 4  # jobs: fewer are not told
_FIRST_YEAR = 2020
# Against a month of the average, in 1000: tourism has its summer.
_SEASONS = {"I": (-90, -80, -30, 10, 40, 90, 120, 130, 70, -10, -100, -80)}


@dataclass(frozen=True)
class Section:
    """A section of the classification: its letter, its name, and of 1000 jobs how many it has."""

    letter: str
    name: str
    share: int


CCAE_2009 = (
    Section("A", "Agricultura, ramaderia, silvicultura i pesca", 10),
    Section("B", "Indústries extractives", 1),
    Section("C", "Indústries manufactureres", 131),
    Section("D", "Subministrament d'energia elèctrica, gas, vapor i aire condicionat", 2),
    Section("E", "Subministrament d'aigua; activitats de sanejament, gestió de residus i descontaminació", 9),
    Section("F", "Construcció", 63),
    Section("G", "Comerç a l'engròs i al detall; reparació de vehicles de motor i motocicletes", 172),
    Section("H", "Transport i emmagatzematge", 56),
    Section("I", "Hostaleria", 85),
    Section("J", "Informació i comunicacions", 47),
    Section("K", "Activitats financeres i d'assegurances", 20),
    Section("L", "Activitats immobiliàries", 14),
    Section("M", "Activitats professionals, científiques i tècniques", 76),
    Section("N", "Activitats administratives i serveis auxiliars", 78),
    Section("O", "Administració pública, Defensa i Seguretat Social obligatòria", 52),
    Section("P", "Educació", 66),
    Section("Q", "Activitats sanitàries i de serveis socials", 74),
    Section("R", "Activitats artístiques, recreatives i d'entreteniment", 20),
    Section("S", "Altres serveis", 23),
    Section(
        "T",
        "Activitats de les llars que donen ocupació a personal domèstic; "
        "activitats de les llars que produeixen béns i serveis per a ús propi",
        1,
    ),
    Section("U", "Organismes extraterritorials", 0),
)
_BY_LETTER = {section.letter: section for section in CCAE_2009}
CCAE_2025 = (
    *(_BY_LETTER[letter] for letter in "ABCDEFGHI"),
    Section("J", "Activitats d'edició, radiodifusió i producció i distribució de continguts", 12),
    Section(
        "K",
        "Telecomunicacions, programació, consultoria, infraestructura informàtica i altres serveis d'informació",
        35,
    ),
    # From here on each letter means what the one before it meant.
    *(Section(chr(ord(s.letter) + 1), s.name, s.share) for s in CCAE_2009 if s.letter >= "K"),
)


@dataclass(frozen=True)
class _Edition:
    """One of the two tables: `first` month of `months` at version 0; a closed one is revised and does not grow."""

    head: Head
    sections: tuple[Section, ...]
    first: tuple[int, int]
    months: int
    closed: bool

    def labels(self, version: int) -> dict[str, str]:
        return periods("M", self.first, self.months + (0 if self.closed else version))


EDITIONS = (
    _Edition(
        Head(
            path="afic/22001/26101/com",
            statistic=_STATISTIC,
            label="Afiliacions. Per seccions d'activitat (CCAE-2009) (12/2020–12/2025)",
            source="Idescat, a partir de dades de l'Institut Nacional de la Seguretat Social i l'Institut Social de la Marina.",
            updated=date(2026, 2, 12),
            statuses=(MISSING,),
        ),
        CCAE_2009,
        first=(2020, 12),
        months=61,
        closed=True,
    ),
    _Edition(
        Head(
            path="afic/22002/26102/com",
            statistic=_STATISTIC,
            label="Afiliacions. Per seccions d'activitat (CCAE-2025)",
            source="Idescat, a partir de dades de l'Institut Nacional de la Seguretat Social i l'Institut Social de la Marina.",
            updated=date(2026, 10, 8),
            notes=("Les dades del darrer mes són provisionals.",),
        ),
        CCAE_2025,
        first=(2026, 3),
        months=6,
        closed=False,
    ),
)


def employment_tables(seed: int) -> list[StatTable]:
    """The table of each classification."""
    return [_table(seed, edition) for edition in EDITIONS]


def _table(seed: int, edition: _Edition) -> StatTable:
    return StatTable(
        edition.head, lambda version: _dimensions(edition, version), lambda version: _cells(seed, edition, version)
    )


def _dimensions(edition: _Edition, version: int) -> tuple[Dimension, ...]:
    months = edition.labels(version)
    names = {comarca.code: comarca.name for comarca in COMARQUES} | {TOTAL: "Catalunya"}
    letters = {section.letter: section.name for section in edition.sections} | {TOTAL: "total"}
    since = f"{LLUCANES_SINCE}M01"
    a_break = {"break": [{"time": since, "id": "COM43", "label": "Creació de la comarca del Lluçanès."}]}
    return (
        Dimension(
            "MONTH",
            "mes",
            "time",
            months,
            extension={} if edition.closed else {"status": {list(months)[-1]: PROVISIONAL}},
        ),
        Dimension("COM", "comarca", "geo", names, extension=a_break if since in months else {}),
        Dimension("SECTION", "secció", "", letters),
        Dimension("CONCEPT", "concepte", "metric", {"JOBS": "afiliacions"}, {"JOBS": 0}, {"%": ["JOBS"]}),
    )


def _cells(seed: int, edition: _Edition, version: int) -> Cells:
    months = [(int(code[:4]), int(code[5:])) for code in edition.labels(version)]
    letters = [section.letter for section in edition.sections]
    frame = pl.DataFrame({"time": pl.Series(range(len(months)), dtype=pl.UInt64)}).join(
        pl.DataFrame({"comarca": pl.Series(range(1, len(COMARQUES) + 1), dtype=pl.UInt64)}), how="cross"
    )
    newest = len(months) - 1
    is_new = (pl.col("time") == newest) & (not edition.closed)
    time = pl.lit(pl.Series([12 * (year - _FIRST_YEAR) + month for year, month in months])).gather(pl.col("time"))
    revised = _revised(seed, edition, version, len(months), len(letters))
    jobs = []
    for at, section in enumerate(edition.sections):
        # The noise is of the month, so that it is not that of the position: each table has its own first month.
        cell = time.cast(pl.UInt64) * 4096 + pl.col("comarca") * 64 + at
        base = pl.lit(pl.Series(_bases(seed, section))).gather(pl.col("comarca"))
        season = pl.lit(pl.Series([_season(section, month) for _, month in months])).gather(pl.col("time"))
        spread = (column(cell, seed, 46) % 17).cast(pl.Int64) - 8
        beside = pl.when(is_new).then((column(cell, seed, 47) % 7).cast(pl.Int64) - 3).otherwise(0)
        level = base * (1000 + season) * (1000 + 2 * time + spread + beside) // 1_000_000
        jobs.append((level + pl.Series(revised[at], dtype=pl.Int64)).clip(lower_bound=0).alias(section.letter))
    frame = _before_llucanes(frame.with_columns(jobs), letters, [year for year, _ in months])
    frame = frame.with_columns(pl.sum_horizontal(letters).alias(TOTAL))
    catalonia = frame.group_by("time", maintain_order=True).agg(
        pl.col(*letters, TOTAL).sum(), comarca=pl.lit(len(COMARQUES) + 1, pl.UInt64), is_there=pl.lit(value=True)
    )
    rows = pl.concat([frame, catalonia], how="diagonal").sort("time", "comarca")
    few = [pl.col(name).is_between(1, _FEW - 1) for name in letters]
    told = rows.select(
        *(pl.when(pl.col("is_there") & ~hidden).then(name) for name, hidden in zip(letters, few, strict=True)),
        pl.when("is_there").then(TOTAL),
    )
    start = newest * (len(COMARQUES) + 1) * (len(letters) + 1)
    return with_statuses(dense(told), start, "" if edition.closed else PROVISIONAL)


def _bases(seed: int, section: Section) -> list[int]:
    """Jobs in the average month of 2020 by comarca (0 is none)."""
    found = [0]
    of_section = number(seed, 45, *map(ord, section.name[:24]))  # one that only changes its letter keeps its jobs
    for comarca, thousands in enumerate(COMARCA_THOUSANDS, start=1):
        noise = number(of_section, comarca)
        jobs = thousands * 430 * section.share * (500 + noise % 1000) // 1_000_000
        if section.name.startswith("Agricultura") and thousands < 60:
            jobs *= 6
        if section.share == 0:
            jobs = 320 if comarca == 13 else 0  # consulates
        found.append(jobs)
    return found


def _season(section: Section, month: int) -> int:
    return _SEASONS[section.letter][month - 1] if section.letter in _SEASONS else 0


def _before_llucanes(frame: pl.DataFrame, letters: Sequence[str], years: Sequence[int]) -> pl.DataFrame:
    """Its jobs given to Osona while it was no comarca; `is_there` tells whether the row's comarca is one."""
    before = sum(year < LLUCANES_SINCE for year in years)
    is_not_yet = (pl.col("comarca") == LLUCANES) & (pl.col("time") < before)
    lent = frame.filter(is_not_yet).select("time", *(pl.col(letter).alias(f"{letter}+") for letter in letters))
    lent = lent.with_columns(comarca=pl.lit(OSONA, pl.UInt64))
    joined = frame.join(lent, on=["time", "comarca"], how="left", maintain_order="left")
    return joined.select(
        "time",
        "comarca",
        *(
            pl.when(is_not_yet).then(0).otherwise(pl.col(letter) + pl.col(f"{letter}+").fill_null(0)).alias(letter)
            for letter in letters
        ),
        is_there=~is_not_yet,
    )


def _revised(seed: int, edition: _Edition, version: int, months: int, sections: int) -> list[list[int]]:
    """Jobs more by section and row (month, comarca): at each version, a few figures of the last year are revised."""
    more = [[0] * (months * len(COMARQUES)) for _ in range(sections)]
    for step in range(1, version + 1):
        newest = (months if edition.closed else edition.months + step) - 1
        for change in range(5):
            noise = number(seed, 48, step, change)
            time = newest - 2 - noise % 3
            more[noise // 2**8 % sections][time * len(COMARQUES) + noise // 2**24 % len(COMARQUES)] += (
                5 + noise // 2**40 % 20
            )
    return more
