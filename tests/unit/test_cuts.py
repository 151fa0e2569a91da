"""A table does not depend on how the source cut its answer (docs/architecture.md, invariant 11): page sizes, filters by time or
territory, halves down to single cells, the order of pages and rows, and the layout that a server writes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalunya.assets.employment import GENERAL_2009, SELF_EMPLOYED_2025, employment
from catalunya.assets.graph.spec import Declaration, Landing, StagingDeclaration, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.municipalities import municipalities
from catalunya.assets.population import population
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.service_usage import service_usage
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import load_settings
from catalunya.io.errors import ContractError, UsageError
from small.answers import Cube, GivenPages, page_of, pages_of
from small.answers import given as reading

Pages = Sequence[tuple[bytes, int]]


class Table:
    """A lake with one staging table, made again and again from pages that the test gives."""

    def __init__(
        self, folder: Path, declared: StagingDeclaration, source: GivenPages, others: Sequence[Declaration] = ()
    ) -> None:
        (folder / "scratch").mkdir()
        mine = load_settings(env="local", lake=str(folder / "lake"), cache=folder / "cache", scratch=folder / "scratch")
        self.source, self.key, self.landing = source, declared.asset.key, declared.landing.asset.key
        self.project = Project(mine, [*others, declared.landing, declared])

    def make(self, pages: Pages) -> tuple[pl.DataFrame, dict[str, int]]:
        """The rows of the table in the order of their key, and where the others went."""
        self.source.give(pages)
        materialize(self.project, self.landing)
        materialize(self.project, self.key, Request(force=True))
        return self.published()

    def published(self) -> tuple[pl.DataFrame, dict[str, int]]:
        entry = self.project.ledger.latest(self.key)
        assert entry
        asset = self.project.graph[self.key]
        table = scan_table(self.project.lake, asset, entry).collect().sort(asset.key_columns)
        return table, {name: getattr(entry, name) for name in ("rows", "quarantined", "discarded", "duplicates")}

    def version(self) -> str:
        """The hash of the table's bytes."""
        entry = self.project.ledger.latest(self.key)
        assert entry
        return entry.data_version

    def quarantined(self) -> pl.DataFrame:
        entry = self.project.ledger.latest(self.key)
        assert entry
        assert entry.quarantine
        return pl.read_parquet(self.project.lake.get(entry.quarantine))


MUNICIPALITIES = [
    "080018",
    "080193",
    "080155",
    "081878",
    "082798",
    "170010",
    "170792",
    "250019",
    "251207",
    "430017",
    "431482",
]
MUNICIPALITY_ROWS = [
    {"codi": code, "nom": f"Poble {code}", "codi_comarca": "13", "nom_comarca": "Barcelonès", "longitud": "2.1", "latitud": "41.3"}
    for code in MUNICIPALITIES
]  # fmt: skip


def people(cell: dict[str, str]) -> int | None:
    """The total is not the sum, so that only the source's own figure is right; 171045 no longer exists; one code is unknown."""
    half_year = ["2014S1", "2014S2", "2015S1"].index(cell["SEMESTER"])
    sex = ["F", "M", "TOTAL"].index(cell["SEX"])
    if cell["MUN"] == "TOTAL":
        return 7_000_000 + 10 * half_year + sex
    if cell["MUN"] == "171045" or (cell["MUN"] == "999999" and (half_year, sex) != (0, 0)):
        return None
    number = int(cell["MUN"])
    return None if number % 7 == 0 else number + half_year + sex


POPULATION = Cube(
    "ep/9122/10002/mun",
    {
        "SEMESTER": ["2014S1", "2014S2", "2015S1"],
        "MUN": [*MUNICIPALITIES, "171045", "999999", "TOTAL"],
        "SEX": ["F", "M", "TOTAL"],
        "CONCEPT": ["POP"],
    },
    {"time": ["SEMESTER"], "geo": ["MUN"], "metric": ["CONCEPT"]},
    people,  # type: ignore[arg-type]
)


def jobs_in(table: str, months: Sequence[str]) -> Cube:
    def jobs(cell: dict[str, str]) -> int:
        base = 1000 * months.index(cell["MONTH"]) + (0 if cell["COM"] == "TOTAL" else int(cell["COM"]))
        return base + (500_000 if cell["SECTION"] == "TOTAL" else ord(cell["SECTION"]))

    return Cube(
        table,
        {
            "MONTH": months,
            "COM": ["01", "02", "13", "43", "TOTAL"],
            "SECTION": ["A", "B", "V", "TOTAL"],
            "CONCEPT": ["JOBS"],
        },
        {"time": ["MONTH"], "geo": ["COM"], "metric": ["CONCEPT"]},
        jobs,  # type: ignore[arg-type]
        updated="2026-05-01",
    )


JOBS_2009 = jobs_in(GENERAL_2009, ["2025M09", "2025M12"])
JOBS_2025 = jobs_in(SELF_EMPLOYED_2025, ["2026M03"])


