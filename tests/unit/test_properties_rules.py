"""Whether any row breaks a rule is asked of all rows at once; the answer is the one that pandera gives, which names the rows."""

from __future__ import annotations

from datetime import date

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalunya.contracts.model.check import REASON, ROW, keeps_all, split_rows
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.errors import ContractError

EXAMPLES = settings(max_examples=200, derandomize=True, database=None)


class Houses(Contract):
    """Every kind of rule that a contract can have."""

    house_id: str = column("Code", key=True, str_matches=r"^\d{2}$")
    register_id: str = column("Code in the register", nullable=True, unique=True)
    kind: str = column("Kind", isin=["farm", "tower"])
    floors: int = column("Floors", nullable=True, ge=0, lt=100)
    height_m: float = column("Height", nullable=True, in_range={"min_value": 0, "max_value": 500})
    built: date = column("Day it was finished", nullable=True, ge=date(1900, 1, 1))
    street: str = column("Street", nullable=True, str_length={"min_value": 1, "max_value": 3})

    @pa.check("register_id")
    @classmethod
    def is_in_capitals(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Null where it is null, which is no breach."""
        return data.lazyframe.select(pl.col(data.key) == pl.col(data.key).str.to_uppercase())

    @pa.dataframe_check
    @classmethod
    def towers_have_floors(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A rule of rows."""
        return data.lazyframe.select((pl.col("kind") != "tower") | (pl.col("floors") > 3))


class Wrong(Contract):
    """A rule that cannot be checked."""

    house_id: str = column("Code", key=True)

    @pa.dataframe_check
    @classmethod
    def has_a_roof(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Of a column that the contract does not have."""
        return data.lazyframe.select(pl.col("roof"))


GOOD = {
    "house_id": "01",
    "register_id": "A",
    "kind": "tower",
    "floors": 4,
    "height_m": 30.5,
    "built": date(1999, 1, 1),
    "street": "Nou",
}
# Mostly what keeps the rules, so that whole frames do.
HOUSES = st.fixed_dictionaries(
    {
        "house_id": st.sampled_from(["01", "02", "99"]) | st.sampled_from(["1", "0a", "٠١", None]),
        "register_id": st.uuids().map(lambda known: known.hex.upper()) | st.sampled_from([None, "A", "a"]),
        "kind": st.sampled_from(["farm", "farm", "farm", "tower", "hut", None]),
        "floors": st.integers(4, 99) | st.sampled_from([None, 0, 3, -1, 100]),
        "height_m": st.floats(0, 500) | st.sampled_from([None, -0.1, 500.5]),
        "built": st.dates(date(1900, 1, 1)) | st.sampled_from([None, date(1899, 12, 31)]),
        "street": st.sampled_from([None, "a", "abc", "", "abcd"]),
    }
)


def is_kept_by_pandera(rows: pl.DataFrame) -> bool:
    try:
        Houses.to_schema().validate(rows, lazy=True)
    except pa.errors.SchemaErrors:
        return False
    return True


@EXAMPLES
@given(st.lists(HOUSES, max_size=4))
@example([])
@example([GOOD])
@example([GOOD, GOOD])
@example([GOOD | {"register_id": None}, GOOD | {"register_id": None}])
@example([GOOD | {"floors": None}])
@example(
    [GOOD | {"floors": None, "kind": "farm", "register_id": None, "height_m": None, "built": None, "street": None}]
)
@example([GOOD | {"kind": None}])
def test_no_row_breaks_a_rule_exactly_where_pandera_finds_none(rows: list[dict[str, object]]) -> None:
    frame = pl.DataFrame(rows, schema=Houses.polars_schema())
    assert keeps_all(frame, Houses) == is_kept_by_pandera(frame)


@pytest.mark.parametrize(
    ("change", "kept"),
    [({}, True), ({"floors": 3}, False), ({"house_id": "1"}, False), ({"kind": None}, False), ({"built": None}, True)],
)
def test_rows_that_keep_the_rules_are_distinguished_from_rows_that_break_them(
    change: dict[str, object], kept: bool
) -> None:
    assert keeps_all(pl.DataFrame([GOOD | change], schema=Houses.polars_schema()), Houses) is kept


def test_columns_of_another_type_are_left_to_pandera() -> None:
    frame = pl.DataFrame([GOOD], schema=Houses.polars_schema()).with_columns(pl.col("floors").cast(pl.Int32))
    assert not keeps_all(frame, Houses)


def test_a_rule_that_cannot_be_checked_is_an_error_and_not_a_pass() -> None:
    rows = pl.DataFrame({"house_id": ["01"]})
    assert not keeps_all(rows, Wrong)
    conformed = rows.with_columns(pl.lit(0, pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON))
    with pytest.raises(ContractError, match="has_a_roof"):
        split_rows(conformed, Wrong)
