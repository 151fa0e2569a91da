"""Guards: what a table may change from one materialization to the next, who may waive it, and what is never blocked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from catalunya.assets.graph.spec import LandingDeclaration, StagingDeclaration
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Request
from catalunya.assets.record.ledger import Entry
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from small.shops import declare

Row = dict[str, str]


class RawUnguarded(LandingContract, max_shrink=1.0):
    """Shops as the source publishes them: the guards of these tests are those of staging."""

    codi: str = raw("Code", required=True)
    ciutat: str = raw("City")
    places: str = raw("Places")


class Guarded(Contract, max_shrink=0.2, max_growth=0.5, max_change=0.3, max_loss=0.2):
    """Shops, with guards."""

    shop_id: str = column("Code of the shop", source=RawUnguarded.codi, key=True)
    capacity_places: int = column("Places", source=RawUnguarded.places, nullable=True, max_change=1.0)
    city: str = column("City", source=RawUnguarded.ciutat, nullable=True)


class GuardedCities(Contract, max_shrink=0.2, max_growth=0.5):
    """Shops again, in a table that reads the first."""

    shop_id: str = column("Code of the shop", source=RawUnguarded.codi, key=True)
    city: str = column("City", source=RawUnguarded.ciutat, nullable=True)
    shops_known: int = column("Shops of the other table in this city", max_change=1.0)


class Shop:
    """The shops source, and its tables with guards."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.source, self.declared = declare(folder, page_rows=100)
        self.settings = settings
        self.use(Guarded)

    def use(self, contract: type[Contract]) -> None:
        """From now on, make the first table by this contract."""
        landing, shops, cities = self.declared
        assert isinstance(landing, LandingDeclaration)
        assert isinstance(shops, StagingDeclaration)
        assert isinstance(cities, StagingDeclaration)
        landing = replace(landing, contract=RawUnguarded)
        shops = replace(shops, landing=landing, contract=contract, partition_by=())
        cities = replace(cities, landing=landing, contract=GuardedCities, reads=(shops,))
        self.project = Project(self.settings, [landing, shops, cities])

    def make(self, rows: Iterable[Row], *keys: str, accept: bool = False) -> Entry:
        """Publish these rows at the source, and make the tables, by default the first one. Returns the entry of the last."""
        self.source.write(list(rows))
        materialize(self.project, "landing.shops", Request(force=True))
        for key in keys or ("staging.shops",):
            entry = materialize(self.project, key, Request(force=True, accept_change=accept)).entry
        assert entry
        return entry

    def ids(self, key: str = "staging.shops") -> list[str]:
        entry = self.project.ledger.latest(key)
        assert entry
        return scan_table(self.project.lake, self.project.graph[key], entry).collect()["shop_id"].to_list()


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "source")


def rows(numbers: Iterable[int], city: str = "Reus", places: str | None = "5") -> list[Row]:
    known = {"places": places} if places else {}
    return [{"codi": f"S{number:02}", "ciutat": city, **known} for number in numbers]


FULL = rows(range(20))
PARTIAL = rows(range(10))


def test_rows_that_vanish_are_counted_by_key_and_not_by_their_number(shop: Shop) -> None:
    shop.make(FULL)
    with pytest.raises(ContractError) as refused:
        shop.make(rows(range(5, 25)))
    assert str(refused.value) == (
        "staging.shops: expected at least 16 rows to stay (previously 20, max_shrink 20%), found 15; gone: shop_id S00, S01, S02. Nothing "
        "was published; if the change is right, run `catalunya materialize staging.shops --force --accept-change`; if the published "
        "table is the wrong one, `catalunya restore-version staging.shops`"
    )
    assert shop.ids() == [f"S{number:02}" for number in range(20)]
    assert shop.make(rows(range(4, 24))).rows == 20


def test_new_rows_beyond_the_guard_are_refused(shop: Shop) -> None:
    shop.make(FULL)
    with pytest.raises(
        ContractError, match=r"at most 10 new rows .* max_growth 50%\), found 11; new: shop_id S20, S21, S22\."
    ):
        shop.make(rows(range(31)))
    assert shop.make(rows(range(30))).rows == 30


