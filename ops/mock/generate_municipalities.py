"""Municipis Catalunya Geo (9aju-tpwc), generated: 947 municipalities and the two junk rows that the real one has.

The comarques, and some sixty municipalities, are the true ones; the others are invented, with codes whose control digit
is right and whose number no real municipality bears. Small enough for Python loops.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator

import polars as pl

from catalunya.ops.mock.datasets import MUNICIPALITIES
from catalunya.ops.mock.noise import number
from catalunya.ops.mock.places import BARCELONA, COMARQUES, FIRST_NAMES, REAL_MUNICIPALITIES, SECOND_NAMES
from catalunya.ops.mock.tables import SmallTable, Table, from_rows

Row = dict[str, str | None]

_A = (0, 3, 8, 2, 7, 4, 1, 5, 9, 6)
_B = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
FIRST_INVENTED = 400
"""Within its province, the number of the first invented municipality; the real ones end at 308 or begin at 901."""
FIRST_UNSETTLED = 600
"""From this number on, versions rename, move and drop invented municipalities; the register uses none of them."""
FIRST_ADDED = 800
_ARTICLES = ("el", "la", "els", "les", "l'")
_VOWELS = "aeiouàèéíòóúhAEIOUÀÈÉÍÒÓÚH"


def control_digit(ine: str) -> str:
    """The sixth digit of a municipality's code, by its five INE digits (Idescat; INE codes)."""
    d = [int(digit) for digit in ine]
    return str(-(_B[d[0]] + _A[d[1]] + d[2] + _B[d[3]] + _A[d[4]]) % 10)


def municipalities_table(seed: int) -> SmallTable:
    """The table of the 949 rows and its later versions."""
    return SmallTable(MUNICIPALITIES, from_rows(MUNICIPALITIES, generate(seed)), step)


def municipalities(table: Table) -> list[tuple[str, str, str]]:
    """Code, name and comarca of the municipalities of a table at version 0, without its junk rows."""
    positions = pl.int_range(0, table.total(0), dtype=pl.UInt64, eager=True)
    rows = table.rows(0, positions).select("codi", "nom", "codi_comarca").collect()
    return [(code, name, comarca) for code, name, comarca in rows.iter_rows() if not code.startswith("9999")]


def generate(seed: int) -> list[Row]:
    """The rows of version 0, those of Barcelona, Lleida, ... first."""
    rows = [_row(seed, code, name, comarca) for code, name, comarca in REAL_MUNICIPALITIES]
    there = Counter((code[:2], comarca) for code, _, comarca in REAL_MUNICIPALITIES)
    names = _invented_names(seed)
    next_number = Counter(dict.fromkeys(("08", "17", "25", "43"), FIRST_INVENTED))
    for comarca in COMARQUES:
        for province, count in comarca.municipalities.items():
            for _ in range(count - there[province, comarca.code]):
                rows.append(_row(seed, code_of(province, next_number[province]), next(names), comarca.code))
                next_number[province] += 1
    zero = {"utm_x": "0.0000", "utm_y": "0.0000", "longitud": "0.000000000", "latitud": "0.00000000"}
    for code, name in (("999998", "No consta"), ("999999", "Altres/Diversos")):
        junk = {"codi": code, "nom": name, "codi_comarca": "9" + code[-1], "nom_comarca": name}
        rows.append({**junk, **zero, "georefer_ncia": '{"type":"Point","coordinates":[0.0,0.0]}'})
    return rows


def code_of(province: str, municipality: int) -> str:
    """The six digits of a municipality by province and number within it."""
    ine = f"{province}{municipality:03}"
    return ine + control_digit(ine)


def natural_name(name: str) -> str:
    """The name as it is said: `Prat de Llobregat, el` -> `el Prat de Llobregat`."""
    stem, comma, article = name.rpartition(", ")
    if not comma or article not in _ARTICLES:
        return name
    return f"{article}{stem}" if article.endswith("'") else f"{article} {stem}"


