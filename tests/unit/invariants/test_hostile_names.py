"""Hostile source values never become paths: the row is quarantined, or the value is stored and read back unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalunya.assets.graph.spec import Landing, staging
from catalunya.assets.making.materialize import materialize
from catalunya.assets.making.request import Outcome
from catalunya.assets.record.paths import scan_table
from catalunya.assets.record.project import Project
from catalunya.assets.record.verify import verify
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.environment import Settings
from catalunya.io.errors import ContractError
from small.shops import FolderSource, RawShops

LONG = "x" * 10_000_000
HOSTILE = ["../x", "../../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "n\nl", "'quoted'", '"; drop table shops; --', "%2F", "a%2Fb",
           "a=b", "*", "?", "[a]", "{a,b}", "$(touch x)", "`touch x`", "\x00", "a\x01b", "s3://other/x", "file:///etc/passwd", ".hidden",
           "~", "-rf", "__HIVE_DEFAULT_PARTITION__", "é" * 100, "x" * 65, LONG]  # fmt: skip
GOOD = ["08", "2025-S1", "a.b_c", "x" * 64]
NORMALIZED = {"\x00": None, "a\x01b": "ab", "n\nl": "n l"}
"""What text that is not seen becomes on entry."""


class Trusting(Contract, tolerate=1.0, max_shrink=1.0):
    """Shops by city, with a contract that accepts any value."""

    shop_id: str = column("Code", source=RawShops.codi, key=True)
    city: str = column("City", source=RawShops.ciutat, nullable=True)


class Strict(Trusting, tolerate=0.0, max_shrink=1.0):
    """The same, tolerating no quarantined rows."""


class Shop:
    """Shops, partitioned by values from their source."""

    def __init__(self, settings: Settings, folder: Path, contract: type[Contract], by: list[str]) -> None:
        source = FolderSource(folder)
        landing = Landing("shops", source=source, contract=RawShops, schedule="0 5 * * *")

        @staging(landing, contract=contract, partition_by=by)
        def shops(raw: pl.LazyFrame) -> pl.LazyFrame:
            return raw

        self.source = source
        self.project = Project(settings, [landing, shops])

    def make(self, rows: list[dict[str, Any]]) -> Outcome:
        self.source.write(rows)
        materialize(self.project, "landing.shops")
        return materialize(self.project, "staging.shops")

    def table(self) -> pl.DataFrame:
        entry = self.project.ledger.latest("staging.shops")
        assert entry
        return scan_table(self.project.lake, self.project.graph["staging.shops"], entry).collect()


def is_in_order(settings: Settings, project: Project, tmp_path: Path) -> bool:
    """Whether lake and ledger agree, and nothing was written outside the folders meant for it."""
    known = {"cache", "lake", "scratch", "source"}
    return verify(project).findings == [] and {path.name for path in tmp_path.iterdir()} <= known


def test_a_row_whose_partition_value_cannot_name_a_folder_is_quarantined(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source", Trusting, ["city"])
    rows = [{"codi": f"S{number:02}", "ciutat": city} for number, city in enumerate([*GOOD, *HOSTILE])]
    entry = shop.make([*rows, {"codi": "T", "ciutat": None}, {"codi": "U", "ciutat": ".."}]).entry
    assert entry
    assert entry.quarantine
    assert {o.path for o in entry.objects} == {
        f"staging/shops/city={city}/file.parquet" for city in [*GOOD, "ab", "__HIVE_DEFAULT_PARTITION__"]
    }
    assert sorted(shop.table()["city"].to_list(), key=str) == sorted([*GOOD, "ab", None, None, None], key=str)
    quarantined = pl.read_parquet(shop.project.lake.get(entry.quarantine)).sort("codi")
    assert quarantined["ciutat"].to_list() == [text for text in HOSTILE if text not in ("\x00", "a\x01b")], (
        "kept as received"
    )
    assert quarantined["_reason"].str.contains("cannot name a partition").all()
    assert quarantined["_reason"].str.len_chars().max() < 300  # type: ignore[operator]
    assert is_in_order(settings, shop.project, tmp_path)


def test_a_breach_beyond_the_tolerance_is_reported_in_one_short_line(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings, tmp_path / "source", Strict, ["city"])
    with pytest.raises(ContractError, match=r"1 of 2 rows break Strict.*cannot name a partition") as raised:
        shop.make([{"codi": "A", "ciutat": "08"}, {"codi": "B", "ciutat": f"n\nl{LONG}"}])
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_hostile_values_in_other_columns_and_keys_are_read_back_as_normalized(
    settings: Settings, tmp_path: Path
) -> None:
    shop = Shop(settings, tmp_path / "source", Trusting, [])
    entry = shop.make([{"codi": text, "ciutat": text} for text in HOSTILE]).entry
    assert entry
    assert [o.path for o in entry.objects] == ["staging/shops/file.parquet"]
    found = shop.table()
    assert found["shop_id"].to_list() == found["city"].to_list()
    assert set(found["city"]) == {NORMALIZED.get(text, text) for text in HOSTILE} - {None}
    assert is_in_order(settings, shop.project, tmp_path)
