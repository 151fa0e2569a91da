"""Rows of a mocked table at any version: a few that change, or millions that are worked out a page at a time.

Here: the rows of version 0 given, those of every later one. Not here: what the rows are (`data.py`), queries over them (`tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import polars as pl

from catalunya.ops.mock.soql import SYSTEM_FIELDS
from catalunya.ops.mock.tables import ROW, Shown, column, json_objects

Row = dict[str, str | None]


class SmallRows:
    """Rows that fit in memory: version 0 is given; at each version a few rows change, one goes and one is added.

    `revised`: the columns that change, numbers by one, text by a suffix. `gone`: the first key of the row that goes at a
    version, instead of any. `fresh`: makes the added row out of the last one that changed.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        key: Sequence[str] = (),
        revised: Sequence[str] = (),
        fresh: Callable[[Row, int], Row] | None = None,
        gone: Callable[[int], str] | None = None,
    ) -> None:
        self._key, self._revised, self._fresh, self._gone = list(key), list(revised), fresh, gone
        self._first = frame.sort(self._key, maintain_order=True) if key else frame
        self._current = (0, self._first)
        self._system = frozenset(SYSTEM_FIELDS) & frozenset(frame.columns)

    def total(self, version: int) -> int:
        return self._at(version).height

    def at(self, version: int, positions: pl.Series) -> pl.LazyFrame:
        return self._at(version).with_row_index(ROW)[positions].lazy().with_columns(pl.col(ROW).cast(pl.UInt64))

    def system_fields(self, version: int) -> Collection[str]:
        return () if version else self._system

    def complete(self) -> Collection[str]:
        return [name for name in self._first.columns if not self._first[name].null_count()]

    def rendered(self, _version: int, _positions: pl.Series) -> pl.Series | None:
        return None

    def _at(self, version: int) -> pl.DataFrame:
        known, frame = self._current
        if version < known:
            known, frame = 0, self._first
        for number in range(known + 1, version + 1):
            # A portal that replaces a table gives every row new system fields: those of the first version go.
            frame = self._next(frame.drop(self._system, strict=False), number)
        self._current = (version, frame)
        return frame

    def _next(self, frame: pl.DataFrame, version: int) -> pl.DataFrame:
        if not frame.height:
            return frame
        changed = sorted({(version * 37 + change * 101) % frame.height for change in range(3)})
        is_changed = pl.int_range(pl.len()).is_in(changed)
        frame = frame.with_columns(
            pl.when(is_changed).then(_revised(name, version)).otherwise(name).alias(name) for name in self._revised
        )
        goes = (version * 31 + 1) % frame.height
        is_gone = pl.col(self._key[0]) == self._gone(version) if self._gone else pl.int_range(pl.len()) == goes
        left = frame.filter(~is_gone)
        if self._fresh:
            row = self._fresh(frame.row(changed[-1], named=True), version)
            left = pl.concat([left, pl.DataFrame([row], schema=frame.schema)])
        return left.sort(self._key, maintain_order=True) if self._key else left


class RepeatedRows:
    """`count` rows at version 0: those of a seed again and again, each with a key of its own, which ascends.

    A page is worked out on its own, so that millions of rows cost nothing until they are read. In each 1,000 rows one is
    there twice. A later version is one of small rows: advancing millions of rows holds them all in memory.
    """

    BLOCK, TWICE = 1000, 499

    def __init__(self, seed: pl.DataFrame, count: int) -> None:
        self._seed, self._count = seed, count
        self._width = max(5, len(str(2 * count)))

    def total(self, version: int) -> int:
        return self._later.total(version) if version else self._count

    def at(self, version: int, positions: pl.Series) -> pl.LazyFrame:
        if version:
            return self._later.at(version, positions)
        keys, serials = self._keys(positions)
        rows = self._seed[serials % self._seed.height].lazy()
        return rows.select(pl.lit(keys), pl.all(), pl.lit(positions).alias(ROW))

    def system_fields(self, _version: int) -> Collection[str]:
        return ()

    def complete(self) -> Collection[str]:
        return ["registre", *(name for name in self._seed.columns if not self._seed[name].null_count())]

    def rendered(self, version: int, positions: pl.Series) -> pl.Series | None:
        if version:
            return None
        keys, serials = self._keys(positions)
        frame = pl.DataFrame([keys, self._rest[serials % self._seed.height]])
        return frame.select(pl.lit('{"registre":"') + pl.col("registre") + '",' + pl.col("rest")).to_series()

    def _keys(self, positions: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The key at each position, and the number of the service that it is of."""
        within = positions % self.BLOCK
        serials = positions // self.BLOCK * (self.BLOCK - 1) + within - (within > self.TWICE).cast(pl.UInt64)
        return ("S" + (serials + 1).cast(pl.String).str.zfill(self._width)).alias("registre"), serials

    def _key(self, number: int) -> str:
        return f"S{number:0{self._width}}"

    @cached_property
    def _rest(self) -> pl.Series:
        """The seed's rows as JSON, what comes before the first field left out."""
        columns = [Shown(column(name, name), name) for name in self._seed.columns]
        return json_objects(self._seed, columns).str.strip_prefix("{").alias("rest")

    @cached_property
    def _later(self) -> SmallRows:
        everything = pl.int_range(0, self._count, dtype=pl.UInt64, eager=True)
        frame = self.at(0, everything).drop(ROW).collect()
        # Never the seed's row 58, which cannot be matched to a municipality.
        return SmallRows(frame, ["registre"], ["capacitat"], new_service, lambda version: self._key(7 * version + 1))


def _revised(name: str, version: int) -> pl.Expr:
    value = pl.col(name)
    whole = value.cast(pl.Int64, strict=False)
    decimal = pl.when(value.str.contains(r"^-?\d+\.\d+$")).then(value).cast(pl.Float64)
    numbers = [(number + version).cast(pl.String) for number in (whole, decimal)]
    return pl.coalesce(*numbers, value + f" ({version})")


# The portal's datasets


def new_service(row: Row, version: int) -> Row:
    """A row of the register like another one, with a number of its own."""
    return row | {"registre": f"S{'9' * (len(row['registre'] or '') - 4)}{version:03}"}
