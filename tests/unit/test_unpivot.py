"""Wide tables made long: one row for each year in the columns, every row accounted for, and years that come later picked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalunya.assets.graph.spec import Declaration, Landing, StagingDeclaration, staging
from catalunya.assets.graph.unpivot import Unpivot
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.making.unpivot import Shape
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import REASON
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.sources.json_types import TYPE
from catalunya.io.sources.pages import FLAW
from small.shops import FolderSource

YEARS = Unpivot(columns=r"any_(\d{4})", names_to="any", values_to="places")


class RawPlaces(LandingContract):
    """Places by town, a column for each year."""

    poble: str = raw("Town", kind="text", required=True)
    any_2023: str = raw("Places in 2023", kind="number")
    any_2024: str = raw("Places in 2024", kind="number")


class Frozen(LandingContract, drift="freeze"):
    """The same, and nothing else."""

    poble: str = raw("Town", kind="text", required=True)
    any_2023: str = raw("Places in 2023", kind="number")
    any_2024: str = raw("Places in 2024", kind="number")


class Places(Contract, tolerate=0.5, max_shrink=1.0, max_growth=9.0, max_change=1.0, max_loss=1.0):
    """Places by town and year."""

    town: str = column("Town", source=RawPlaces.poble, key=True)
    year_id: str = column("Year", source="any", key=True)
    places: int = column("Places", source="places", nullable=True, ge=0)


class Wide:
    """A wide table in a folder, made long."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        unpivot: Unpivot = YEARS,
        raw_contract: type[LandingContract] = RawPlaces,
    ) -> None:
        self.source, self.settings = FolderSource(folder), settings
        self.landing = Landing("places", source=self.source, contract=raw_contract, schedule="0 5 * * *")

        @staging(self.landing, contract=Places, unpivot=unpivot)
        def places(raw: pl.LazyFrame) -> pl.LazyFrame:
            return raw

        self.places: StagingDeclaration = places
        self.project = self.opened(self.places)

    def opened(self, places: StagingDeclaration) -> Project:
        declared: Sequence[Declaration] = [self.landing, places]
        return Project(self.settings, declared)

    def make(self, *rows: dict[str, Any], **request: Any) -> Entry:
        kinds = {name: "text" if name == "poble" else "number" for row in rows for name in row}
        self.source.write(list(rows), fields=kinds)
        materialize(self.project, "landing.places")
        entry = materialize(self.project, "staging.places", Request(**request)).entry
        assert entry
        return entry

    def table(self) -> list[tuple[object, ...]]:
        entry = self.project.ledger.latest("staging.places")
        assert entry
        return sorted(
            scan_table(self.project.lake, self.project.graph["staging.places"], entry).collect().rows(), key=str
        )


ABRERA = {"poble": "Abrera", "any_2023": "12", "any_2024": "13"}