def test_a_column_whose_values_change_beyond_the_guard_is_named_with_the_values_of_three_keys(shop: Shop) -> None:
    shop.make(FULL)
    with pytest.raises(
        ContractError,
        match=r"column city: expected at most 30% of 20 values to change \(max_change\), found 7 \(35.0%\): "
        r"shop_id S00: 'Reus' -> 'Vic', S01: 'Reus' -> 'Vic', S02: 'Reus' -> 'Vic'\.",
    ):
        shop.make([*rows(range(7), "Vic"), *rows(range(7, 20))])
    shop.make([*rows(range(6), "Vic"), *rows(range(6, 20))])


def test_a_column_may_have_a_guard_of_its_own(shop: Shop) -> None:
    shop.make(FULL)
    assert shop.make(rows(range(20), places="6")).rows == 20


def test_known_values_that_become_unknown_are_refused(shop: Shop) -> None:
    shop.make(FULL)
    with pytest.raises(
        ContractError,
        match=r"column capacity_places: expected at most 20% of its values to become unknown \(max_loss\), found 5: 20 known before "
        r"\(100.0%\), 15 now \(75.0%\); lost: shop_id S00, S01, S02\.",
    ):
        shop.make([*rows(range(5), places=None), *rows(range(5, 20))])
    shop.make([*rows(range(4), places=None), *rows(range(4, 20))])


def test_a_column_that_becomes_entirely_empty_is_refused_however_few_values_it_had(shop: Shop) -> None:
    few = [*rows(range(1)), *rows(range(1, 20), places=None)]
    shop.make(few)
    with pytest.raises(ContractError, match=r"capacity_places: .*found all: 1 known before \(5.0%\), 0 now \(0.0%\)"):
        shop.make(rows(range(20), places=None))


def test_a_column_that_was_entirely_empty_may_be_filled(shop: Shop) -> None:
    shop.make([{"codi": f"S{number:02}"} for number in range(20)])
    assert shop.make(FULL).rows == 20


def test_examples_of_values_are_escaped_and_short(shop: Shop) -> None:
    shop.make(FULL)
    with pytest.raises(ContractError) as refused:
        shop.make(rows(range(20), "\x1b[31m" + "x" * 5000))
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 700


def test_an_empty_table_is_refused_the_first_time_as_well(shop: Shop) -> None:
    with pytest.raises(ContractError, match=r"expected at least 1 rows .* found 0"):
        shop.make([])


def test_a_waiver_is_recorded_where_it_was_needed(shop: Shop) -> None:
    assert not shop.make(FULL, accept=True).is_accepted
    assert shop.make(PARTIAL, accept=True).is_accepted


def test_what_follows_from_an_accepted_change_is_accepted_too(shop: Shop) -> None:
    shop.make(FULL, "staging.shops", "staging.cities")
    shop.make(PARTIAL, "staging.shops", accept=True)
    entry = materialize(shop.project, "staging.cities").entry
    assert entry
    assert (entry.rows, entry.is_accepted) == (10, True)

    # Once: the next change has to be accepted again.
    with pytest.raises(ContractError, match="gone: shop_id S04, S05"):
        shop.make(rows(range(4)), "staging.cities")


def test_a_bad_load_that_was_accepted_does_not_block_its_repair(shop: Shop) -> None:
    keys = ("staging.shops", "staging.cities")
    shop.make(FULL, *keys)
    shop.make(PARTIAL, "staging.shops", accept=True)
    materialize(shop.project, "staging.cities")
    repaired = shop.make(rows(range(21)), *keys)
    assert (repaired.rows, repaired.is_accepted) == (21, False)


def test_a_table_that_goes_back_and_forth_is_refused_each_time(shop: Shop) -> None:
    shop.make(FULL)
    for _ in range(2):
        with pytest.raises(ContractError, match="gone: shop_id S10, S11, S12"):
            shop.make(PARTIAL)
        shop.make(PARTIAL, accept=True)
        assert not shop.make(FULL).is_accepted


