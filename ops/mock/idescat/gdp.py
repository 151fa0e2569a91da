"""Quarterly accounts (pibt), generated: GDP by sector at current prices and in volume, quarters from 2000T1.

Services are the sum of their three groups, value added that of the four sectors, GDP is value added and taxes; changes
are those of the index as it is published. The newest quarter is an advance: only GDP and the four sectors are told.
Small enough for Python loops. Money is in tenths of a million euros, so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial

from catalunya.ops.mock.idescat.cube import ADVANCE, MISSING, TOTAL, Cells, Dimension, Head, StatTable, periods
from catalunya.ops.mock.noise import number

_SOURCE = "Idescat."
_NOTES = ("Dades corregides d'efectes estacionals i de calendari. Revisió estadística 2024.",)
CURRENT_PRICES = Head(
    path="pibt/21129/24938/cat",
    statistic="Comptabilitat trimestral",
    label="PIB. Oferta. Preus corrents. Dades corregides d'efectes estacionals. Revisió estadística 2024",
    source=_SOURCE,
    updated=date(2026, 9, 17),
    statuses=(ADVANCE, MISSING),
    notes=_NOTES,
)
VOLUME = Head(
    path="pibt/21130/24940/cat",
    statistic="Comptabilitat trimestral",
    label="PIB. Oferta. Volum. Dades corregides d'efectes estacionals. Revisió estadística 2024",
    source=_SOURCE,
    updated=date(2026, 9, 17),
    statuses=(ADVANCE, MISSING),
    notes=_NOTES,
)
QUARTERS = 106  # of version 0: 2000T1 to 2026T2
BASE = range(80, 84)  # the quarters of 2020, whose mean volume is 100
SECTORS = {
    "PIB": "Producte interior brut",
    "VAB": "Valor afegit brut",
    "AGR": "Agricultura",
    "IND": "Indústria",
    "CON": "Construcció",
    "SER": "Serveis",
    "SER_CTH": "Comerç, transport i hostaleria",
    "SER_IPA": "Act. immobiliàries, professionals i altres",
    "SER_APS": "Adm. pública, educació, sanitat i serveis socials",
    "IMP": "Impostos nets sobre productes",
}
_ADVANCED = ("PIB", "AGR", "IND", "CON", "SER")
_SUMS = {
    "SER": ("SER_CTH", "SER_IPA", "SER_APS"),
    "VAB": ("AGR", "IND", "CON", "SER"),
    "PIB": ("VAB", "IMP"),
}
_SHARES = {"AGR": 11, "IND": 180, "CON": 62, "SER_CTH": 232, "SER_IPA": 258, "SER_APS": 162, "IMP": 95}  # in 1000
# The year's height beside the trend, in 1000: the crisis, the pandemic.
_CYCLE = {2008: 15, 2009: -15, 2010: -15, 2011: -20, 2012: -35, 2013: -40, 2014: -30, 2015: -10, 2020: -70, 2021: -20}
_PANDEMIC = {81: -120}  # 2020T2

Series = dict[str, list[int]]
UNKNOWN = -(10**9)


def gdp_tables(seed: int) -> list[StatTable]:
    """The table at current prices and the one in volume."""
    money = {"VALUE": "milions d'euros"}
    changes = {"INDEX": "índex", "Q_CHANGE": "variació intertrimestral (%)", "Y_CHANGE": "variació interanual (%)"}
    return [
        StatTable(CURRENT_PRICES, partial(_dimensions, money), lambda v: _cells(v, _values(seed, v))),
        StatTable(VOLUME, partial(_dimensions, changes), lambda v: _cells(v, _changes(_values(seed, v)))),
    ]


def _dimensions(metrics: Mapping[str, str], version: int) -> tuple[Dimension, ...]:
    quarters = periods("T", (2000, 1), QUARTERS + version)
    newest = {"status": {list(quarters)[-1]: ADVANCE}}
    return (
        Dimension("QUARTER", "trimestre", "time", quarters, extension=newest),
        Dimension("CAT", "Catalunya", "geo", {TOTAL: "Catalunya"}),
        Dimension("SECTOR", "sector", "", SECTORS),
        Dimension("CONCEPT", "concepte", "metric", metrics, dict.fromkeys(metrics, 1)),
    )


def _values(seed: int, version: int) -> dict[str, Series]:
    """The one metric at current prices, in tenths of a million euros."""
    count = QUARTERS + version
    series = {sector: [_leaf(seed, sector, at) for at in range(count)] for sector in _SHARES}
    for at, sector in enumerate(_SHARES):  # the advance is a little beside what it will be
        noise = number(seed, 41, count, at)
        series[sector][-1] += series[sector][-1] * (noise % 9 - 4) // 1000 + noise // 2**32 % 2 + 1
    for step in range(1, version + 1):  # a few figures of the year before are revised
        for change in range(3):
            noise = number(seed, 42, step, change)
            sector = list(_SHARES)[noise % len(_SHARES)]
            at = QUARTERS + step - 3 - noise // 2**16 % 3
            series[sector][at] += series[sector][at] * (4 + noise // 2**32 % 4) // 1000
    for whole, parts in _SUMS.items():
        series[whole] = [sum(values) for values in zip(*(series[part] for part in parts), strict=True)]
    return {"VALUE": series}


def _leaf(seed: int, sector: str, at: int) -> int:
    trend = 508_000 + 2_750 * at  # GDP
    year = 2000 + at // 4
    height = 1000 + _CYCLE.get(year, 0) + _PANDEMIC.get(at, 0)
    height += number(seed, 43, at, *map(ord, sector)) % 17 - 8
    if sector == "CON":
        height += 4 * _CYCLE.get(year, 0)
    return trend * _SHARES[sector] * height // 1_000_000


def _changes(values: Mapping[str, Series]) -> dict[str, Series]:
    """The index of volume and its changes, in tenths; UNKNOWN where there is nothing to compare with."""
    index: Series = {}
    for sector, series in values["VALUE"].items():
        volume = [value * 1000 // (1000 + 3 * at) for at, value in enumerate(series)]  # prices rise
        base = sum(volume[at] for at in BASE)
        index[sector] = [(value * 1000 * len(BASE) + base // 2) // base for value in volume]
    return {
        "INDEX": index,
        "Q_CHANGE": {sector: _against(series, 1) for sector, series in index.items()},
        "Y_CHANGE": {sector: _against(series, 4) for sector, series in index.items()},
    }


def _against(series: Sequence[int], lag: int) -> list[int]:
    now = [round(1000 * value / before) - 1000 for before, value in zip(series, series[lag:], strict=False)]
    return [UNKNOWN] * lag + now


def _cells(version: int, metrics: Mapping[str, Series]) -> Cells:
    newest = QUARTERS + version - 1
    values: list[str] = []
    statuses: dict[int, str] = {}
    for at in range(newest + 1):
        for sector in SECTORS:
            for series in metrics.values():
                tenths = series[sector][at]
                if tenths == UNKNOWN or (at == newest and sector not in _ADVANCED):
                    statuses[len(values)] = MISSING
                    values.append("null")
                    continue
                if at == newest:
                    statuses[len(values)] = ADVANCE
                values.append(_decimal(tenths))
    return Cells(values, statuses)


def _decimal(tenths: int) -> str:
    """As JSON writes it where whole numbers have no decimals."""
    sign, (whole, tenth) = "-" if tenths < 0 else "", divmod(abs(tenths), 10)
    return f"{sign}{whole}.{tenth}" if tenth else f"{sign}{whole}"
