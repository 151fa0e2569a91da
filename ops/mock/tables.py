"""Datasets at a version, as the faults show them: columns, rows in a requested order, and the JSON objects that rows become.

Here: what all portals of rows have in common (`socrata.py`, `ckan.py`, `opendatasoft.py`). Not here: which datasets there are (`data.py`, `real.py`), what a
protocol puts around rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import polars as pl

from catalunya.ops.mock.exchange import Published
from catalunya.ops.mock.faults import PORTAL_FAULTS, Fault
from catalunya.ops.mock.soql import SYSTEM_FIELDS, Bound, Query

View = dict[str, Any]
"""A dataset's metadata as `/api/views` has it."""

ROW = "__row"
"""UInt64 column of every dataset beside its own: the number of the row, ascending by position."""
CHUNK = 50_000
BETWEEN_CHANGES_S = 3600
NEW_COLUMN = "nova_columna"
_POSITION = "__position"
NUMBERS = frozenset({"number", "int", "int4", "int8", "float8", "numeric", "double"})
"""The types of numbers, in the words of all protocols."""
_RAW_TYPES = frozenset(
    {"point", "checkbox", "location", "url", "document", "multipolygon", "polygon", "line"}
    | {"json", "geo_point_2d", "geo_shape"}  # of other portals
)
"""The types of values that are JSON, not text."""
_DEFAULT_TYPE = {"number": "text", "text": "calendar_date"}
_NUMBER = r"^-?\d+(\.\d+)?$"


class Rows(Protocol):
    """The rows of a dataset at any version; versions count from 0 and each is a pure function of its number."""

    def total(self, version: int, /) -> int:
        """How many rows there are."""

    def at(self, version: int, positions: pl.Series, /) -> pl.LazyFrame:
        """One row for each of `positions` (UInt64): the dataset's columns as strings (or JSON), and ROW."""

    def system_fields(self, version: int, /) -> Collection[str]:
        """The portal's own fields (`:id`, ...) that recorded rows bring along."""

    def complete(self) -> Collection[str]:
        """The columns without a null."""

    def rendered(self, version: int, positions: pl.Series, /) -> pl.Series | None:
        """The rows as JSON objects, if there is a quicker way than column by column."""


@dataclass(kw_only=True)
class Dataset(Published):
    """One dataset. Rows stand in the order of `key`. `target`: the column that a fault changes if it names none."""

    faults = PORTAL_FAULTS
    view: View
    rows: Rows
    key: tuple[str, ...] = ()
    target: str = ""

    @property
    def name(self) -> str:
        return str(self.view["id"])

    @property
    def updated_at(self) -> int:
        """When its rows were last updated, seconds since 1970."""
        return int(self.view["rowsUpdatedAt"]) + self.changes * BETWEEN_CHANGES_S

    def state(self) -> dict[str, int]:
        return {"version": self.version, "rows": self.rows.total(self.version), "rowsUpdatedAt": self.updated_at}


@dataclass(frozen=True)
class Shown:
    """A column as it is shown: its entry in the metadata, and the field that it comes from, None if it is made up. `bare`: its numbers are
    JSON numbers, as portals other than Socrata write them."""

    entry: View
    source: str | None
    retyped: str = ""
    bare: bool = False

    @property
    def field(self) -> str:
        return str(self.entry["fieldName"])

    @property
    def type(self) -> str:
        return str(self.entry["dataTypeName"])

    @property
    def quoted(self) -> bool:
        """Whether the value is a JSON string: numbers are in SODA."""
        is_bare = self.bare and self.type in NUMBERS | {"bool", "boolean"}
        return not is_bare and self.retyped != "json-number" and self.type not in _RAW_TYPES

    def value(self) -> pl.Expr:
        """The value out of the dataset's columns: a string, or JSON if it is not quoted."""
        if self.source is None:
            return pl.concat_str(pl.lit("valor "), pl.int_range(pl.len()) % 7).alias(self.field)
        value = pl.col(self.source)
        known = value.is_not_null()
        match self.retyped:
            case "text":
                value = value + " (text)"
            case "number" | "json-number":
                value = pl.when(value.str.contains(_NUMBER)).then(value.str.replace(r"^(-?)0+(\d)", "${1}${2}"))
            case "calendar_date":
                year = (
                    pl.when(value.str.contains(r"^[12]\d{3}\b")).then(value.str.slice(0, 4)).otherwise(pl.lit("2020"))
                )
                value = pl.when(known).then(year + "-01-01T00:00:00.000")
            case "point":
                value = pl.when(known).then(pl.lit('{"type":"Point","coordinates":[2.177241106,41.38240539]}'))
            case "checkbox":
                value = pl.when(known).then(pl.lit("true"))
        return value.alias(self.field)