def test_an_accepted_change_that_was_repaired_is_refused_again_whatever_it_changed(shop: Shop) -> None:
    class Filled(Guarded, max_shrink=0.2, max_growth=0.5, max_loss=0.2, max_change=1.0):
        """Shops whose values may all change."""

    shop.use(Filled)
    for bad, found in (
        ([*FULL, *rows(range(20, 40))], "new: shop_id S20, S21, S22"),
        (rows(range(20), places=None), "capacity_places: .* found all"),
    ):
        shop.make(FULL)
        shop.make(bad, accept=True)
        assert not shop.make(FULL).is_accepted
        with pytest.raises(ContractError, match=found):
            shop.make(bad)


def test_an_accepted_version_made_again_from_the_same_rows_does_not_block_its_repair(shop: Shop) -> None:
    shop.make(FULL)
    other = [{**row, "codi": f"X{row['codi']}"} for row in FULL]
    shop.make(other, accept=True)
    assert shop.make(other).is_accepted, "the same version did not pass by itself"
    assert not shop.make(FULL).is_accepted


def test_what_is_no_repair_of_an_accepted_version_is_compared_with_both_in_the_message(shop: Shop) -> None:
    shop.make(FULL)
    shop.make(rows(range(20), "Vic"), accept=True)
    with pytest.raises(
        ContractError,
        match=r"S00: 'Vic' -> 'Olot', .* \(compared with entry 1, the last version that passed its guards: column city: .*"
        r"S00: 'Reus' -> 'Olot', .*\)\. Nothing was published",
    ):
        shop.make(rows(range(20), "Olot"))


def test_junk_rows_that_slipped_in_may_go_again_but_not_come_and_go(shop: Shop) -> None:
    junk = rows(range(20, 30))
    shop.make(FULL)
    shop.make([*FULL, *junk])
    assert shop.make(FULL).rows == 20
    shop.make([*FULL, *junk])
    with pytest.raises(ContractError, match="gone: shop_id S20, S21, S22"):
        shop.make(FULL)


def test_junk_values_that_slipped_in_may_go_again(shop: Shop) -> None:
    half = [*rows(range(10)), *rows(range(10, 20), places=None)]
    shop.make(half)
    shop.make(FULL)
    assert shop.make(half).rows == 20


def test_a_column_that_becomes_empty_with_its_rows_is_refused_unless_it_was_empty_before(shop: Shop) -> None:
    some_known = [*rows(range(4)), *rows(range(4, 20), places=None)]
    shop.make(rows(range(20), places=None))
    shop.make(some_known)
    assert shop.make(rows(range(4, 20), places=None)).rows == 16, "only the last load had values"

    shop.make(some_known)
    shop.make([*some_known, *rows([20], places=None)])
    with pytest.raises(ContractError, match=r"capacity_places: .*found all: 4 known before"):
        shop.make(rows(range(4, 21), places=None))


def test_a_loss_that_a_contract_allows_does_not_hide_a_change(shop: Shop) -> None:
    class Losing(Contract, max_loss=1.0, max_change=0.3):
        """Shops, whose values may become unknown, but not change."""

        shop_id: str = column("Code of the shop", source=RawUnguarded.codi, key=True)
        city: str = column("City", source=RawUnguarded.ciutat, nullable=True)

    shop.use(Losing)
    shop.make(FULL)
    with pytest.raises(ContractError, match=r"column city: .*max_change"):
        shop.make([{"codi": f"S{number:02}"} for number in range(20)])


def test_a_damaged_good_version_excuses_nothing(shop: Shop) -> None:
    shop.make(FULL)
    shop.make(rows(range(20), "Vic"), accept=True)
    (kept,) = (Path(shop.settings.lake) / "_superseded/staging/shops").glob("*.parquet")
    kept.write_bytes(b"x" * kept.stat().st_size)
    with pytest.raises(ContractError, match=r"column city"):
        shop.make(rows(range(20), "Olot"))


