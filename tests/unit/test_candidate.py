"""Candidates: checks that need the whole table, and deterministic files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from catalunya.assets.graph.spec import Asset
from catalunya.assets.making.candidate import HASH, CandidateBuilder
from catalunya.assets.making.maker import Candidate
from catalunya.io.errors import ContractError
from small.shops import Shops, declare

NOTHING = pl.DataFrame()


@pytest.fixture
def asset(tmp_path: Path) -> Asset:
    return declare(tmp_path)[1][1].asset


def page(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=Shops.polars_schema(), orient="row")


def gather(asset: Asset, scratch: Path, *pages: pl.DataFrame, strict: bool = False) -> Candidate:
    scratch.mkdir()
    builder = CandidateBuilder(asset, Shops, scratch, strict=strict)
    builder.pages.extend(builder.store(number, one, NOTHING) for number, one in enumerate(pages))
    return builder.build()


def rows(candidate: Candidate) -> list[tuple[str, int]]:
    frames = [pl.read_parquet(file.local, hive_partitioning=False) for file in candidate.files]
    return sorted(pl.concat(frames).rows())


def test_equal_rows_are_kept_once_whichever_page_they_are_on(asset: Asset, tmp_path: Path) -> None:
    candidate = gather(
        asset, tmp_path / "a", page(("A", 1, "Reus"), ("B", 1, "Vic"), ("A", 1, "Reus")), page(("B", 1, "Vic"))
    )
    assert rows(candidate) == [("A", 1), ("B", 1)]
    assert (candidate.rows, candidate.duplicates, candidate.quarantined) == (2, 2, 0)


def test_rows_with_the_same_hash_and_different_keys_are_both_kept(asset: Asset, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    builder = CandidateBuilder(asset, Shops, tmp_path / "a")
    stored = builder.store(0, page(("B", 2, "Reus"), ("A", 1, "Reus")), NOTHING)
    # Two keys with the same hash are too rare to find, so the test assigns one.
    same = pl.Series(HASH, [7, 7], pl.UInt64)
    pl.read_parquet(stored.good).with_columns(same).write_parquet(stored.good)
    builder.pages.append(stored)
    assert rows(builder.build()) == [("A", 1), ("B", 2)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 1, 3, 0, 2), (1, 0, 2, 3, 4)])
def test_rows_of_one_key_are_found_on_any_pages_in_any_order(
    asset: Asset, tmp_path: Path, order: tuple[int, ...]
) -> None:
    pages = [
        page(("A", 1, "Reus"), ("B", 1, "Vic"), ("B", 1, "Vic"), ("C", 1, "Vic")),
        page(("C", 1, "Vic")),
        page(("C", 1, "Vic"), ("D", 1, "Vic")),
        page(("D", 2, "Vic"), ("E", 1, "Reus")),
        page(("F", 1, "Reus")),
    ]
    (tmp_path / "a").mkdir()
    builder = CandidateBuilder(asset, Shops, tmp_path / "a", hashes_at_once=3)
    builder.pages.extend(builder.store(number, pages[at], NOTHING) for number, at in enumerate(order))
    candidate = builder.build()
    assert rows(candidate) == [("A", 1), ("B", 1), ("C", 1), ("E", 1), ("F", 1)]
    assert (candidate.duplicates, candidate.quarantined) == (3, 2)


def test_a_strict_table_refuses_duplicates(asset: Asset, tmp_path: Path) -> None:
    with pytest.raises(
        ContractError, match=r"expected one row per key \(shop_id\), found 1 duplicates, the first \{'shop_id': 'A'\}"
    ):
        gather(asset, tmp_path / "a", page(("A", 1, "Reus"), ("A", 2, "Reus")), strict=True)


def test_the_same_rows_give_the_same_bytes(asset: Asset, tmp_path: Path) -> None:
    data = [page(*((f"S{n}", n, "Reus" if n % 3 else "Vic") for n in range(at, at + 500))) for at in (0, 500)]
    first, second = gather(asset, tmp_path / "a", *data), gather(asset, tmp_path / "b", *data)
    assert [file.stored for file in first.files] == [file.stored for file in second.files]
    assert [file.stored.path for file in first.files] == [
        "staging/shops/city=Reus/file.parquet",
        "staging/shops/city=Vic/file.parquet",
    ]
