"""Whatever a source sends, a staging function loses no row: it ends in the table or in quarantine, once, or is left out for a
reason that is written here. Every staging declaration is held to it; the rows are true ones of the mock APIs, spoiled."""

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
from catalunya.assets.making.staging import check_page, raw_fields
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import REASON
from catalunya.contracts.model.columns import Column
from catalunya.io.environment import load_settings
from catalunya.io.errors import SourceError
from catalunya.io.sources.pages import read_page
from catalunya.ops import mock

Row = Mapping[str, str | None]

STAGING = {key: found for key, found in declarations().items() if isinstance(found, StagingDeclaration)}
TRUE_ROWS = 60
KNOWN_VALUES = 6
FIRST_DAY = date(2000, 1, 1)

# What comes in by mistake, by habit, or by another keyboard. Digits that are none of ASCII's are digits to a careless pattern.
JUNK = (
    *("", " ", "null", "N/A", "..", "0", "-1", "1.0", "1,5", "1.234", "1e999", "-0.0", "NaN", "inf", "9" * 400, "x" * 10_000),
    *("l·l", "d'", '"', "a\nb", "\t", "\x00", "{}", "[]", "#1", "\u200b", "\ufeff080193", "cafe\u0301", "🏛", "%s", "$1"),
    *("2024-02-30", "2024-13-01", "0000-00-00", "9999-99-99", "2024-07-01", "2024-07-01T00:00:00.000", "31/12/2024"),
    *("2014S3", "2014S0", "2014S99", "S1/2014", "2024M13", "2024M00", "2024T5", "1999", "2024", "99999999999"),
    *("２０２４S1", "20٢٤S1", "2024S١", "2024S²", "٠٨٠١٩٣", "08019３", "TOTAL", "total", "F ", "999998", "A", "Z", "44", "00"),
)  # fmt: skip


def said_nothing(value: str | None) -> bool:
    return value is None or value.strip() in ("", "null", "NULL", "N/A", "..")


# What each function may leave out, and what it may not: a source that is not here leaves nothing out.
LEFT_OUT: dict[str, Callable[[Row, frozenset[str]], bool]] = {
    "staging.population": lambda row, known: (
        row["geo"] == "TOTAL" or ((row["geo"] or "") not in known and said_nothing(row["value"]))
    ),
    "staging.employment": lambda row, _: "TOTAL" in (row["geo"], row["SECTION"]),
    "staging.municipalities": lambda row, _: (row["codi"] or "").strip().startswith("9999"),
}


@dataclass(frozen=True)
class Tracer:
    """A raw field whose value comes out of the function as it went in, and so tells which raw row a good row was."""

    field: str
    column: str
    is_date: bool

    def mark(self, value: str | None, number: int) -> str | None:
        """The value of raw row `number`. What is no date is left alone: it leads to quarantine."""
        if value is None:
            return None
        if not self.is_date:
            return f"{value} #{number}"
        return str(FIRST_DAY + timedelta(number)) if re.match(r"\d{4}-\d\d-\d\d", value) else value

    def read(self, good: pl.DataFrame) -> list[int]:
        """The numbers of the raw rows that the good rows were."""
        column = good[self.column]
        if self.is_date:
            return [(day - FIRST_DAY).days for day in column.to_list()]
        return column.str.extract(r"#(\d+)$").cast(pl.Int64).to_list()


def tracer_of(declaration: StagingDeclaration) -> Tracer:
    """A text without rules if there is one, else a day; of a column that may not be empty."""
    checks = declaration.contract.to_schema().columns
    fields = raw_fields(declaration)
    whole = [
        c for c in declaration.contract.columns() if c.source in fields and not c.nullable and not checks[c.name].checks
    ]
    for kind in ("string", "date"):
        for column in (column for column in whole if column.type == kind):
            assert column.source
            return Tracer(column.source, column.name, is_date=kind == "date")
    raise AssertionError(
        f"{declaration.asset.key}: no column by which to know a row again; teach the test another kind"
    )


@pytest.fixture(scope="module")
def true_pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, pl.DataFrame]:
    """The first raw page of each source that the mock APIs know, by staging key: text, as it is read from landing."""
    pages = {}
    with mock.serve(rows=500) as server:
        lake = str(tmp_path_factory.mktemp("properties"))
        mine = load_settings(env="local", lake=lake, socrata_url=server.url, idescat_url=server.url)
        project = Project(mine, list(declarations().values()))
        for key, declaration in STAGING.items():
            try:
                landed = materialize(project, declaration.landing.asset.key).entry
            except SourceError:  # a source that the mock does not know: its rows are made from its contract alone
                continue
            assert landed
            page = landed.objects[0].path
            pages_are = declaration.landing.source.pages_are
            pages[key] = read_page(project.lake, page, raw_fields(declaration), pages_are, key)
    return pages


