"""Whatever a source sends, a staging function loses no row: each ends up in the table or in quarantine, exactly once, or is
discarded for a reason listed here. Checked for every staging declaration, with rows of the mock APIs in which values are corrupted.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from catalunya.assets.graph.discovery import declarations
from catalunya.assets.graph.spec import StagingDeclaration
from catalunya.assets.making.candidate import CandidateBuilder
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.page_check import PageChecker
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import REASON
from catalunya.contracts.model.columns import Column
from catalunya.io.environment import load_settings
from catalunya.io.errors import SourceError
from catalunya.io.sources.pages import read_page
from catalunya.ops import mock

Row = Mapping[str, str | None]

STAGING = {key: found for key, found in declarations().items() if isinstance(found, StagingDeclaration)}
REAL_ROWS = 60
KNOWN_VALUES = 6
FIRST_DAY = date(2000, 1, 1)

# Typical bad values: typing errors, placeholders, other alphabets. A careless pattern takes non-ASCII digits for digits.
JUNK = (
    *("", " ", "null", "N/A", "..", "0", "-1", "1.0", "1,5", "1.234", "1e999", "-0.0", "NaN", "inf", "9" * 400, "x" * 10_000),
    *("l·l", "d'", '"', "a\nb", "\t", "\x00", "{}", "[]", "#1", "\u200b", "\ufeff080193", "cafe\u0301", "🏛", "%s", "$1"),
    *("2024-02-30", "2024-13-01", "0000-00-00", "9999-99-99", "2024-07-01", "2024-07-01T00:00:00.000", "31/12/2024"),
    *("2014S3", "2014S0", "2014S99", "S1/2014", "2024M13", "2024M00", "2024T5", "1999", "2024", "99999999999"),
    *("２０２４S1", "20٢٤S1", "2024S١", "2024S²", "٠٨٠١٩٣", "08019３", "TOTAL", "total", "F ", "999998", "A", "Z", "44", "00"),
)  # fmt: skip


def has_no_value(value: str | None) -> bool:
    return value is None or value.strip() in ("", "null", "NULL", "N/A", "..")


# The rows that each function may discard; a table that is not listed discards none.
MAY_DISCARD: dict[str, Callable[[Row, frozenset[str]], bool]] = {
    "staging.population": lambda row, known: (
        row["geo"] == "TOTAL" or ((row["geo"] or "") not in known and has_no_value(row["value"]))
    ),
    "staging.employment": lambda row, _: "TOTAL" in (row["geo"], row["SECTION"]),
    "staging.municipalities": lambda row, _: (row["codi"] or "").strip().startswith("9999"),
}


@dataclass(frozen=True)
class Tracer:
    """A raw field that the function passes through unchanged, used to trace each good row back to its raw row."""

    field: str
    column: str
    is_date: bool

    def mark(self, value: str | None, number: int) -> str | None:
        """The value, marked with the number of its raw row. A value that is not a date is not marked: it leads to quarantine."""
        if value is None:
            return None
        if not self.is_date:
            return f"{value} #{number}"
        return str(FIRST_DAY + timedelta(number)) if re.match(r"\d{4}-\d\d-\d\d", value) else value

    def read(self, good: pl.DataFrame) -> list[int]:
        """The raw row numbers of the good rows."""
        column = good[self.column]
        if self.is_date:
            return [(day - FIRST_DAY).days for day in column.to_list()]
        return column.str.extract(r"#(\d+)$").cast(pl.Int64).to_list()


def tracer_of(declaration: StagingDeclaration) -> Tracer:
    """A text column without checks if there is one, else a date column; never a nullable one."""
    checks = declaration.contract.to_schema().columns
    fields = PageChecker(declaration).fields
    whole = [
        c for c in declaration.contract.columns() if c.source in fields and not c.nullable and not checks[c.name].checks
    ]
    for kind in ("string", "date"):
        for column in (column for column in whole if column.type == kind):
            assert column.source
            return Tracer(column.source, column.name, is_date=kind == "date")
    raise AssertionError(f"{declaration.asset.key}: no column to trace rows by; add another kind to this test")


@pytest.fixture(scope="module")
def real_pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, pl.DataFrame]:
    """The first raw page of each source in the mock APIs, by staging key, as text read from landing."""
    pages = {}
    with mock.serve(rows=500) as server:
        lake = str(tmp_path_factory.mktemp("properties"))
        mine = load_settings(env="local", lake=lake, mock_url=server.url)
        project = Project(mine, list(declarations().values()))
        for key, declaration in STAGING.items():
            try:
                landed = materialize(project, declaration.landing.asset.key).entry
            except SourceError:  # not in the mock: its rows are generated from the contract
                continue
            assert landed
            page = landed.objects[0].path
            source = declaration.landing.source
            shape = PageChecker(declaration).shape
            raw = read_page(project.lake.get(page), page, shape.fields, source, key)
            pages[key] = shape.marked(raw, source.describe())
    return pages


@pytest.fixture(scope="module")
def tables(real_pages: Mapping[str, pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
    """The staging tables that other functions read, made from those pages; empty if there is no page."""
    read = {declared.asset.key: declared for one in STAGING.values() for declared in one.reads}
    found = {}
    for key, declaration in read.items():
        empty = pl.DataFrame(schema=declaration.contract.polars_schema())
        found[key] = (
            PageChecker(declaration).check(real_pages[key])[0] if key in real_pages and not declaration.reads else empty
        )
    return found


@cache
def plausible(declaration: StagingDeclaration, field: str) -> st.SearchStrategy[str]:
    """Text that the contract is likely to accept for a raw field, derived from the column that reads it."""
    column = next((c for c in declaration.contract.columns() if c.source == field), None)
    if column is None:
        return st.sampled_from(JUNK)
    pattern = _pattern(declaration, column)
    return st.from_regex(pattern) if pattern else _of_type(column)


def _pattern(declaration: StagingDeclaration, column: Column) -> str | None:
    checks = declaration.contract.to_schema().columns[column.name].checks
    return next((check.statistics["pattern"] for check in checks if check.name == "str_matches"), None)


def _of_type(column: Column) -> st.SearchStrategy[str]:
    if column.accepted:
        return st.sampled_from(column.accepted)
    strategies: dict[str, st.SearchStrategy[str]] = {
        "integer": st.integers(-5, 10**6).map(str),
        "bigint": st.integers(-5, 10**6).map(str),
        "double": st.floats(-200, 200).map(str),
        "date": st.dates().map(str),
        "timestamp": st.datetimes().map(lambda moment: moment.isoformat()),
        "boolean": st.sampled_from(("true", "false")),
    }
    return strategies.get(column.type, st.text(max_size=20))


def pages(declaration: StagingDeclaration, real: pl.DataFrame | None) -> st.SearchStrategy[list[dict[str, str | None]]]:
    """Small and large pages: real rows with a few corrupted fields or, if there are none, rows generated field by field."""
    fields = PageChecker(declaration).fields
    known = {name: _extremes(real[name]) if real is not None else () for name in fields}
    corrupted = {
        name: st.one_of(
            st.none(),
            *([st.sampled_from(known[name])] if known[name] else []),
            plausible(declaration, name),
            st.sampled_from(JUNK),
            st.text(max_size=12),
        )
        for name in fields
    }
    corruption = st.one_of([st.tuples(st.just(name), values) for name, values in corrupted.items()])
    if real is None:
        rows = st.fixed_dictionaries(corrupted)
    else:
        rows = st.tuples(st.sampled_from(_sample(real)), st.lists(corruption, max_size=3)).map(
            lambda drawn: {**drawn[0], **dict(drawn[1])}
        )
    return st.lists(rows, max_size=3) | st.lists(rows, min_size=15, max_size=40)


def _sample(real: pl.DataFrame) -> list[dict[str, str | None]]:
    """Rows from all over the page, and those with the extreme values of each field, such as `TOTAL` and `999999`."""
    ends = [real.sort(name, nulls_last=last).head(1) for name in real.columns for last in (True, False)]
    ends += [real.sort(name, descending=True, nulls_last=True).head(1) for name in real.columns]
    return pl.concat([real.gather_every(max(1, real.height // REAL_ROWS)), *ends]).rows(named=True)


def _extremes(values: pl.Series) -> tuple[str, ...]:
    """The smallest and largest of a field's values."""
    ordered = values.drop_nulls().unique().sort().to_list()
    return tuple(dict.fromkeys([*ordered[:KNOWN_VALUES], *ordered[-KNOWN_VALUES:]]))


