"""What a contract says of other tables and of the source's fields is enforced: references, and fields that are no values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.graph.graph import AssetGraph
from catalunya.assets.graph.spec import Asset, Declaration, Landing, StagingDeclaration, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.columns import Column
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, DeclarationError
from small.shops import FolderSource, RawShops


class Towns(Contract, max_shrink=1.0):
    """Towns: the shops of another folder, by their city."""

    town_id: str = column("Code of the town", source=RawShops.codi, key=True)


class Shops(Contract, tolerate=0.25, max_shrink=1.0):
    """Shops, each in a town that is known."""

    shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
    town_id: str = column("Its town", source=RawShops.ciutat, nullable=True, references="towns.town_id")


class Branches(Contract, tolerate=0.5, max_shrink=1.0):
    """Shops, each with the shop it is a branch of."""

    shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
    parent_id: str = column("Its main shop", source=RawShops.ciutat, nullable=True, references="branches.shop_id")


def shop(code: str, town: str | None) -> dict[str, Any]:
    return {"codi": code} | ({"ciutat": town} if town else {})


class Region:
    """Two folders of rows and the tables made from them: towns, shops that reference towns, branches that reference themselves."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.places, self.shops = FolderSource(folder / "places"), FolderSource(folder / "shops")
        of_places = Landing("places", source=self.places, contract=RawShops, schedule="@daily")
        of_shops = Landing("shops", source=self.shops, contract=RawShops, schedule="@daily")

        @staging(of_places, contract=Towns)
        def towns(raw: pl.LazyFrame) -> pl.LazyFrame:
            return raw

        @staging(of_shops, contract=Shops, reads=[towns])
        def shops(raw: pl.LazyFrame, towns: pl.LazyFrame) -> pl.LazyFrame:
            return raw

        @staging(of_shops, contract=Branches)
        def branches(raw: pl.LazyFrame) -> pl.LazyFrame:
            return raw

        declared: list[Declaration] = [of_places, of_shops, towns, shops, branches]
        self.project = Project(settings, declared)

    def make(self, *keys: str) -> None:
        for key in keys:
            materialize(self.project, key, Request(force=True))

    def rows(self, key: str) -> list[tuple[Any, ...]]:
        entry = self.project.ledger.latest(key)
        assert entry
        return sorted(scan_table(self.project.lake, self.project.graph[key], entry).collect().rows())

    def reasons(self, key: str) -> list[str]:
        entry = self.project.ledger.latest(key)
        assert entry
        if not entry.quarantine:
            return []
        return pl.read_parquet(self.project.lake.get(entry.quarantine))["_reason"].to_list()


@pytest.fixture
def region(settings: Settings, tmp_path: Path) -> Region:
    made = Region(settings, tmp_path)
    made.places.write([shop("Reus", "x"), shop("Valls", "x"), shop("Tortosa", "x")])
    made.make("landing.places", "staging.towns")
    return made


def test_a_row_that_references_nothing_is_quarantined_with_the_reason(region: Region) -> None:
    region.shops.write([shop("1", "Reus"), shop("2", "Olot"), shop("3", "Valls"), shop("4", None)])
    region.make("landing.shops", "staging.shops")
    assert region.rows("staging.shops") == [("1", "Reus"), ("3", "Valls"), ("4", None)]
    assert region.reasons("staging.shops") == ["town_id: 'Olot' is not in towns.town_id"]


def test_too_many_of_them_are_refused_and_nothing_is_published(region: Region) -> None:
    region.shops.write([shop("1", "Reus"), shop("2", "Olot"), shop("3", "Vic")])
    region.make("landing.shops")
    with pytest.raises(
        ContractError, match=r"staging.shops: 2 of 3 rows break Shops.*2 rows: town_id: … is not in towns.town_id"
    ):
        region.make("staging.shops")
    assert region.project.ledger.latest("staging.shops") is None


def test_a_replay_publishes_the_row_once_the_other_table_has_what_it_references(region: Region) -> None:
    region.shops.write([shop(str(number), town) for number, town in enumerate(("Reus", "Olot", "Valls", "Reus"))])
    region.make("landing.shops", "staging.shops")
    region.places.write([shop("Reus", "x"), shop("Valls", "x"), shop("Olot", "x")])
    region.make("landing.places", "staging.towns")
    materialize(region.project, "staging.shops", Request(replay=True))
    assert ("1", "Olot") in region.rows("staging.shops")
    assert region.reasons("staging.shops") == []


def test_a_table_that_references_itself_is_checked_as_a_whole(region: Region) -> None:
    rows = [shop("1", "5"), shop("2", "1"), shop("3", None), shop("4", "3"), shop("5", "5")]
    region.shops.write(rows)  # in pages of two rows: some reference a row of a later page
    region.make("landing.shops", "staging.branches")
    assert len(region.rows("staging.branches")) == 5

    region.shops.write([*rows, shop("6", "7"), shop("7", "9"), shop("8", "9")])
    region.make("landing.shops")
    with pytest.raises(
        ContractError,
        match=r"staging.branches: parent_id: 2 rows have a value that is not in branches.shop_id, the first '9'",
    ):
        region.make("staging.branches")
    assert len(region.rows("staging.branches")) == 5