@pytest.fixture(scope="module")
def tables(true_pages: Mapping[str, pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
    """The staging tables that other functions read, made of those pages; without rows where there is no page."""
    read = {declared.asset.key: declared for one in STAGING.values() for declared in one.reads}
    found = {}
    for key, declaration in read.items():
        nothing = pl.DataFrame(schema=declaration.contract.polars_schema())
        found[key] = (
            check_page(declaration, true_pages[key], [])[0] if key in true_pages and not declaration.reads else nothing
        )
    return found


@cache
def plausible(declaration: StagingDeclaration, field: str) -> st.SearchStrategy[str]:
    """Text that the contract may take for a raw field, as far as a column of that source tells."""
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


def pages(declaration: StagingDeclaration, true: pl.DataFrame | None) -> st.SearchStrategy[list[dict[str, str | None]]]:
    """Pages of a few rows and of many: true ones with a few fields spoiled, or, of a source without, made up field by field."""
    fields = raw_fields(declaration)
    known = {name: _some(true[name]) if true is not None else () for name in fields}
    spoiled = {
        name: st.one_of(
            st.none(),
            *([st.sampled_from(known[name])] if known[name] else []),
            plausible(declaration, name),
            st.sampled_from(JUNK),
            st.text(max_size=12),
        )
        for name in fields
    }
    spoiling = st.sampled_from(fields).flatmap(lambda name: st.tuples(st.just(name), spoiled[name]))
    if true is None:
        rows = st.fixed_dictionaries(spoiled)
    else:
        rows = st.tuples(st.sampled_from(_sample(true)), st.lists(spoiling, max_size=3)).map(
            lambda drawn: {**drawn[0], **dict(drawn[1])}
        )
    return st.lists(rows, max_size=3) | st.lists(rows, min_size=15, max_size=40)


def _sample(true: pl.DataFrame) -> list[dict[str, str | None]]:
    """Rows from all over the page, and those at either end of each field: `TOTAL` and `999999` are among them."""
    ends = [true.sort(name, nulls_last=last).head(1) for name in true.columns for last in (True, False)]
    ends += [true.sort(name, descending=True, nulls_last=True).head(1) for name in true.columns]
    return pl.concat([true.gather_every(max(1, true.height // TRUE_ROWS)), *ends]).rows(named=True)


def _some(values: pl.Series) -> tuple[str, ...]:
    """The first and the last of a field's values in order."""
    ordered = values.drop_nulls().unique().sort().to_list()
    return tuple(dict.fromkeys([*ordered[:KNOWN_VALUES], *ordered[-KNOWN_VALUES:]]))


@pytest.mark.parametrize("key", sorted(STAGING))
def test_every_row_ends_in_the_table_or_in_quarantine_once(
    key: str, true_pages: Mapping[str, pl.DataFrame], tables: Mapping[str, pl.DataFrame]
) -> None:
    declaration, reached = STAGING[key], Counter[str]()
    reads = [tables[read.asset.key] for read in declaration.reads]

    # Shrinking takes minutes; a row that fails alone says as much at once.
    @settings(
        max_examples=25,
        phases=[Phase.generate],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(pages(declaration, true_pages.get(key)))
    def holds(rows: list[dict[str, str | None]]) -> None:
        try:
            reached.update(ends_of(declaration, rows, reads))
        except (Exception, pl.exceptions.PanicException):
            for row in rows:
                ends_of(declaration, [row], reads)
            raise

    holds()
    assert reached["aside"]
    if key in true_pages:
        assert reached["good"] > reached.total() / 10, f"hardly a row reaches the table: {reached}"
        assert bool(reached["left_out"]) is (key in LEFT_OUT), f"{reached}"


def ends_of(declaration: StagingDeclaration, drawn: Sequence[Row], reads: Sequence[pl.DataFrame]) -> dict[str, int]:
    """Take a page through the function and its contract, and find every row again; how many ended where."""
    fields, tracer = raw_fields(declaration), tracer_of(declaration)
    rows = [{**row, tracer.field: tracer.mark(row[tracer.field], at)} for at, row in enumerate(drawn)]
    raw = pl.DataFrame(rows, schema=dict.fromkeys(fields, pl.String))
    good, aside, left_out = check_page(declaration, raw, [table.lazy() for table in reads])

    numbers = tracer.read(good)
    assert len(set(numbers)) == len(numbers), "a raw row is twice in the table"
    rest = Counter(tuple(row[name] for name in fields) for row in rows)
    rest.subtract(tuple(rows[number][name] for name in fields) for number in numbers)
    if aside.height:
        assert all(aside[REASON])
        rest.subtract(aside.select(fields).rows())
    assert min(rest.values(), default=0) >= 0, "a row is in the table and in quarantine, or is none of the source's"
    lost = [dict(zip(fields, row, strict=True)) for row in rest.elements()]
    assert len(lost) == left_out
    known = frozenset(value for table in reads for value in table.to_series(0).to_list())
    may_leave_out = LEFT_OUT.get(declaration.asset.key, lambda row, known: False)
    assert [row for row in lost if not may_leave_out(row, known)] == []

    assert good.schema == declaration.contract.polars_schema()
    for column in declaration.contract.columns():
        pattern = _pattern(declaration, column)
        strange = [v for v in good[column.name].drop_nulls() if pattern and not re.search(pattern, v, re.ASCII)]
        assert not strange, f"{column.name} has digits that are none of ASCII's: {strange[0]}"
    ends = {"good": good.height, "aside": aside.height, "left_out": left_out}
    assert gathered(declaration, good, aside, left_out), f"the whole table does not count what its page did: {ends}"
    return ends


def gathered(declaration: StagingDeclaration, good: pl.DataFrame, aside: pl.DataFrame, left_out: int) -> bool:
    """Whether the whole table, made of that page, has every good row once a key, and counts the others."""
    with tempfile.TemporaryDirectory() as scratch:
        builder = CandidateBuilder(declaration.asset, declaration.contract, Path(scratch))
        builder.pages.append(builder.store(0, good, aside, left_out))
        made = builder.build(None, accept_shrink=True, tolerate_all=True)
        in_files = sum(file.stored.rows for file in made.files)
    keys = good.select(declaration.contract.key()).n_unique() if good.height else 0
    return (made.rows, made.duplicates, made.quarantined, made.discarded, in_files) == (
        *(keys, good.height - keys, aside.height, left_out),
        keys,
    )
