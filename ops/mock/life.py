"""The life of a large table: which rows stand at which position of a version, and which have changed.

Any version of any page is worked out on its own. Rows are numbered once for all; a version lacks a few numbers, which
come back three versions later, and each version adds a few at the end. So at every step some rows disappear, some
appear in the middle, some appear at the end, and the rows between them move.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from catalunya.ops.mock.noise import number

WINDOW = 3  # versions for which a row stays away
BLOCK, TWICE = 1000, 499  # in each block of numbers, the row after the one at TWICE is the same service again


class Life:
    """The numbers of `rows` rows at version 0 and of every later version. `keep`: numbers that never disappear."""

    def __init__(self, rows: int, seed: int, keep: Callable[[int], bool]) -> None:
        self._seed = seed
        self._keep = keep
        self._away = min(5, rows // 10)  # rows that disappear at a step
        self._new = max(1, self._away)
        self._changes = min(7, max(1, rows // 10))
        self._rows = rows
        self._numbered = rows + WINDOW * self._away

    def total(self, version: int) -> int:
        """Rows of a version."""
        return self._rows + self._new * version

    def numbers(self, version: int, positions: pl.Series) -> pl.Series:
        """The row's number at each position."""
        away = sorted(n for step in range(version - WINDOW + 1, version + 1) for n in self._leaving(step))
        before = pl.Series([n - i for i, n in enumerate(away)], dtype=pl.UInt64)
        if not away:
            return positions
        return positions + before.search_sorted(positions, side="right").cast(pl.UInt64)

    def revisions(self, version: int, serial: pl.Expr) -> pl.Expr:
        """How often the service of each serial number has changed up to a version."""
        revised: dict[int, int] = {}
        services = self.serial(self._numbered - 1) + 1 if self._numbered else 0
        for step in range(1, version + 1 if services else 1):
            for change in range(self._changes):
                changed = number(self._seed, 51, step, change) % services
                revised[changed] = revised.get(changed, 0) + 1
        if not revised:
            return pl.lit(0, pl.UInt64)
        old = pl.Series(list(revised), dtype=pl.UInt64)
        new = pl.Series(list(revised.values()), dtype=pl.UInt64)
        return serial.replace_strict(old, new, default=pl.lit(0, pl.UInt64), return_dtype=pl.UInt64)

    @staticmethod
    def serial(row_number: int) -> int:
        """The service that a row tells of: as its number, but for the rows that are there twice."""
        block, within = divmod(row_number, BLOCK)
        return block * (BLOCK - 1) + within - (within > TWICE)

    @staticmethod
    def serials(row_numbers: pl.Expr) -> pl.Expr:
        """`serial` of a column (UInt64)."""
        within = row_numbers % BLOCK
        return row_numbers // BLOCK * (BLOCK - 1) + within - (within > TWICE).cast(pl.UInt64)

    def _leaving(self, step: int) -> list[int]:
        """The numbers that disappear at a step. Each step has a remainder and each row a stratum of its own, so that
        no two within WINDOW steps meet, whatever the noise says."""
        if not self._away:
            return []
        strata = self._numbered // WINDOW // self._away
        leaving = []
        for row in range(self._away):
            unit = row * strata + number(self._seed, 52, step, row) % max(1, strata - 1)
            chosen = unit * WINDOW + step % WINDOW
            leaving.append(chosen + WINDOW if self._keep(chosen) else chosen)
        return leaving