def test_a_row_in_quarantine_cannot_be_referenced(region: Region) -> None:
    rows = [
        shop("1", None),
        shop("1", "3"),
        shop("2", "1"),
        shop("3", None),
        shop("4", None),
    ]  # two rows of shop 1 contradict
    region.shops.write(rows)
    region.make("landing.shops")
    with pytest.raises(ContractError, match=r"1 row has a value that is not in branches\.shop_id, the first '1'"):
        region.make("staging.branches")


def table(key: str, *columns: Column, upstream: tuple[str, ...] = ()) -> Asset:
    return Asset(key=key, description="", columns=columns, code_version="1", upstream=upstream)


def of(name: str, kind: Any = "string", references: str | None = None) -> Column:
    return Column(name, kind, "A column", nullable=False, references=references)


@pytest.mark.parametrize("key", ["staging.shops", "marts.dim_shops"])
def test_a_table_must_read_what_it_references(key: str) -> None:
    layer = key.partition(".")[0]
    with pytest.raises(
        DeclarationError,
        match=rf"{key}: column town_id references dim_towns.town_id, expected it to read {layer}.dim_towns",
    ):
        table(key, of("town_id", references="dim_towns.town_id"), upstream=(f"{layer}.dim_other",))


@pytest.mark.parametrize(
    ("column", "found"), [(of("town_id", references="towns.code"), "only town_id"), (of("town_id", "bigint", "towns.town_id"), "string")]
)  # fmt: skip
def test_what_it_references_must_exist_with_the_same_type(column: Column, found: str) -> None:
    with pytest.raises(DeclarationError, match=rf"staging.shops: column town_id .*found {found}; correct the contract"):
        AssetGraph([table("staging.towns", of("town_id")), table("staging.shops", column, upstream=("staging.towns",))])


class RawPlaces(LandingContract):
    """Fields of every sort."""

    codi: str = raw("Code", kind="text", required=True)
    on: str = raw("Where", kind="point")
    web: str = raw("Page", kind="url")
    nif: str = raw("Tax number", personal=True)
    lloc: str = raw("Where, of no declared type")


def places(folder: Path, source: str) -> tuple[FolderSource, list[Declaration]]:
    class Places(Contract, max_shrink=1.0):
        """Places, with one more column."""

        place_id: str = column("Code", source="codi", key=True)
        more: str = column("One more", source=source, nullable=True)

    source_of = FolderSource(folder / "places")
    landing = Landing("places", source=source_of, contract=RawPlaces, schedule="@daily")

    @staging(landing, contract=Places)
    def places(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw

    assert isinstance(places, StagingDeclaration)
    return source_of, [landing, places]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("on", r"holds objects \(point\), not values; take the column out"),
        ("web", r"holds objects \(url\), not values"),
        ("nif", "is personal and never leaves landing"),
        ("nom", "RawPlaces does not have; declare it there"),
    ],
)
def test_a_column_whose_field_is_never_read_cannot_be_declared(tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(
        DeclarationError, match=rf"staging.places: column more of Places reads the field {source}, which {why}"
    ):
        places(tmp_path, source)


KNOWN = {"codi": "text", "on": "point", "web": "url", "nif": "text", "lloc": "text"}


def test_a_field_that_the_source_declares_as_objects_is_refused_by_its_name(settings: Settings, tmp_path: Path) -> None:
    source, declared = places(tmp_path, "lloc")
    project = Project(settings, declared)
    source.write([{"codi": "1"}], fields=KNOWN | {"lloc": "location"})
    materialize(project, "landing.places")
    with pytest.raises(
        ContractError, match=r"staging.places: column more reads the field lloc, .*declares it as location, an object"
    ):
        materialize(project, "staging.places")


@pytest.mark.parametrize("value", [{"type": "Point", "coordinates": [2.1, 41.4]}, [1, 2], {}, []])
def test_a_field_that_holds_objects_is_refused_by_its_name(settings: Settings, tmp_path: Path, value: Any) -> None:
    source, declared = places(tmp_path, "lloc")
    project = Project(settings, declared)
    source.write([{"codi": "1", "lloc": "here"}, {"codi": "2", "on": value, "lloc": value}], fields=KNOWN)
    materialize(project, "landing.places")
    with pytest.raises(
        ContractError,
        match=r"in the field lloc, found a JSON object or array in 1 row of a page; declare its kind in RawPlaces",
    ):
        materialize(project, "staging.places")


def test_objects_in_a_field_that_is_declared_so_are_left_out(settings: Settings, tmp_path: Path) -> None:
    source, declared = places(tmp_path, "lloc")
    project = Project(settings, declared)
    source.write([{"codi": "1", "lloc": "here", "on": {"type": "Point"}}], fields=KNOWN)
    materialize(project, "landing.places")
    entry = materialize(project, "staging.places").entry
    assert entry
    assert (entry.rows, entry.quarantined, entry.drift) == (1, 0, "")
