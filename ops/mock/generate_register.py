"""The register of social services (ivft-vegh), generated: any page on its own, from its positions alone.

A page is a pure function of (seed, rows, version, positions): nothing that grows with the table is kept, and all is
columnar. The words are in services.py; which rows stand at which position of a version is in life.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from functools import lru_cache

import polars as pl

from catalunya.ops.mock import generate_municipalities as towns
from catalunya.ops.mock.datasets import REGISTER
from catalunya.ops.mock.life import Life
from catalunya.ops.mock.noise import column, number
from catalunya.ops.mock.places import BARCELONA, REAL_MUNICIPALITIES
from catalunya.ops.mock.services import FLOORS, NAMES, OPERATORS, PUBLIC, SERVICE_TYPES, STREETS, UNMATCHED
from catalunya.ops.mock.tables import ROW_NUMBER

SLOTS = 4096
POOL = 2000  # operators that are no town council
UNMATCHED_EVERY, UNMATCHED_AT = 2000, 57
FIRST_DAY, DAYS = date(1985, 1, 7), 15_000
_PHONE = {"08": "93", "17": "972", "25": "973", "43": "977"}
_VARIANT = ("intel·lectual", "intel.lectual")


class RegisterTable:
    """`rows` services at version 0. Service numbers ascend with the position; about one row in 1,000 is there twice."""

    dataset = REGISTER

    def __init__(self, rows: int, seed: int) -> None:
        self._seed = seed
        self._life = Life(rows, seed, keep=lambda n: self._life.serial(n) % UNMATCHED_EVERY == UNMATCHED_AT)
        self._width = max(5, len(str(2 * rows)))

    def total(self, version: int) -> int:
        return self._life.total(version)

    def rows(self, version: int, positions: pl.Series) -> pl.LazyFrame:
        numbers = self._life.numbers(version, positions)
        frame = pl.LazyFrame({ROW_NUMBER: numbers}).with_columns(serial=Life.serials(pl.col(ROW_NUMBER)))
        frame = frame.with_columns(revision=self._life.revisions(version, pl.col("serial")))
        return _words(self._seed).apply(frame, self._width)

    def system_fields(self, _version: int, /) -> Collection[str]:
        return ()


class _Words:
    """What rows are put together from: short tables of words, looked up by noise."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        unsettled = range(towns.FIRST_UNSETTLED, 900)
        settled = [
            row
            for row in towns.generate(seed)
            if int(str(row["codi"])[2:5]) not in unsettled and str(row["codi"]) < "99"
        ]
        self._towns = len(settled)
        self._barcelona = next(i for i, row in enumerate(settled) if row["codi"] == BARCELONA)
        names = [str(row["nom"]) for row in settled] + [name for name, _, _ in UNMATCHED]
        provinces = [str(row["codi"])[:2] for row in settled] + [cp[:2] for _, _, cp in UNMATCHED]
        comarques = [str(row["nom_comarca"]).replace("Aran", "Val d'Aran") for row in settled]
        self._town = _texts(names)
        self._comarca = _texts([*comarques, *(comarca for _, comarca, _ in UNMATCHED)])
        postcodes = [f"{str(row['codi'])[:2]}{number(31, int(str(row['codi']))) % 790 + 100:03}" for row in settled]
        self._postcode = _texts([*postcodes, *(cp for _, _, cp in UNMATCHED)])
        self._phone_prefix = _texts([_PHONE[province] for province in provinces])
        self._slots = pl.Series(_town_slots(settled, self._barcelona), dtype=pl.UInt32)
        self._operator_names(seed, names)
        self._service_words()
        dates = [(FIRST_DAY + timedelta(days=day)).isoformat() for day in range(DAYS)]
        self._dates = _texts([*dates, *(f"{day}T00:00:00.000" for day in dates)])

    def _operator_names(self, seed: int, towns_by_index: Sequence[str]) -> None:
        """Town councils at the municipalities' own indices, after them the pool of all other operators."""
        said = [towns.natural_name(name) for name in towns_by_index]
        operators = [f"Ajuntament {_of(name)}" for name in said]
        nifs = [f"P00{number(seed, 32, i) % 10**6:06}" for i in range(len(operators))]
        kinds = [PUBLIC] * len(operators)
        for i in range(POOL):
            pattern, kind, letter = OPERATORS[number(seed, 33, i) % len(OPERATORS)]
            name = NAMES[number(seed, 34, i) % len(NAMES)]
            operators.append(f"{pattern.format(name=name)}" if i < len(NAMES) else f"{pattern.format(name=name)} {i}")
            nifs.append(f"{letter}00{number(seed, 35, i) % 10**6:06}")
            kinds.append(kind)
        self._first_pooled = len(towns_by_index)
        self._operator, self._nif, self._kind = _texts(operators), _texts(nifs), _texts(kinds)

    def _service_words(self) -> None:
        """Types by weight, first in one spelling of `intel·lectual`, then in the other; names by type."""
        kinds = len(SERVICE_TYPES)
        self._type_slots = pl.Series([i for i in range(kinds) for _ in range(SERVICE_TYPES[i].weight)], dtype=pl.UInt32)
        texts = [kind.description for kind in SERVICE_TYPES]
        self._type = _texts([*texts, *(text.replace(*_VARIANT) for text in texts)])
        names = [f"{kind.prefix} {name}" for kind in SERVICE_TYPES for name in NAMES]
        self._name = _texts([*names, *(name.replace(*_VARIANT) for name in names)])
        self._least = pl.Series([kind.least for kind in SERVICE_TYPES], dtype=pl.UInt64)
        self._span = pl.Series([kind.most - kind.least + 1 for kind in SERVICE_TYPES], dtype=pl.UInt64)

    def apply(self, frame: pl.LazyFrame, width: int) -> pl.LazyFrame:
        """The register's columns for `serial` and `revision` (both UInt64)."""
        serial, revision, town, kind = pl.col("serial"), pl.col("revision"), pl.col("town"), pl.col("kind")

        frame = frame.with_columns(column(serial, self._seed, 40, salt).alias(f"noise{salt}") for salt in range(7))

        def noise(salt: int) -> pl.Expr:  # 21 bits, a third of what one mixing gives
            return pl.col(f"noise{salt // 3}") // int(2 ** (21 * (salt % 3))) % 2**21

        known = _look_up(self._slots, noise(0) % SLOTS)
        lost = (self._towns + noise(1) % len(UNMATCHED)).cast(pl.UInt32)
        pooled = self._first_pooled + (noise(2) + revision) % POOL
        council = (noise(3) % 100 < 30) & (revision == 0) & (town < self._towns)
        frame = frame.with_columns(
            town=pl.when(serial % UNMATCHED_EVERY == UNMATCHED_AT).then(lost).otherwise(known),
            kind=_look_up(self._type_slots, noise(4) % self._type_slots.len()),
        ).with_columns(operator=pl.when(council).then(town.cast(pl.UInt64)).otherwise(pooled))
        operator = pl.col("operator")
        barcelona = town == self._barcelona
        other_spelling = (noise(5) % 6 == 0).cast(pl.UInt64)
        capacity = _look_up(self._least, kind) + (noise(6) + revision) % _look_up(self._span, kind) + revision
        prefix = _look_up(self._phone_prefix, town)
        return frame.select(
            ROW_NUMBER,
            pl.lit("S").add((serial + 1).cast(pl.String).str.zfill(width)).alias("registre"),
            _look_up(
                self._name, kind * len(NAMES) + noise(7) % len(NAMES) + other_spelling * (self._name.len() // 2)
            ).alias("nom"),
            _look_up(self._type, kind + (noise(8) % 7 == 0).cast(pl.UInt64) * len(SERVICE_TYPES)).alias("tipologia"),
            _look_up(self._dates, noise(9) % DAYS + (noise(10) % 5 == 0).cast(pl.UInt64) * DAYS).alias("inscripcio"),
            pl.when(noise(11) % 100 >= 8).then(capacity.cast(pl.String)).alias("capacitat"),
            pl.concat_str(
                _look_up(_STREETS, noise(12) % len(STREETS)),
                pl.lit(", "),
                (1 + noise(13) % 240).cast(pl.String),
                _look_up(_FLOORS, noise(14) % len(FLOORS)),
            ).alias("adreca"),
            _look_up(self._town, town).alias("municipi"),
            pl.when(barcelona).then((1 + noise(15) % 10).cast(pl.String)).alias("districte"),
            pl.when(barcelona)
            .then(pl.lit("080").add((1 + noise(16) % 42).cast(pl.String).str.zfill(2)))
            .otherwise(_look_up(self._postcode, town))
            .alias("cp"),
            _look_up(self._comarca, town).alias("comarca"),
            pl.when(noise(17) % 100 >= 12)
            .then(prefix + (10**6 + noise(18) * 4).cast(pl.String).str.slice(0, 9 - prefix.str.len_bytes()))
            .alias("telefon"),
            _look_up(self._operator, operator).alias("entitat_titular"),
            pl.when(noise(19) % 97 == 0)
            .then(pl.lit("null"))
            .when(noise(19) % 97 > 1)
            .then(_look_up(self._kind, operator))
            .alias("qualificacio"),
            _look_up(self._nif, operator).alias("nif"),
        )


@lru_cache(maxsize=2)
def _words(seed: int) -> _Words:
    return _Words(seed)


def _texts(values: Sequence[str]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


_STREETS = _texts(STREETS)
_FLOORS = _texts(FLOORS)


def _look_up(words: pl.Series, index: pl.Expr) -> pl.Expr:
    return pl.lit(words).gather(index)


def _of(name: str) -> str:
    """`name` after a `de`: de Vic, d'Olot, del Prat de Llobregat, de l'Escala."""
    if name.startswith("els "):
        return f"dels {name[4:]}"
    if name.startswith("el "):
        return f"del {name[3:]}"
    return f"d'{name}" if name[0] in "AEIOUÀÈÉÍÒÓÚH" else f"de {name}"


def _town_slots(settled: Sequence[towns.Row], barcelona: int) -> list[int]:
    """Which municipality each of the SLOTS stands for: Barcelona a quarter, the true ones more often than the invented."""
    true = {code for code, _, _ in REAL_MUNICIPALITIES}
    weighted = [i for i, row in enumerate(settled) for _ in range(24 if row["codi"] in true else 1)]
    rest = SLOTS - SLOTS // 4
    return [barcelona] * (SLOTS // 4) + [weighted[i * len(weighted) // rest] for i in range(rest)]