@pytest.mark.parametrize("key", sorted(STAGING))
def test_every_row_ends_up_in_the_table_or_in_quarantine_exactly_once(
    key: str, real_pages: Mapping[str, pl.DataFrame], tables: Mapping[str, pl.DataFrame]
) -> None:
    declaration, counts = STAGING[key], Counter[str]()
    reads = [tables[read.asset.key] for read in declaration.reads]

    # Without shrinking, which takes minutes: a failing page is retried row by row instead.
    @settings(
        max_examples=25,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(pages(declaration, real_pages.get(key)))
    def holds(rows: list[dict[str, str | None]]) -> None:
        try:
            counts.update(trace(declaration, rows, reads))
        except (Exception, pl.exceptions.PanicException):
            for row in rows:
                trace(declaration, [row], reads)
            raise

    holds()
    assert counts["quarantined"]
    if key in real_pages:
        assert counts["good"] > counts.total() / 10, f"too few rows reach the table: {counts}"
        assert bool(counts["discarded"]) is (key in MAY_DISCARD), f"{counts}"


def trace(declaration: StagingDeclaration, drawn: Sequence[Row], reads: Sequence[pl.DataFrame]) -> dict[str, int]:
    """Run a page through the function and its contract, and account for every row; returns how many ended where."""
    fields, tracer = PageChecker(declaration).fields, tracer_of(declaration)
    rows = [{**row, tracer.field: tracer.mark(row[tracer.field], at)} for at, row in enumerate(drawn)]
    raw = pl.DataFrame(rows, schema=dict.fromkeys(fields, pl.String))
    good, quarantined, discarded = PageChecker(declaration, [table.lazy() for table in reads]).check(raw)

    numbers = tracer.read(good)
    assert len(set(numbers)) == len(numbers), "a raw row is in the table twice"
    rest = Counter(tuple(row[name] for name in fields) for row in rows)
    rest.subtract(tuple(rows[number][name] for name in fields) for number in numbers)
    if quarantined.height:
        assert all(quarantined[REASON])
        rest.subtract(quarantined.select(fields).rows())
    assert min(rest.values(), default=0) >= 0, "a row is both in the table and in quarantine, or not from the source"
    lost = [dict(zip(fields, row, strict=True)) for row in rest.elements()]
    assert len(lost) == discarded
    known = frozenset(value for table in reads for value in table.to_series(0).to_list())
    may_discard = MAY_DISCARD.get(declaration.asset.key, lambda row, known: False)
    assert [row for row in lost if not may_discard(row, known)] == []

    assert good.schema == declaration.contract.polars_schema()
    for column in declaration.contract.columns():
        pattern = _pattern(declaration, column)
        strange = [v for v in good[column.name].drop_nulls() if pattern and not re.search(pattern, v, re.ASCII)]
        assert not strange, f"{column.name} has digits other than ASCII: {strange[0]}"
    ends = {"good": good.height, "quarantined": quarantined.height, "discarded": discarded}
    assert is_counted_in_table(declaration, good, quarantined, discarded), (
        f"the table's counts differ from its page's: {ends}"
    )
    return ends


def is_counted_in_table(
    declaration: StagingDeclaration, good: pl.DataFrame, quarantined: pl.DataFrame, discarded: int
) -> bool:
    """Whether a table made from this page has one row per key, and counts the duplicates, quarantined, contradicting and discarded rows."""
    with tempfile.TemporaryDirectory() as scratch:
        builder = CandidateBuilder(declaration.asset, declaration.contract, Path(scratch))
        builder.pages.append(builder.store(0, good, quarantined, discarded))
        made = builder.build(tolerate_all=True)
        in_files = sum(file.stored.rows for file in made.files)
    key = list(declaration.contract.key())
    rows = good.group_by(key).agg(pl.len(), different=pl.struct(pl.all()).n_unique())
    rows = rows if good.height else rows.clear()
    agreeing = rows.filter(pl.col("different") == 1)
    contradicting = good.height - agreeing["len"].sum()
    return (made.rows, made.duplicates, made.quarantined, made.discarded, in_files) == (
        *(agreeing.height, agreeing["len"].sum() - agreeing.height, quarantined.height + contradicting, discarded),
        agreeing.height,
    )
