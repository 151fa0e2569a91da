"""Rows of one key: equal ones are dropped, contradicting ones go to quarantine together, in whatever order the source sends them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalunya.assets.graph.spec import Asset, Declaration, StagingDeclaration
from catalunya.assets.making.candidate import CandidateBuilder
from catalunya.assets.making.maker import Candidate
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.check import REASON
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError, DeclarationError
from catalunya.io.periods import window
from small import years
from small.shops import RawShops, Shops, declare

Row = dict[str, str]
KEYS = ("landing.shops", "staging.shops")


class Shop:
    """The shops source and its first table."""

    def __init__(self, settings: Settings, folder: Path, contract: type[Contract] = Shops) -> None:
        self.source, (landing, shops, _) = declare(folder)
        assert isinstance(shops, StagingDeclaration)
        self.shops = replace(shops, contract=contract)
        self.declared: list[Declaration] = [landing, self.shops]
        self.project = Project(settings, self.declared)

    def make(self, *rows: Row) -> Entry:
        self.source.write(list(rows))
        for key in KEYS:
            entry = materialize(self.project, key, Request(force=True, accept_change=True)).entry
        assert entry
        return entry

    def table(self) -> list[tuple[object, ...]]:
        entry = self.project.ledger.latest("staging.shops")
        assert entry
        frame = scan_table(self.project.lake, self.project.graph["staging.shops"], entry).collect()
        return frame.select("shop_id", "capacity_places").rows()

    def quarantine(self, entry: Entry) -> pl.DataFrame:
        assert entry.quarantine
        return pl.read_parquet(self.project.lake.get(entry.quarantine))


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


def row(code: str, places: str, city: str = "Reus") -> Row:
    return {"codi": code, "places": places, "ciutat": city, "telefon": "900"}


OTHERS = [row(f"S{number}", "1") for number in range(9)]


def test_rows_that_contradict_each_other_are_quarantined_together_as_received(shop: Shop) -> None:
    entry = shop.make(row(" A", "1"), *OTHERS, row("A", "2 "), row("B", "3"), row("B ", "3"))
    assert (entry.rows, entry.duplicates, entry.quarantined) == (10, 1, 2)
    assert ("B", 3) in shop.table()
    assert "A" not in [code for code, _ in shop.table()]
    found = shop.quarantine(entry)
    assert found.select("codi", "places", REASON).rows() == [
        (" A", "1", "contradicts 1 other row with the same key: shop_id 'A'"),
        ("A", "2 ", "contradicts 1 other row with the same key: shop_id 'A'"),
    ]
    assert "telefon" not in found.columns


def test_rows_that_differ_only_where_the_table_does_not_show_it_are_equal(shop: Shop) -> None:
    assert shop.make(*OTHERS, row("A", "1"), {**row("A", " 1.0 "), "telefon": "600"}).duplicates == 1


def test_contradicting_rows_count_against_the_tolerance(shop: Shop) -> None:
    with pytest.raises(
        ContractError, match=r"6 of 9 rows break Shops.*6 rows: contradicts 5 other rows with the same key: shop_id …"
    ):
        shop.make(*OTHERS[:3], *(row("A", str(number)) for number in range(6)))


def test_other_rejected_rows_keep_their_own_reasons(shop: Shop) -> None:
    entry = shop.make(*OTHERS, row("A", "1"), row("A", "2"), row("C", "many"))
    assert sorted(shop.quarantine(entry).select("codi", REASON).rows()) == [
        ("A", "contradicts 1 other row with the same key: shop_id 'A'"),
        ("A", "contradicts 1 other row with the same key: shop_id 'A'"),
        ("C", "capacity_places: 'many' is not a valid bigint"),
    ]


class Latest(Contract, tolerate=0.25, max_shrink=0.5, latest_by="capacity_places"):
    """Shops; of several rows of one, the one with most places is right."""

    shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
    capacity_places: int = column("Places", source=RawShops.places, nullable=True)
    city: str = column("City", source=RawShops.ciutat)


def test_a_contract_can_say_which_row_of_a_key_is_right(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source", Latest)
    empty = {"codi": "B", "ciutat": "Vic"}
    entry = shop.make(row("A", "1"), row("A", "3"), row("A", "2"), *OTHERS, empty, row("B", "0"), row("B", "0"))
    assert (entry.rows, entry.duplicates, entry.quarantined) == (11, 4, 0)
    assert {("A", 3), ("B", 0)} <= set(shop.table())

    entry = shop.make(row("A", "3", "Reus"), row("A", "3", "Vic"), row("A", "1"), *OTHERS)
    assert (entry.rows, entry.duplicates, entry.quarantined) == (9, 1, 2)

    entry = shop.make(empty, {**empty, "ciutat": "Olot"}, *OTHERS)
    assert (entry.rows, entry.quarantined) == (9, 2), "the greatest of nulls is null, and they differ"


def test_a_choice_by_a_column_that_does_not_exist_cannot_be_declared(settings: Settings, tmp_path: Path) -> None:
    class Misspelled(Contract, latest_by="updated"):
        """Shops, chosen by nothing."""

        shop_id: str = column("Code of the shop", source=RawShops.codi, key=True)
        city: str = column("City", source=RawShops.ciutat)

    with pytest.raises(
        DeclarationError,
        match=r"staging\.shops: Misspelled chooses .*`latest_by='updated'`, which is none of its columns",
    ):
        _ = Shop(settings, tmp_path / "source", Misspelled).project.graph


def test_in_a_replay_a_published_row_wins_and_two_that_contradict_each_other_stay(shop: Shop) -> None:
    more = [row(f"T{number}", "1") for number in range(5)]
    shop.make(row("A", "1"), row("A", "2"), *OTHERS, *more, row("C", "many"), row("S0", "many"))
    shops = shop.shops

    def better(raw: pl.LazyFrame) -> pl.LazyFrame:
        return raw.with_columns(capacity_places=pl.col("capacity_places").replace("many", "99"))

    project = Project(shop.project.settings, [shop.declared[0], replace(shops, function=better)])
    entry = materialize(project, "staging.shops", Request(replay=True)).entry
    assert entry
    assert (entry.rows, entry.quarantined, entry.duplicates) == (15, 2, 1)
    assert {("C", 99), ("S0", 1)} <= set(shop.table())
    assert shop.quarantine(entry)["codi"].to_list() == ["A", "A"]


def test_in_a_backfill_the_batch_replaces_published_rows_of_the_same_key(settings: Settings, tmp_path: Path) -> None:
    source, declared = years.declare(tmp_path / "source")
    project = Project(settings, declared)
    source.write({"2013-H1": 1, "2014-H1": 2})
    for key in ("landing.births", "staging.births"):
        materialize(project, key)
    source.write({"2013-H1": 5, "2014-H1": 6})
    for key, periods in (("landing.births", window("2014", "2014")), ("staging.births", None)):
        entry = materialize(project, key, Request(window=periods)).entry
    assert entry
    assert (entry.rows, entry.quarantined, entry.duplicates) == (2, 0, 0)


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> Asset:
    return declare(tmp_path_factory.mktemp("declared"))[1][1].asset


KNOWN = st.tuples(st.sampled_from("ABCDEF"), st.one_of(st.none(), st.integers(0, 2)), st.sampled_from(["Reus", "Vic"]))


@pytest.mark.parametrize("contract", [Shops, Latest])
@given(drawn=st.lists(KNOWN, min_size=1, max_size=14), data=st.data())
@hypothesis_settings(max_examples=40)
def test_neither_order_nor_pages_decide_what_is_published(
    asset: Asset, contract: type[Contract], drawn: list[tuple[str, int | None, str]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(drawn))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(drawn) - 1)), max_size=4)))
    one, two = built(asset, contract, drawn, []), built(asset, contract, shuffled, cuts)
    assert one == two


def built(
    asset: Asset, contract: type[Contract], rows: list[tuple[str, int | None, str]], cuts: list[int], **options: int
) -> tuple[object, ...]:
    """What a table of these rows, cut into pages, consists of: its files, its counts, its quarantine."""
    with tempfile.TemporaryDirectory() as scratch:
        builder = CandidateBuilder(asset, contract, Path(scratch), **options)
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
            page = pl.DataFrame(rows[start:end], schema=contract.polars_schema(), orient="row")
            builder.pages.append(builder.store(number, page, pl.DataFrame()))
        made: Candidate = builder.build(tolerate_all=True)
        rejected = pl.read_parquet(made.quarantine).rows() if made.quarantine else []
    return (
        sorted((file.stored.path, file.stored.sha256) for file in made.files),
        (made.rows, made.duplicates, made.quarantined),
        sorted(rejected, key=repr),
    )


@pytest.mark.parametrize(("at_once", "piece"), [(400, 1000), (400, 30), (100, 7), (12, 5)])
@pytest.mark.parametrize("by", [(), ("city",), ("capacity_places", "city")])
def test_a_large_table_in_another_order_is_sorted_a_part_at_a_time(
    asset: Asset, by: tuple[str, ...], at_once: int, piece: int
) -> None:
    asset = replace(asset, partition_by=by)
    rows: list[tuple[str, int | None, str]] = [
        (f"S{n:04}", n % 3 or None, "Reus" if n % 3 else "Vic") for n in range(1000)
    ]
    shuffled = [rows[n * 387 % 1000] for n in range(1000)]
    assert built(asset, Shops, shuffled, [300, 650], sorted_at_once=at_once, merged_rows=piece) == built(
        asset, Shops, rows, []
    )


def test_a_shuffled_source_has_the_same_data_version(shop: Shop) -> None:
    first = shop.make(*OTHERS, row("V", "1", "Vic"))
    again = shop.make(row("V", "1", "Vic"), *reversed(OTHERS))
    assert again.data_version == first.data_version