@dataclass(frozen=True)
class Shape:
    """A dataset at a version as the faults show it: columns and number of rows. `token` names what the faults changed."""

    dataset: Dataset
    version: int
    columns: tuple[Shown, ...]
    total: int
    token: str
    updated_at: int

    def types(self) -> dict[str, str]:
        return {shown.field: shown.type for shown in self.columns}

    def find(self, name: str) -> Shown:
        """The column of that name; system fields can be shown too."""
        system = Shown({"fieldName": name, "dataTypeName": "text"}, name)
        return next((shown for shown in self.columns if shown.field == name), system)

    def selected(self, query: Query) -> list[Shown]:
        """The columns that a query selects, system fields first."""
        fields = [shown.field for shown in self.columns] if query.fields is None else query.fields
        return [self.find(name) for name in (*(SYSTEM_FIELDS if query.system else ()), *fields)]

    def body(self, query: Query) -> Iterator[bytes]:
        """The JSON array of a query's rows, a chunk at a time: no more of a table is in memory."""
        columns = self.selected(query)
        is_plain = query.fields is None and not query.system and not self.token
        opened = False
        for positions in self._positions(query):
            objects = self.dataset.rows.rendered(self.version, positions) if is_plain else None
            if objects is None:
                frame = self._at(positions).select(each.value() for each in columns).collect()
                objects = json_objects(frame, columns)
            if objects.len():
                yield (b"\n," if opened else b"[") + objects.str.join("\n,").item().encode()
                opened = True
        yield b"]\n" if opened else b"[]\n"

    def objects(self, query: Query, *numbered: pl.Expr) -> pl.Series:
        """A query's rows as other portals write them: nulls and JSON numbers, `numbered` before the dataset's own columns."""
        columns = [replace(shown, bare=True) for shown in self.columns]
        names = [expression.meta.output_name() for expression in numbered]
        written = [Shown({"fieldName": name, "dataTypeName": "int"}, name, bare=True) for name in names] + columns
        pages = [
            json_objects(self._at(rows).select(*numbered, *(c.value() for c in columns)).collect(), written, nulls=True)
            for rows in self._positions(query)
        ]
        return pl.concat(pages) if pages else pl.Series([], dtype=pl.String)

    def count(self, query: Query) -> int:
        """How many rows a query's filters leave."""
        return self._filtered(query).len() if query.filters or query.where else self.total

    def _at(self, positions: pl.Series) -> pl.LazyFrame:
        rows = self.dataset.rows
        own = rows.system_fields(self.version)
        made = _system(self.version, self.updated_at)
        return rows.at(self.version, positions).with_columns(
            **{name: value for name, value in made.items() if name not in own}
        )

    def _positions(self, query: Query) -> Iterator[pl.Series]:
        """Which rows a query gets. The order that the table stands in is worked out by position; any other order, or a
        filter, reads the columns it needs of the whole table."""
        if query.filters or query.where or (query.order and not self._stands_in(query.order)):
            chosen = self._filtered(query).slice(query.offset, query.limit)
            yield from (chosen.slice(start, CHUNK) for start in range(0, chosen.len(), CHUNK))
            return
        end = min(query.offset + query.limit, self.total)
        for start in range(query.offset, end, CHUNK):
            positions = pl.int_range(start, min(start + CHUNK, end), dtype=pl.UInt64, eager=True)
            yield positions if query.order else self._unordered(positions, query)

    def _unordered(self, positions: pl.Series, query: Query) -> pl.Series:
        """Without an order, pages overlap and miss rows, as those of the portal may: each but the first begins a little
        late, wraps around, and is shuffled."""
        late = 1 + query.offset * 7919 % max(1, query.limit // 8) if query.offset else 0
        return ((positions + late) % self.total).shuffle(seed=query.offset)

    def _stands_in(self, order: tuple[tuple[str, bool], ...]) -> bool:
        columns = [self.find(name) for name, _ in order]
        if any(descending for _, descending in order) or any(shown.retyped for shown in columns):
            return False
        names = [shown.source for shown in columns]
        ascending = (
            [] if ":id" in self.dataset.rows.system_fields(self.version) else [":id"]
        )  # recorded ids do not ascend
        return names == [*self.dataset.key, *ascending][: len(names)] or names == ascending

    def _filtered(self, query: Query) -> pl.Series:
        """The positions of all rows that pass the filters, in order. Only the named columns are read."""
        everything = pl.int_range(0, self.total, dtype=pl.UInt64, eager=True)
        named = [name for name, _ in query.filters + query.order] + [bound.field for bound in query.where]
        columns = [self.find(name) for name in dict.fromkeys(named)]
        frame = self._at(everything).select(*(each.value() for each in columns), pl.lit(everything).alias(_POSITION))
        frame = frame.filter(*(pl.col(name) == value for name, value in query.filters), *map(_within, query.where))
        if query.order:
            numbers = {each.field for each in columns if each.type in NUMBERS}
            by = [pl.col(name).cast(pl.Float64) if name in numbers else pl.col(name) for name, _ in query.order]
            frame = frame.sort(by, descending=[down for _, down in query.order], nulls_last=True, maintain_order=True)
        return frame.select(_POSITION).collect()[_POSITION]


def current(dataset: Dataset, faults: Sequence[Fault]) -> Shape:
    """The dataset as the faults show it, to be called under its lock. A fault of rows or metadata alone is an error of that
    answer and no change of the table."""
    dataset.show_as(shape_of(dataset, [fault for fault in faults if fault.on == "any"]).token)
    return shape_of(dataset, faults)


def shape_of(dataset: Dataset, faults: Sequence[Fault]) -> Shape:
    """The dataset under those of the faults that change tables."""
    columns = [Shown(entry, entry["fieldName"]) for entry in dataset.view["columns"] if entry.get("position") != 0]
    total, tokens = dataset.rows.total(dataset.version), []
    for fault in faults:
        meant = fault.column or dataset.target
        at = next((i for i, shown in enumerate(columns) if shown.source == meant), None)
        match fault.kind:
            case "empty":
                total = 0
            case "shrunken":
                total = int(total * fault.keep)
            case "new-column":
                name = fault.column or NEW_COLUMN
                columns.append(Shown(column(name, name.replace("_", " ").capitalize()), None))
            case "missing-column" if at is not None:
                del columns[at]
            case "renamed-column" if at is not None:
                old = columns[at].entry
                renamed = {"fieldName": fault.to or f"{meant}_nou", "name": f"{old['name']} (nou)"}
                columns[at] = replace(columns[at], entry=old | renamed)
            case "retyped-column" if at is not None:
                to = fault.to or _DEFAULT_TYPE.get(columns[at].type, "text")
                kind = "number" if to == "json-number" else to
                entry = columns[at].entry | {"dataTypeName": kind, "renderTypeName": kind}
                columns[at] = replace(columns[at], entry=entry, retyped=to)
            case _:
                continue
        tokens.append(f"{fault.kind}={fault.column}={fault.to}={fault.keep}")
    return Shape(dataset, dataset.version, tuple(columns), total, "&".join(tokens), dataset.updated_at)


def column(name: str, label: str, kind: str = "text") -> View:
    """A column's entry in the metadata."""
    return {"name": label, "fieldName": name, "dataTypeName": kind, "renderTypeName": kind}


def changing(types: Mapping[str, str], key: Sequence[str]) -> list[str]:
    """The column of these that changes from version to version: one of numbers, else of text, and not the key; none if there is none."""
    others = {name: kind for name, kind in types.items() if name not in key}
    numbers = [name for name, kind in others.items() if kind in NUMBERS]
    return (numbers or [name for name, kind in others.items() if kind == "text"])[-1:]


def json_objects(frame: pl.DataFrame, columns: Sequence[Shown], *, nulls: bool = False) -> pl.Series:
    """Rows as the portal writes them: JSON objects, nulls left out unless asked for, numbers as strings."""
    members = []
    for shown in columns:
        value = pl.col(shown.field)
        if shown.quoted:  # polars writes `{"name":"escaped value"}`
            member = pl.struct(value).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")
        else:
            member = pl.lit(f"{json.dumps(shown.field, ensure_ascii=False)}:") + value
        absent = f",{json.dumps(shown.field, ensure_ascii=False)}:null" if nulls else ""
        members.append(pl.when(value.is_not_null()).then(pl.lit(",") + member).otherwise(pl.lit(absent)))
    return frame.select(pl.lit("{") + pl.concat_str(members).str.strip_prefix(",") + pl.lit("}")).to_series()


def _system(version: int, updated_at: int) -> dict[str, pl.Expr]:
    """The portal's own fields. A new version replaces the table, so every row gets new ones; ids ascend with the row."""
    number = pl.col(ROW).cast(pl.String).str.zfill(8)
    digits = (number.str.head(-4), pl.lit("-"), number.str.tail(4))
    at = datetime.fromtimestamp(updated_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.795Z")
    return {
        ":id": pl.concat_str(pl.lit(f"row-{version:04}-"), *digits),
        ":version": pl.concat_str(pl.lit(f"rv-{version:04}~"), *digits),
        ":created_at": pl.lit(at),
        ":updated_at": pl.lit(at),
    }


def _within(bound: Bound) -> pl.Expr:
    """Whether a row is within a bound; one without a value is not."""
    value = pl.col(bound.field).cast(pl.Float64) if bound.is_number else pl.col(bound.field)
    limit = pl.lit(float(bound.value) if bound.is_number else bound.value)
    return value >= limit if bound.operator == ">=" else value <= limit