def test_each_year_of_a_town_is_a_row(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source")
    entry = wide.make(ABRERA, {"poble": "Alella", "any_2023": "7", "any_2024": ".."})
    assert wide.table() == [("Abrera", "2023", 12), ("Abrera", "2024", 13), ("Alella", "2023", 7)]
    assert (entry.rows, entry.quarantined, entry.discarded) == (3, 0, 1)


def test_years_without_a_value_are_rows_where_they_are_kept(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source", replace(YEARS, keep_empty=True))
    entry = wide.make(ABRERA, {"poble": "Alella", "any_2023": "7"})
    assert ("Alella", "2024", None) in wide.table()
    assert (entry.rows, entry.discarded) == (4, 0)


def test_a_year_that_comes_later_is_picked_up_by_the_pattern(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source")
    wide.make(ABRERA)
    entry = wide.make({**ABRERA, "any_2027": "20", "any_mes": "x"})
    assert ("Abrera", "2027", 20) in wide.table()
    assert entry.rows == 3


def test_a_source_that_may_not_change_refuses_a_new_year(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source", raw_contract=Frozen)
    wide.make(ABRERA)
    with pytest.raises(ContractError, match="new any_2027"):
        wide.make({**ABRERA, "any_2027": "20"})


def test_one_wrong_year_is_quarantined_alone_and_replayed(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source")
    entry = wide.make(
        {"poble": "Abrera", "any_2023": "-1", "any_2024": "13"}, {"poble": "Alella", "any_2023": "5", "any_2024": "6"}
    )
    assert (entry.rows, entry.quarantined) == (3, 1)
    assert entry.quarantine
    kept = pl.read_parquet(wide.project.lake.get(entry.quarantine))
    assert kept.select("poble", "any", "places").rows() == [("Abrera", "2023", "-1")]
    assert "places: -1 fails" in kept[REASON].item()

    class Tolerant(Contract, tolerate=0.5, max_shrink=1.0, max_growth=9.0, max_change=1.0, max_loss=1.0):
        """Places by town and year, which may be negative."""

        town: str = column("Town", source=RawPlaces.poble, key=True)
        year_id: str = column("Year", source="any", key=True)
        places: int = column("Places", source="places", nullable=True)

    wide.project = wide.opened(replace(wide.places, contract=Tolerant))
    replayed = materialize(wide.project, "staging.places", Request(replay=True)).entry
    assert replayed
    assert (replayed.rows, replayed.quarantined) == (4, 0)
    assert ("Abrera", "2023", -1) in wide.table()


def test_contradicting_rows_are_quarantined_as_they_were_made(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source")
    entry = wide.make(ABRERA, {**ABRERA, "any_2024": "99"}, {"poble": "Alella", "any_2023": "5", "any_2024": "6"})
    assert entry.quarantine
    kept = pl.read_parquet(wide.project.lake.get(entry.quarantine))
    assert sorted(kept.select("any", "places").rows()) == [("2024", "13"), ("2024", "99")]
    assert (entry.rows, entry.quarantined, entry.duplicates) == (3, 2, 1)


def test_bare_json_numbers_are_read_as_the_source_declares_them(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source")
    entry = wide.make({"poble": "Abrera", "any_2023": 12, "any_2024": "13"})
    assert wide.table() == [("Abrera", "2023", 12), ("Abrera", "2024", 13)]
    assert not entry.drift


def test_what_is_unpivoted_is_part_of_the_code(settings: Settings, tmp_path: Path) -> None:
    declared = Wide(settings, tmp_path / "source").places
    versions = {
        each.asset.code_version for each in (declared, replace(declared, unpivot=replace(YEARS, keep_empty=True)))
    }
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("unpivot", "expected"),
    [
        ({"columns": r"any_(\d{4}"}, "a pattern of column names"),
        ({"columns": r"(any)_(\d{4})"}, "one group at most, found 2"),
        ({"columns": ()}, "the names of columns, each once"),
        ({"columns": ("any_2023", "any_2023")}, "the names of columns, each once"),
        ({"columns": "any_.*", "names_to": "places"}, "that differ"),
    ],
)
def test_an_unpivot_that_cannot_work_is_refused(unpivot: dict[str, Any], expected: str) -> None:
    with pytest.raises(DeclarationError, match=expected):
        Unpivot(**{"names_to": "any", "values_to": "places", **unpivot})


@pytest.mark.parametrize(
    ("unpivot", "expected"),
    [
        (replace(YEARS, names_to="poble"), "names the field poble, which it has already"),
        (replace(YEARS, columns=("any_2023", "any_1999")), "any_1999, which it does not have"),
        (replace(YEARS, columns="poble"), "reads the field poble, which `unpivot` makes rows of; read any and places"),
        (replace(YEARS, names_to="year"), "reads the field any, which RawPlaces does not have"),
        (replace(YEARS, names_to="*"), r"staging\.places: unpivot: expected fields with names, found \*, which polars"),
        (
            replace(YEARS, values_to="^places$"),
            r"staging\.places: unpivot: expected fields with names, found \^places\$",
        ),
        (replace(YEARS, columns=("any_2023", "*")), r"staging\.places: unpivot: expected fields with names, found \*"),
    ],
)
def test_fields_that_do_not_fit_are_named(settings: Settings, tmp_path: Path, unpivot: Unpivot, expected: str) -> None:
    with pytest.raises(DeclarationError, match=expected):
        Wide(settings, tmp_path / "source", unpivot)


def test_a_pattern_that_fits_nothing_is_one_clear_line(settings: Settings, tmp_path: Path) -> None:
    wide = Wide(settings, tmp_path / "source", replace(YEARS, columns=r"year_(\d+)"))
    with pytest.raises(ContractError, match=r"expected columns like 'year_\(\\\\d\+\)'.*correct `unpivot`"):
        wide.make(ABRERA)


@hypothesis_settings(max_examples=60)
@given(
    years=st.lists(st.integers(1900, 2099), unique=True, min_size=1, max_size=6),
    data=st.data(),
)
def test_unpivoted_and_pivoted_again_a_page_is_the_same(years: list[int], data: st.DataObject) -> None:
    fields = [f"any_{year}" for year in years]
    cell = st.none() | st.text(max_size=5)
    height = data.draw(st.integers(0, 6))
    values = {name: data.draw(st.lists(cell, min_size=height, max_size=height)) for name in ["x", *fields]}
    page = pl.DataFrame(
        {"poble": [str(at) for at in range(height)], **values}, schema=dict.fromkeys(["poble", "x", *fields], pl.String)
    )
    shape = Shape(tuple(page.columns), replace(YEARS, keep_empty=True), YEARS.names(page.columns))
    long = shape.with_values(shape.long(page))
    assert long.columns == shape.fields
    assert long.height == page.height * len(years) == page.height * shape.rows_each
    if height:
        again = long.pivot("any", index=["poble", "x"], values="places").rename(
            {str(year): f"any_{year}" for year in years}
        )
        assert again.equals(page)


def test_flaws_and_json_types_stay_beside_their_rows() -> None:
    page = pl.DataFrame(
        {
            "poble": ["a", "b"],
            "any_2023": ["1", None],
            "any_2024": ["2", "3"],
            TYPE + "any_2024": ["number", None],
            FLAW: [None, "twice"],
        }
    )
    shape = Shape(("poble", "any_2023", "any_2024"), YEARS, YEARS.names(page.columns))
    found = shape.with_values(shape.long(page))
    assert found.select("poble", "any", "places", TYPE + "places", FLAW).rows() == [
        ("a", "2023", "1", None, None), ("a", "2024", "2", "number", None), ("b", "2023", None, None, "twice"), ("b", "2024", "3", None, "twice"),
    ]  # fmt: skip
