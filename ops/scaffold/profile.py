"""What a table could be, by its metadata and some of its rows: the type of each column, what may be null, a key, what a person must decide.

Here: proposals and the reason for each. All values are read as text and judged by our own rules, those that staging applies
(`contracts/model/values.py`); nothing counts as required, and no bound is set, only because a sample happens to be so. Not here: asking
the source (`sampling.py`), names (`names.py`), Python (`code.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from types import MappingProxyType

import polars as pl

from catalunya.contracts.model.check import no_value_as_null
from catalunya.contracts.model.columns import LogicalType
from catalunya.contracts.model.text import clean_text
from catalunya.contracts.model.values import DATE_KINDS, NUMBER_KINDS, Locale, read
from catalunya.io.errors import UsageError
from catalunya.io.sources.base import About, FieldInfo
from catalunya.ops.scaffold.names import column_names, english
from catalunya.ops.scaffold.personal import Within, are_of_people, suspicion, suspicion_within

JSON_STAT = frozenset({"time", "geo", "metric", "dimension"})
"""Kinds of the fields that identify a cell of a JSON-stat table."""
# Words of a column's name, which is in Catalan or Spanish where not all of it is known.
_CODES = frozenset(
    {"code", "id", "identifier", "nif", "objectid", "gid", "fid"} | {"codi", "codigo", "cod", "clau", "clave"}
)
_TIMES = frozenset(
    {"year", "date", "month", "quarter", "period", "time", "day"} | {"any", "data", "fecha", "mes", "trimestre", "dia"}
)
MOST_COLUMNS_TRIED, LARGEST_KEY = 12, 3
LOOKED_AT = 1000
"""Rows that tell how numbers and days are written."""
FEW_ROWS = 20
"""With fewer rows, no pattern of the values is proposed, and nothing counts as never null."""
TYPES: dict[LogicalType, pl.DataType] = {
    "boolean": pl.Boolean(),
    "bigint": pl.Int64(),
    "double": pl.Float64(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("ms"),
}
_YEAR_IN_NAME = re.compile(r"(?<!\d)(?:19|20)\d{2}(?!\d)")
SEVERAL_YEARS = 3
_LEADING_ZERO = r"^[+-]?0[0-9][0-9.,]*$"  # no day: 05/03/2020
_YEAR = r"^(?:19|20)\d{2}(?:\.0+)?$"
_CODE_WORDS = frozenset(["code", "id", "number", "postal", "cp", "nif", "phone", "zip", "isbn"])
_YEAR_WORDS = frozenset({"year"})
_PERIODS = {
    "year": r"^(19|20)\d{2}$",
    "half_year_id": r"^(19|20)\d{2}-H[12]$",
    "quarter_id": r"^(19|20)\d{2}-Q[1-4]$",
    "month_id": r"^(19|20)\d{2}-(0[1-9]|1[0-2])$",
}
_BOUNDS = {"latitude": (-90, 90), "longitude": (-180, 180)}
# How people write numbers and days. What reads most columns is proposed, the plainest first.
_NUMBERS = ((None, None), (",", "."), (",", None), (".", ","))
_DAYS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y/%m/%d")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One raw field, and the column proposed for it. `column` is empty if there is to be none; `notes` are for a person to decide."""

    field: FieldInfo
    column: str
    type: LogicalType | None
    key: bool = False
    period: bool = False
    nullable: bool = True
    personal: bool = False
    pattern: str = ""
    low: int | None = None
    high: int | None = None
    seen: str = ""
    """What the sample showed, for a comment: "In the sample: 3 to 70"."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A table as it is proposed."""

    about: About
    proposals: tuple[Proposal, ...]
    rows: int
    """Rows in the sample."""
    is_whole: bool
    """Whether the sample is the whole table."""
    locale: Locale
    tolerate: float
    key_reason: str
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[Proposal, ...]:
        return tuple(each for each in self.proposals if each.key)

    @property
    def is_json_stat(self) -> bool:
        return any(each.field.kind in JSON_STAT for each in self.proposals)


@dataclass
class _Sample:
    """The rows as staging would see them: normalized, words for "no value" made null; and what the fields that hold objects hold."""

    frame: pl.DataFrame
    within: Within
    locale: Locale = field(default_factory=Locale)

    def values(self, name: str) -> pl.Series:
        return self.frame[name].drop_nulls()