def population_table(folder: Path) -> Table:
    places, source = GivenPages(folder / "places"), GivenPages(folder / "source")
    places.give([page_of(MUNICIPALITY_ROWS)])
    known = reading(municipalities, places)
    table = Table(folder, reading(population, source, known), source, [known.landing, known])
    for key in ("landing.municipalities", "staging.municipalities"):
        materialize(table.project, key)
    return table


def employment_table(folder: Path) -> Table:
    source = GivenPages(folder / "source")
    return Table(folder, reading(employment, source), source)


USAGE = [
    {"any": str(year), "codi": f"{code:02}", "comarca": f"Comarca {code}", "homes_total": str(code), "dones_total": str(2 * code), "total": str(3 * code)}
    for year in (2022, 2023) for code in range(1, 21)
]  # fmt: skip


def usage_table(folder: Path) -> Table:
    source = GivenPages(folder / "source")
    return Table(folder, reading(service_usage, source), source)


PROPERTY = settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def holds(
    make: Callable[[Path], Table], whole: Pages, cuts: st.SearchStrategy[Any], check: Callable[[pl.DataFrame], object]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = make(Path(folder))
        expected, counts = table.make(whole)
        check(expected)
        version = table.version()

        @PROPERTY
        @given(cuts)
        def same(pages: Pages) -> None:
            found, found_counts = table.make(pages)
            assert found.equals(expected)
            assert found_counts == counts
            assert table.version() == version, "the same bytes"

        same()


def test_population_is_the_same_however_its_cells_are_cut() -> None:
    def check(table: pl.DataFrame) -> None:
        totals = table.select("half_year_id", "sex", "catalonia_population").unique()
        assert totals.filter(half_year_id="2014-H2", sex="male")["catalonia_population"].to_list() == [7_000_011]
        assert totals.height == 9
        assert table["catalonia_population"].null_count() == 0

    holds(population_table, [POPULATION.page(POPULATION.codes)], POPULATION.pages(), check)


def test_employment_is_the_same_however_the_cells_of_its_tables_are_cut() -> None:
    def check(table: pl.DataFrame) -> None:
        assert table["comarca_jobs"].null_count() == 0
        of_the_break = table.filter(quarter_id="2026-Q1", comarca_id="13", section_id="V")
        assert of_the_break.select("regime", "classification", "comarca_jobs").row(0) == (
            "self_employed",
            "CCAE-2025",
            500_013,
        )

    whole = [JOBS_2009.page(JOBS_2009.codes), JOBS_2025.page(JOBS_2025.codes)]
    both = st.tuples(JOBS_2009.pages(), JOBS_2025.pages()).flatmap(lambda cut: st.permutations([*cut[0], *cut[1]]))
    holds(employment_table, whole, both, check)


def test_rows_give_the_same_table_however_they_are_cut_with_their_duplicates() -> None:
    rows = [*USAGE, USAGE[3], USAGE[17], USAGE[3]]

    def check(table: pl.DataFrame) -> None:
        assert table.height == 40

    holds(usage_table, [page_of(rows)], pages_of(rows), check)


# Values in other rows that contradict each other


class RawSales(LandingContract):
    """Sales, with the total of each city among them."""

    ciutat: str = raw("City", required=True)
    tipus: str = raw("Kind, or TOTAL", required=True)
    quantitat: str = raw("Number")


class Sales(Contract, tolerate=0.5, max_shrink=1.0):
    """Sales by city and kind, with the city's total."""

    city: str = column("City", source=RawSales.ciutat, key=True)
    kind: str = column("Kind", source=RawSales.tipus, key=True, str_matches="^[a-z]+$")
    sales: int = column("Number", source=RawSales.quantitat)
    city_sales: int = column("The city's total", nullable=True)


def of_the_city(page: pl.LazyFrame) -> pl.LazyFrame:
    return page.filter(pl.col("tipus") == "TOTAL").select(
        "ciutat", city_sales=pl.col("sales").cast(pl.Int64, strict=False)
    )


def sales_table(folder: Path) -> Table:
    source = GivenPages(folder / "source", fields=("ciutat", "tipus", "quantitat"))
    landing = Landing("sales", source=source, contract=RawSales, schedule="0 5 * * *")

    @staging(landing, contract=Sales, across=of_the_city)
    def sales(page: pl.LazyFrame, totals: pl.LazyFrame) -> pl.LazyFrame:
        from catalunya.assets.making.expressions import look_up

        return look_up(page, totals, on=["ciutat"]).filter(pl.col("tipus") != "TOTAL")

    return Table(folder, sales, source)


def sale(city: str, kind: str, number: int) -> dict[str, str]:
    return {"ciutat": city, "tipus": kind, "quantitat": str(number)}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return sales_table(tmp_path)


GOOD = [
    sale("Vic", "pa", 1),
    sale("Vic", "vi", 2),
    sale("Reus", "pa", 3),
    sale("Reus", "vi", 4),
    sale("Vic", "TOTAL", 90),
]


def test_a_total_on_another_page_is_found_and_one_that_is_missing_is_null(table: Table) -> None:
    rows, counts = table.make([page_of(GOOD[:4]), page_of(GOOD[4:])])
    assert rows["city_sales"].to_list() == [None, None, 90, 90]
    assert counts == {"rows": 4, "quarantined": 0, "discarded": 1, "duplicates": 0}


@pytest.mark.parametrize("order", [1, -1])
def test_rows_whose_total_is_contradicted_on_another_page_are_quarantined_with_both_values(
    table: Table, order: int
) -> None:
    pages = [page_of([*GOOD, sale("Reus", "TOTAL", 70)]), page_of([sale("Reus", "TOTAL", 80)])]
    rows, counts = table.make(pages[::order])
    assert rows["city"].to_list() == ["Vic", "Vic"]
    assert counts == {"rows": 2, "quarantined": 2, "discarded": 3, "duplicates": 0}
    assert set(table.quarantined()["_reason"]) == {"city_sales: contradicting values 70 and 80"}


def test_a_contradiction_stays_in_quarantine_when_it_is_replayed(table: Table) -> None:
    table.make([page_of([*GOOD, sale("Reus", "TOTAL", 70)]), page_of([sale("Reus", "TOTAL", 80)])])
    materialize(table.project, table.key, Request(replay=True))
    rows, counts = table.published()
    assert (rows["city"].to_list(), counts["quarantined"]) == (["Vic", "Vic"], 2)


def test_the_same_total_on_two_pages_is_no_contradiction(table: Table) -> None:
    rows, counts = table.make([page_of(GOOD), page_of([sale("Vic", "TOTAL", 90), sale("Reus", "TOTAL", 7)])])
    assert rows["city_sales"].to_list() == [7, 7, 90, 90]
    assert counts["quarantined"] == 0


def test_a_row_that_is_replayed_has_the_total_that_its_page_had(table: Table, tmp_path: Path) -> None:
    table.make([page_of([*GOOD, sale("Vic", "Wrong", 5)]), page_of([sale("Reus", "TOTAL", 7)])])
    quarantined = table.quarantined()
    assert quarantined.select("ciutat", "tipus", "city_sales").rows() == [("Vic", "Wrong", 90)]
    entry = table.project.ledger.latest(table.key)
    assert entry
    assert entry.quarantine
    fixed = tmp_path / "fixed.parquet"
    quarantined.with_columns(tipus=pl.lit("peix")).write_parquet(fixed)
    table.project.lake.put(entry.quarantine, fixed)
    materialize(table.project, table.key, Request(replay=True))
    rows, counts = table.published()
    assert rows.filter(kind="peix").select("city", "sales", "city_sales").rows() == [("Vic", 5, 90)]
    assert counts["quarantined"] == 0


def test_a_quarantine_of_an_earlier_version_is_not_replayed_without_the_totals(table: Table, tmp_path: Path) -> None:
    table.make([page_of([*GOOD, sale("Vic", "Wrong", 5)])])
    entry = table.project.ledger.latest(table.key)
    assert entry
    assert entry.quarantine
    older = tmp_path / "older.parquet"
    table.quarantined().drop("city_sales").write_parquet(older)
    table.project.lake.put(entry.quarantine, older)
    with pytest.raises(
        UsageError, match=r"has no city_sales beside the rows.* materialize landing.sales staging.sales --force"
    ):
        materialize(table.project, table.key, Request(replay=True))


def test_a_total_that_contradicts_itself_for_all_rows_stops_the_table(table: Table) -> None:
    both = [sale(city, "TOTAL", number) for city in ("Vic", "Reus") for number in (1, 2)]
    with pytest.raises(ContractError, match=r"4 of 4 rows .*contradicting values"):
        table.make([page_of(GOOD[:4]), page_of(both)])


# A field that is twice in one row


@pytest.mark.parametrize("layout", ["{},{}", "{}\n,{}", "{},\n  {}\n", '{}\n,{}\n,{{"tipus":"x","tipus":"y"}}'])
def test_a_row_with_a_field_twice_is_quarantined_with_both_values_and_stays_there(table: Table, layout: str) -> None:
    first, second = (
        '{"ciutat":"Vic","tipus":"pa","quantitat":"1"}',
        '{"ciutat":"Vic","tipus":"vi","quantitat":"1","quantitat":"2"}',
    )
    rest = [sale("Reus", kind, 1) for kind in ("pa", "vi", "all", "sal")]
    text = f"[{layout.format(first, second)}]"
    rows, counts = table.make([(text.encode(), text.count("tipus") - text.count('"x"')), page_of(rest)])
    twice = text.count('"tipus":"y"') + 1
    assert (rows.height, counts["quarantined"]) == (5, twice)
    assert "quantitat: found twice in one row: '1' and '2'" in table.quarantined()["_reason"].to_list()
    materialize(table.project, table.key, Request(replay=True))
    assert table.published()[1]["quarantined"] == twice