def test_the_number_of_landed_rows_is_guarded_alike(settings: Settings, tmp_path: Path) -> None:
    source, declared = declare(tmp_path / "source")
    project = Project(settings, declared)

    def land(count: int, *, accept: bool = False) -> bool:
        source.write(rows(range(count)))
        entry = materialize(project, "landing.shops", Request(force=True, accept_change=accept)).entry
        assert entry
        return entry.is_accepted

    assert [land(20), land(20), land(30), land(19)] == [False] * 4, "only the last load had more rows"
    land(30)
    with pytest.raises(
        ContractError, match=r"expected at least 24 rows \(previously 30, max_shrink 20%\), found 20"
    ) as refused:
        land(20)
    assert "restore-version" not in str(refused.value)
    assert land(20, accept=True)
    assert not land(29), "the repair of what was accepted"


def test_a_repair_compares_row_counts_when_the_last_good_version_has_expired(shop: Shop) -> None:
    shop.make(FULL)
    shop.make(rows(range(10), "Vic"), accept=True)
    lake = shop.project.lake
    lake.delete([found.path for found in lake.objects("_superseded/staging/shops")])
    assert shop.make([*rows(range(10), "Vic"), *rows(range(10, 20))]).rows == 20

    shop.make(rows(range(10), "Olot"), accept=True)
    lake.delete([found.path for found in lake.objects("_superseded/staging/shops")])
    with pytest.raises(ContractError, match=r"column city: .*has expired: only its number of rows was compared\)"):
        shop.make(FULL)


def test_only_columns_that_both_versions_have_are_compared(shop: Shop) -> None:
    class Renamed(Contract, max_shrink=0.2, max_growth=0.5, max_change=0.3):
        """Shops, by another contract: a column has another type, one is new."""

        shop_id: str = column("Code of the shop", source=RawUnguarded.codi, key=True)
        capacity_places: str = column("Places", source=RawUnguarded.places, nullable=True)
        town: str = column("City", source=RawUnguarded.ciutat, nullable=True)

    shop.make(FULL)
    shop.use(Renamed)
    assert shop.make(rows(range(20), "Vic")).columns["capacity_places"] == "string"
    with pytest.raises(ContractError, match="gone: shop_id S10"):
        shop.make(PARTIAL)


def test_a_table_without_a_stable_key_is_compared_by_numbers(shop: Shop) -> None:
    class Keyless(Contract, max_shrink=0.2, max_growth=0.5, max_loss=0.2):
        """Shops, recognized by nothing."""

        shop_id: str = column("Code of the shop", source=RawUnguarded.codi)
        capacity_places: int = column("Places", source=RawUnguarded.places, nullable=True)

    class Moving(Contract, max_shrink=0.2, max_growth=0.5, max_loss=0.2):
        """Shops, by a key of which one part changes by itself."""

        shop_id: str = column("Code of the shop", source=RawUnguarded.codi, key=True)
        city: str = column("City", source=RawUnguarded.ciutat, key=True, max_change=1.0)
        capacity_places: int = column("Places", source=RawUnguarded.places, nullable=True)

    for contract in (Keyless, Moving):
        shop.use(contract)
        shop.make(FULL, accept=True)
        assert shop.make(rows(range(2, 22), "Vic")).rows == 20
        with pytest.raises(
            ContractError, match=r"expected at least 16 rows \(previously 20, max_shrink 20%\), found 10"
        ):
            shop.make(rows(range(2, 12)))
        with pytest.raises(ContractError, match=r"expected at most 30 rows .*found 31"):
            shop.make(rows(range(31)))
        with pytest.raises(
            ContractError, match=r"capacity_places: .*found 10: 20 known before \(100.0%\), 10 now \(50.0%\)"
        ):
            shop.make([*rows(range(10)), *rows(range(10, 20), places=None)])


def test_a_damaged_table_is_made_again_and_its_rows_are_counted(shop: Shop) -> None:
    shop.make(FULL)
    published = Path(shop.settings.lake) / "staging/shops/file.parquet"
    published.write_bytes(published.read_bytes()[:50])
    with pytest.raises(ContractError, match=r"expected at least 16 rows"):
        shop.make(PARTIAL)
    shop.make(rows(range(20), "Vic"))
    published.unlink()
    shop.make(FULL)