def profile(
    about: About, rows: pl.DataFrame, *, key: Sequence[str] = (), within: Within = MappingProxyType({})
) -> Profile:
    """A proposal for a table. `rows`: text columns by raw field, null for those without any; `key`: raw fields that a person named;
    `within`: what the fields that hold objects hold, by name.

    Raises UsageError if the fields of `key` do not exist, have nulls in the sample or do not tell its rows apart.
    """
    text = clean_text(rows)
    frame = text.frame.select(no_value_as_null(pl.col(name)).alias(name) for name in text.frame.columns)
    sample = _Sample(frame, within)
    sample.locale, notes = _locale(about.fields, sample)
    is_whole = about.rows is not None and frame.height >= about.rows
    is_cells = any(each.kind in JSON_STAT for each in about.fields)
    names = column_names([_name(each, sample, is_cells=is_cells) for each in about.fields])
    propose = (
        _of_cells
        if is_cells
        else partial(_of_rows, is_whole=is_whole, is_of_people=are_of_people(each.name for each in about.fields))
    )
    proposals = [propose(each, name, sample) for each, name in zip(about.fields, names, strict=True)]
    chosen, reason = _key(about, proposals, sample, tuple(key), is_whole=is_whole)
    proposals = [_as_key(each) if each.field.name in chosen else each for each in proposals]
    broken = frame.height - text.broken.null_count() if text.broken is not None else 0
    if broken:
        notes.append(
            f"{broken:,} of {frame.height:,} rows of the sample have text in a broken encoding and are quarantined; `tolerate` allows for that"
        )
    return Profile(
        about=about,
        proposals=tuple(_with_period(proposals, sample)),
        rows=frame.height,
        is_whole=is_whole,
        locale=sample.locale,
        tolerate=_tolerance(broken, frame.height),
        key_reason=reason,
        notes=(*notes, *_missing(about, frame.height, chosen)),
    )


def _missing(about: About, rows: int, key: Sequence[str]) -> Iterator[str]:
    """What is not known of the table as a whole."""
    if len(years := [each.name for each in about.fields if _YEAR_IN_NAME.search(each.name)]) >= SEVERAL_YEARS:
        yield (
            f"years are in the names of columns ({years[0]}, {years[1]}, …): `unpivot=` in the asset file makes a row for each, "
            "docs/adding-a-source.md shows how"
        )
    if not about.licence:
        yield "the source names no licence: ask its publisher before you publish the data"
    if not rows:
        yield "the sample has no rows: all types are text, and no key could be tested"
    elif not key:
        yield (
            f"no key: no field is known in all {rows:,} rows of the sample and different in each, nor are two or three together; rows that "
            "are there twice will be in the table twice. Name one with --key, or leave it so"
        )