def step(frame: pl.DataFrame, version: int) -> pl.DataFrame:
    """One municipality is dropped, one added, one renamed, one moved to the next comarca; the true ones stay."""
    rows: list[Row] = frame.to_dicts()
    codes = {str(row["codi"]) for row in rows}
    loose = [row for row in rows if FIRST_UNSETTLED <= int(str(row["codi"])[2:5]) < 900]
    if len(loose) < 3:  # the real table has no invented ones
        settled = {code for code, _, _ in REAL_MUNICIPALITIES}
        loose = [row for row in rows if row["codi"] not in settled and not str(row["codi"]).startswith("9999")]
    loose.sort(key=lambda row: number(version, int(str(row["codi"]))))
    dropped, renamed, moved = loose[:3]
    stem = str(renamed["nom"]).partition(", ")[0].partition(" i la Vall Nova")[0]
    renamed["nom"] = f"{stem} i la Vall Nova {version}"
    comarca = COMARQUES[int(str(moved["codi_comarca"])) % len(COMARQUES)]
    moved |= {"codi_comarca": comarca.code, "nom_comarca": comarca.name}
    free = (code_of("08", n) for n in range(FIRST_ADDED, 900))
    added = dropped | {
        "codi": next(code for code in free if code not in codes),
        "nom": f"Vilanova del Pas {version}",
    }
    return from_rows(MUNICIPALITIES, [*(row for row in rows if row is not dropped), added])


def _invented_names(seed: int) -> Iterator[str]:
    pairs = [(first, second) for first in FIRST_NAMES for second in SECOND_NAMES]
    pairs.sort(key=lambda pair: number(seed, 11, *map(ord, pair[0] + pair[1])))
    return (first.format(de=f"d'{second}" if second[0] in _VOWELS else f"de {second}") for first, second in pairs)


def _row(seed: int, code: str, name: str, comarca_code: str) -> Row:
    comarca = COMARQUES[int(comarca_code) - 1]
    noise = number(seed, 12, int(code))
    longitude = comarca.longitude + (noise % 160_000_001 - 80_000_000) / 1e9
    latitude = comarca.latitude + (noise // 2**32 % 16_000_001 - 8_000_000) / 1e8
    if code == BARCELONA:
        longitude, latitude = 2.177241106, 41.38240539
    x, y = _utm(longitude, latitude)
    point = {"type": "Point", "coordinates": [round(longitude, 9), round(latitude, 8)]}
    return {
        "codi": code,
        "nom": name,
        "codi_comarca": comarca.code,
        "nom_comarca": comarca.name,
        "utm_x": f"{x:.4f}",
        "utm_y": f"{y:.4f}",
        "longitud": f"{longitude:.9f}",
        "latitud": f"{latitude:.8f}",
        "georefer_ncia": json.dumps(point, separators=(",", ":")),
        ":@computed_region_bh64_c7uy": str(number(13, int(code)) % 947 + 1),
        ":@computed_region_wvic_k925": str(int(comarca.code) * 17 % 43 + 1),
    }


def _utm(longitude: float, latitude: float) -> tuple[float, float]:
    """Easting and northing in metres, zone 31 north, ETRS89 (the transverse Mercator series of USGS PP 1395)."""
    a, e2, k0 = 6378137.0, 0.00669438002290, 0.9996
    phi, lam = math.radians(latitude), math.radians(longitude - 3.0)
    second = e2 / (1 - e2)
    n = a / math.sqrt(1 - e2 * math.sin(phi) ** 2)
    t, c, w = math.tan(phi) ** 2, second * math.cos(phi) ** 2, lam * math.cos(phi)
    arc = a * (
        (1 - e2 / 4 - 3 * e2**2 / 64) * phi
        - (3 * e2 / 8 + 3 * e2**2 / 32) * math.sin(2 * phi)
        + (15 * e2**2 / 256) * math.sin(4 * phi)
    )
    east = 500_000 + k0 * n * (w + (1 - t + c) * w**3 / 6)
    north = k0 * (arc + n * math.tan(phi) * (w**2 / 2 + (5 - t + 9 * c + 4 * c**2) * w**4 / 24))
    return east, north