def _tolerance(broken: int, rows: int) -> float:
    """Twice the share of broken rows of the sample, in whole percent."""
    return -(-200 * broken // rows) / 100 if broken else 0.0


# Names and types


def _name(info: FieldInfo, sample: _Sample, *, is_cells: bool) -> str:
    """What to call a column: the field's name, or its label where the name says nothing; of cells, what the dimension is."""
    if not is_cells:
        return info.name if len(english(info.name)) > 1 or not english(info.label) else info.label
    match info.name:
        case "time":
            return _period(sample.values("time"))[0]
        case "geo":
            place = english(info.label)
            return f"{place}_id" if place and len(place) <= 30 else "geo_id"
        case "updated":
            return "updated_date"
    is_label = info.name.endswith("_label")
    suffix = "_name" if is_label else "_code" if info.kind == "dimension" else ""
    return f"{english(info.name.removesuffix('_label') if is_label else info.name)}{suffix}"


def _period(values: pl.Series) -> tuple[str, str]:
    """The name of a column with these periods, and their pattern if they have one."""
    for name, pattern in _PERIODS.items():
        if len(values) and values.str.contains(pattern).all():
            return name, pattern
    return "period_id", ""


def _of_cells(info: FieldInfo, name: str, sample: _Sample) -> Proposal:
    """A column of a JSON-stat table: its shape says what each is."""
    found = Proposal(field=info, column=name, type="string")
    values = sample.values(info.name)
    if info.kind == "time":
        kind: LogicalType = "bigint" if name == "year" else "string"
        low, high = (1900, 2100) if name == "year" else (None, None)
        return replace(found, type=kind, pattern="" if low else _period(values)[1], low=low, high=high, nullable=False)
    if info.kind in JSON_STAT:
        return replace(found, nullable=False)
    match info.name:
        case "table":
            return replace(found, column="", type=None, seen="The same in all rows, so it is in landing only")
        case "updated":
            return replace(found, type="date")
        case "value":
            kind = "bigint" if _parses(values, "bigint", sample.locale, "number") else "double"
            nulls = sample.frame.height - len(values)
            return replace(found, type=kind, seen=_seen(values, kind, nulls, sample))
    return found


def _of_rows(info: FieldInfo, name: str, sample: _Sample, *, is_whole: bool, is_of_people: bool) -> Proposal:
    """A column of a table of rows: its values say what it is."""
    found = Proposal(field=info, column=name, type="string")
    if info.name not in sample.frame.columns:
        found = replace(found, column="", type=None, seen="Holds objects, so it is in landing only")
        if why := suspicion_within({info.name: (), **sample.within.get(info.name, {})}):
            note = f"may be personal data ({why}). If it is not, take out `personal=True`"
            return replace(found, personal=True, notes=(note,))
        return found
    values = sample.values(info.name)
    if why := suspicion(info.name, info.label, values, is_of_people=is_of_people):
        note = f"may be personal data ({why}): it stays in landing, where it is deleted after use. If it is not, take out `personal=True`"
        return replace(found, column="", type=None, personal=True, notes=(f"{note} and add a column",))
    kind = _type(info, name, values, sample.locale)
    nulls = sample.frame.height - len(values)
    is_complete = (
        is_whole and sample.frame.height >= FEW_ROWS and not nulls and (info.nulls or 0) == 0 and bool(len(values))
    )
    found = replace(found, type=kind, nullable=not is_complete, seen=_seen(values, kind, nulls, sample))
    if values.is_empty() and sample.frame.height:
        note = "has no value in the sample: its type is a guess" if info.rows != 0 else "has no value in any row"
        return replace(found, notes=(note,))
    return _with_bounds(found, name, values, sample.locale)


def _type(info: FieldInfo, name: str, values: pl.Series, locale: Locale) -> LogicalType:
    """The narrowest type that every value of the sample has, and that the declared one allows."""
    if values.is_empty():
        return {**dict.fromkeys(NUMBER_KINDS, "double"), "checkbox": "boolean"}.get(info.kind, "string")  # type: ignore[return-value]
    is_number, is_date = info.kind in NUMBER_KINDS, info.kind in DATE_KINDS
    if not is_number and (values.str.contains(_LEADING_ZERO).any() or _is_code(name, values)):
        return "string"
    if values.str.contains(r"^-?\d{19,}$").any():  # a double has 15 digits
        return "string"
    allowed: Sequence[LogicalType] = ("bigint", "double") if is_number else ("date", "timestamp") if is_date else ()
    for kind in allowed or TYPES:
        if _parses(values, kind, locale, info.kind):
            return kind
    return "string"


def _is_code(name: str, values: pl.Series) -> bool:
    """Whether it is a code, by its name, and no number: nothing is added to it."""
    return bool(_CODE_WORDS & set(name.split("_"))) and bool(values.str.contains(r"^\d+$").all())


def _parses(values: pl.Series, kind: LogicalType, locale: Locale, declared: str | None) -> bool:
    read_as = values.to_frame("text").select(read(pl.col("text"), TYPES[kind], locale, declared).alias("text"))
    return not read_as["text"].null_count()


def _locale(fields: Sequence[FieldInfo], sample: _Sample) -> tuple[Locale, list[str]]:
    """How the source writes numbers and days, if it declares no types for them: the plainest way that reads most columns."""
    free = [each.name for each in fields if each.kind not in NUMBER_KINDS | DATE_KINDS | JSON_STAT]
    head = sample.frame.select(name for name in free if name in sample.frame.columns).head(LOOKED_AT)
    # Whole numbers are written the same everywhere: they tell nothing.
    texts = pl.all().drop_nulls()
    is_like = texts.str.contains(r"^[-+]?\d[\d.,'’ /-]*$").all() & texts.str.contains(r"\d[.,'’ /-]").any()
    like = head.select(is_like) if head.width else head
    looking = [name for name in head.columns if like[name][0] and head[name].null_count() < head.height]
    if not looking:
        return Locale(), []

    def reads(locale: Locale, kinds: Sequence[LogicalType]) -> int:
        """How many of the columns can be read as one of these types."""
        unread = [
            pl.all_horizontal(read(pl.col(name), TYPES[kind], locale, None).is_null() & pl.col(name).is_not_null())
            .any()
            .alias(f"{kind} {name}")
            for name in looking
            for kind in kinds
        ]
        failed = head.select(unread).row(0, named=True)
        return sum(any(not failed[f"{kind} {name}"] for kind in kinds) for name in looking)

    numbers = [Locale(decimal, thousands) for decimal, thousands in _NUMBERS]
    counts = [reads(each, ("bigint", "double")) for each in numbers]
    best = [each for each, count in zip(numbers, counts, strict=True) if count == max(counts)]
    notes = []
    number = best[0]
    if len({each.decimal for each in best}) > 1 and number.is_declared:
        number = Locale()
        notes.append(
            "numbers have a point or comma that may be of decimals or of thousands: they are text; declare `decimal=`"
        )
    days = [replace(number, date=form) for form in _DAYS]
    counts = [reads(each, ("date", "timestamp")) for each in days]
    day = days[counts.index(max(counts))]
    if day.date == "%d/%m/%Y" and max(counts) == counts[_DAYS.index("%m/%d/%Y")]:
        day = number
        notes.append("days may be written day/month or month/day: no value tells, so they are text; declare `date=`")
    return day, notes


def _seen(values: pl.Series, kind: LogicalType, nulls: int, sample: _Sample) -> str:
    """The range of the sample, for numbers and days."""
    facts = []
    if kind in ("bigint", "double", "date", "timestamp") and len(values):
        typed = values.to_frame("text").select(read(pl.col("text"), TYPES[kind], sample.locale, None).alias("text"))
        span = [end for end in (typed["text"].min(), typed["text"].max()) if end is not None]
        facts += [f"{span[0]!s} to {span[1]!s}"] if len(span) == 2 else []
    facts += [f"{nulls:,} of {sample.frame.height:,} without"] if nulls else []
    return f"In the sample: {', '.join(facts)}" if facts else ""


def _with_bounds(found: Proposal, name: str, values: pl.Series, locale: Locale) -> Proposal:
    """With the checks that hold by what the column is. The sample's own range would be broken by the next record year, and one row
    out of range fails the table as long as nothing is tolerated: it stands in a comment."""
    words = set(name.split("_"))
    if found.type in ("bigint", "double"):
        if words & _YEAR_WORDS and values.str.contains(_YEAR).all():
            return replace(found, low=1900, high=2100)
        typed = values.to_frame("text").select(
            read(pl.col("text"), pl.Float64(), locale, found.field.kind).alias("text")
        )
        low, high = typed["text"].min(), typed["text"].max()
        for word, (least, most) in _BOUNDS.items():
            if word in words and low is not None and high is not None and low >= least and high <= most:  # type: ignore[operator]
                return replace(found, low=least, high=most)
        if found.type == "bigint" and len(values) >= FEW_ROWS and low is not None and low >= 0:  # type: ignore[operator]
            return replace(found, low=0)  # a count
    if found.type == "string" and len(values) >= FEW_ROWS and values.n_unique() > 1:
        lengths = values.str.len_chars().unique()
        if len(lengths) == 1 and lengths[0] <= 20 and values.str.contains(r"^\d+$").all():
            return replace(found, pattern=rf"^\d{{{lengths[0]}}}$")
    return found


# Key and period


def _key(
    about: About, proposals: Sequence[Proposal], sample: _Sample, named: tuple[str, ...], *, is_whole: bool
) -> tuple[tuple[str, ...], str]:
    """The raw fields of the key, and why."""
    if named:
        return _named_key(about, named, sample), "you named it"
    cells = tuple(each.name for each in about.fields if each.kind in JSON_STAT)
    if cells:
        return cells, "the dimensions of the table"
    columns = {each.field.name for each in proposals if each.column}
    rows = sample.frame.height
    if about.key and set(about.key) <= columns and (not rows or _is_key(about.key, sample)):
        return about.key, "the source declares it"
    found = _found_key(about, proposals, sample) if rows > 1 else ()
    tested = f"unique in {'all' if is_whole else 'a sample of'} {rows:,} rows"
    return found, f"together {tested}" if len(found) > 1 else tested


def _found_key(about: About, proposals: Sequence[Proposal], sample: _Sample) -> tuple[str, ...]:
    """The first column, pair or triple of columns that tells all rows apart; empty if none does."""
    ranked = [each for each in _ranked(proposals, sample) if _is_known(each, sample)]
    for each in ranked:
        if _is_key((each.field.name,), sample) and _agrees(about, each.field):
            return (each.field.name,)
    likely = [each.field.name for each in ranked][:MOST_COLUMNS_TRIED]
    # The parts of one thing may differ by their position only: the entrances of a station, the areas of a monument.
    positions = [each.field.name for each in proposals if _is_position(each, sample)]
    for tried in (likely, [*likely, *positions[:MOST_COLUMNS_TRIED]]):
        for some in (some for size in range(2, LARGEST_KEY + 1) for some in combinations(tried, size)):
            if some[0] in likely and _is_key(some, sample):
                return tuple(each.name for each in about.fields if each.name in some)
    return ()


def _is_position(each: Proposal, sample: _Sample) -> bool:
    """Whether its values look like degrees of latitude or longitude, whatever it is called: nearly all with three decimals or more."""
    if each.type != "double" or not _is_known(each, sample):
        return False
    values = sample.values(each.field.name)
    degrees = values.cast(pl.Float64, strict=False)
    is_exact = values.str.contains(r"\.\d{3,}\s*$").mean()
    return degrees.null_count() == 0 and bool((degrees.abs() <= 180).all()) and float(is_exact or 0) > 0.8  # type: ignore[arg-type]


def _named_key(about: About, named: tuple[str, ...], sample: _Sample) -> tuple[str, ...]:
    """The fields that a person named. Raises UsageError if they are no key of the sample."""
    known = [each.name for each in about.fields if each.name in sample.frame.columns]
    if unknown := [name for name in named if name not in known]:
        raise UsageError(f"--key names {', '.join(unknown)}, expected fields of the source: {', '.join(known)}")
    if nulls := [name for name in named if sample.frame[name].null_count()]:
        raise UsageError(
            f"--key {','.join(named)}: {', '.join(nulls)} has no value in some rows of the sample; name others"
        )
    if not _is_key(named, sample):
        twice = sample.frame.filter(pl.struct(named).is_duplicated()).select(named)
        raise UsageError(
            f"--key {','.join(named)} is not unique: {twice.height:,} of {sample.frame.height:,} rows of the sample share theirs with "
            f"another, the first {str(twice.row(0, named=True))[:200]}; name more fields"
        )
    return named


def _ranked(proposals: Sequence[Proposal], sample: _Sample) -> list[Proposal]:
    """The columns that may be of a key, the likeliest first: codes, then periods and names, whole numbers last; no real numbers.

    Long texts and columns that are of one value in all rows identify nothing.
    """

    def rank(each: Proposal) -> int | None:
        words = set(each.column.split("_"))
        values = sample.values(each.field.name) if each.column else pl.Series([], dtype=pl.String)
        if not each.column or each.type in ("double", "boolean") or values.n_unique() < 2:
            return None
        if words & _CODES or each.column.endswith("id"):
            return 0
        if words & _TIMES or each.type in ("date", "timestamp"):
            return 1
        if each.type == "bigint":
            return 4 if each.low == 0 else 3
        lengths = values.str.len_chars()
        return 2 if (lengths.max() or 0) <= 80 else None  # type: ignore[operator]

    ranks = [(found, at, each) for at, each in enumerate(proposals) if (found := rank(each)) is not None]
    return [each for _, _, each in sorted(ranks, key=lambda one: one[:2])]


def _is_known(each: Proposal, sample: _Sample) -> bool:
    """Whether it has a value in every row, of the sample and by the source's own profile."""
    return not sample.frame[each.field.name].null_count() and not each.field.nulls


def _agrees(about: About, info: FieldInfo) -> bool:
    """Whether the source's own profile allows the field to be a key: as many different values as rows."""
    return info.distinct is None or about.rows is None or info.distinct >= about.rows


def _is_key(names: Sequence[str], sample: _Sample) -> bool:
    some = sample.frame.select(names)
    return not any(some[name].null_count() for name in names) and some.n_unique() == some.height


def _as_key(each: Proposal) -> Proposal:
    """A column of the key; a person may have named a field that would have none."""
    if each.column:
        return replace(each, key=True, nullable=False)
    notes = ("may be personal data, and is in the table because you named it as key",)
    return replace(
        each, key=True, nullable=False, personal=False, column=english(each.field.name), type="string", notes=notes
    )


def _with_period(proposals: Sequence[Proposal], sample: _Sample) -> list[Proposal]:
    """With the column of the period marked: the time of a JSON-stat table, else the only column with years, first those of the key."""
    times = [each for each in proposals if each.field.kind == "time"]
    years = [
        each
        for each in proposals
        if each.column
        and set(each.column.split("_")) & _YEAR_WORDS
        and len(values := sample.values(each.field.name))
        and values.str.contains(_YEAR).all()
    ]
    in_key = [each for each in years if each.key]
    chosen = times[:1] or in_key[:1] or (years if len(years) == 1 else [])
    return [replace(each, period=True) if each in chosen else each for each in proposals]
