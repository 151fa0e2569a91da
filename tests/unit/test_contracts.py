"""Contracts: how they are declared, and how rows and fields are checked against them."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import pytest

from catalunya.contracts.model.check import REASON, ROW, check_fields, conform, renamed, split_rows
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw, source_hash
from catalunya.contracts.municipalities import Municipalities
from catalunya.contracts.service_usage import ServiceUsage
from catalunya.io.errors import ContractError, DeclarationError


class Every(Contract):
    """One column of every type."""

    text: str = column("Text", source="t", key=True)
    whole: int = column("Whole number", source="w", nullable=True)
    real: float = column("Real number", source="r", nullable=True)
    flag: bool = column("Yes or no", source="f", nullable=True)
    day: date = column("Day", source="d", nullable=True)
    moment: Annotated[pl.Datetime, "ms", None] = column("Moment, UTC", source="m", nullable=True)


class Raw(LandingContract):
    """The raw fields."""

    codi: str = raw("Code", kind="text", required=True)
    nom: str = raw("Name")


class Frozen(LandingContract, drift="freeze"):
    """Raw fields that may not change."""

    codi: str = raw("Code", kind="text", required=True)


def checked(rows: list[dict[str, str | None]], contract: type[Contract] = Every) -> tuple[pl.DataFrame, pl.DataFrame]:
    fields = [c.source for c in contract.columns() if c.source]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(fields, pl.String))
    return split_rows(conform("staging.every", renamed(frame, contract).collect(), contract), contract)


def test_text_becomes_the_declared_type() -> None:
    row = {
        "t": " a ",
        "w": "42.0",
        "r": "1.5",
        "f": "True",
        "d": "2007-02-07T00:00:00.000",
        "m": "2025-09-23T11:40:00.795Z",
    }
    good, bad = checked([row])
    assert bad.is_empty()
    assert good.schema == Every.polars_schema()
    assert good.row(0) == ("a", 42, 1.5, True, date(2007, 2, 7), datetime(2025, 9, 23, 11, 40, 0, 795000))  # noqa: DTZ001  UTC without a zone, as Hive keeps it


@pytest.mark.parametrize("nothing", ["", "  ", "null", "NULL", "N/A", None])
def test_words_for_no_value_become_null(nothing: str | None) -> None:
    good, bad = checked([{"t": "a", "w": nothing}])
    assert good["whole"].to_list() == [None]
    assert bad.is_empty()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("w", "4.5", "whole: '4.5' is not a valid bigint"),
        ("w", "many", "whole: 'many' is not a valid bigint"),
        ("r", "1;5", "real: '1;5' is not a valid double"),
        ("f", "maybe", "flag: 'maybe' is not a valid boolean"),
        ("d", "7/2/2007", "day: '7/2/2007' is not a valid date"),
        ("d", "2007-02-07T13:00:00.000", "day: '2007-02-07T13:00:00.000' is not a valid date"),
        ("m", "yesterday", "moment: 'yesterday' is not a valid timestamp"),
        ("w", "9" * 30, f"whole: '{'9' * 30}' is not a valid bigint"),
    ],
)
def test_a_row_with_a_value_that_cannot_be_cast_is_quarantined(field: str, value: str, reason: str) -> None:
    good, bad = checked([{"t": "a", field: value}, {"t": "b"}])
    assert good["text"].to_list() == ["b"]
    assert bad.rows() == [(0, reason)]


def test_a_row_that_breaks_two_rules_has_both_reasons() -> None:
    _, bad = checked([{"t": None, "w": "x", "d": "y"}])
    assert bad[REASON].to_list() == ["whole: 'x' is not a valid bigint; day: 'y' is not a valid date"]


def test_a_page_read_in_several_batches_is_split_like_one_read_at_once() -> None:
    row = {"any": "2101", "codi": "01", "comarca": "Alt Camp", "total": "10", "dones_total": "4", "homes_total": "7"}
    good = [row | {"any": year, "homes_total": "6"} for year in ("2020", "2021")]
    raws = [pl.DataFrame([one]) for one in (row, *good)]
    whole, pieces = (
        split_rows(conform("staging.usage", renamed(raw, ServiceUsage), ServiceUsage).collect(), ServiceUsage)
        for raw in (pl.concat(raws, rechunk=True), pl.concat(raws, rechunk=False))
    )
    assert pieces[0].equals(whole[0])
    assert pieces[1].rows() == whole[1].rows()
    assert "less_than_or_equal_to(2100)" in pieces[1][REASON][0]
    assert "totals_are_women_and_men" in pieces[1][REASON][0]


def test_a_row_without_its_key_is_quarantined() -> None:
    _, bad = checked([{"t": None}, {"t": "a"}])
    assert bad.rows() == [(0, "text: null fails not_nullable")]


def test_a_column_of_the_wrong_type_is_a_declaration_error() -> None:
    frame = pl.DataFrame({"text": ["a"], "whole": [date(2020, 1, 1)], "real": [1.0], "flag": [True]}).with_columns(
        day=pl.lit(None, pl.Date), moment=pl.lit(None, pl.Datetime("ms"))
    )
    frame = frame.with_columns(pl.lit(0, pl.UInt32).alias(ROW), pl.lit(None, pl.String).alias(REASON))
    with pytest.raises(DeclarationError, match="column whole is Date, Every declares Int64"):
        conform("staging.every", frame, Every)


def test_a_type_that_some_engine_lacks_cannot_be_declared() -> None:
    class Odd(Contract):
        """A contract with a type that not every engine has."""

        span: pl.Duration = column("A span")

    with pytest.raises(DeclarationError, match="column span has type Duration"):
        Odd.columns()


@pytest.mark.parametrize("name", ["*", "^.*$", "^codi$"])
def test_a_name_that_polars_takes_for_a_pattern_of_names_cannot_be_declared(name: str) -> None:
    class Read(Contract):
        """A contract that reads such a field."""

        text: str = column("Text", source=name)

    class Named(Contract):
        """A contract with such a column."""

        text: str = column("Text", alias=name)

    for contract in (Read, Named):
        with pytest.raises(DeclarationError, match="expected columns and fields with names, found") as error:
            contract.columns()
        assert name in str(error.value)


def test_a_column_without_a_description_cannot_be_declared() -> None:
    class Undescribed(Contract):
        """A contract whose column has no description."""

        text: str = column("")

    with pytest.raises(DeclarationError, match="column text has no description"):
        Undescribed.columns()


def test_terms_out_of_range_cannot_be_declared() -> None:
    with pytest.raises(DeclarationError, match=r"contract Generous: expected tolerate between 0 and 1, found 2"):

        class Generous(Contract, tolerate=2):
            """Tolerates more rows than there are."""


def test_matching_fields_are_no_drift() -> None:
    assert not check_fields("landing.x", Raw, {"codi": "text", "nom": "text"})


def test_new_missing_and_retyped_fields_are_drift() -> None:
    drift = check_fields("landing.x", Raw, {"codi": "number", "barri": "text"})
    assert str(drift) == "new barri; missing nom; codi was text, is number"


def test_a_missing_required_field_fails_and_suggests_its_new_name() -> None:
    with pytest.raises(ContractError, match=r"missing codi.*\(is codi now called code\?\)"):
        check_fields("landing.x", Raw, {"code": "text", "nom": "text"})


def test_a_frozen_contract_fails_on_any_drift() -> None:
    with pytest.raises(ContractError, match="new nom"):
        check_fields("landing.x", Frozen, {"codi": "text", "nom": "text"})


def version_of(tmp_path: Path, text: str) -> str:
    """The version of the contract in a module with this source text."""
    path = tmp_path / f"contract_{abs(hash(text))}.py"
    path.write_text(f"from catalunya.contracts.model.contract import Contract, column\n\n\n{text}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return str(module.One.version())


def test_rules_change_a_contracts_version_and_layout_and_docstrings_do_not(tmp_path: Path) -> None:
    one = 'class One(Contract):\n    """Words."""\n\n    text: str = column("Text", key=True)\n'
    assert version_of(tmp_path, one) == version_of(
        tmp_path, one.replace("Words", "Other words") + "    # and a comment\n"
    )
    assert version_of(tmp_path, one) != version_of(tmp_path, one.replace("key=True", "key=True, str_matches='^a'"))
    assert len(source_hash(Raw)) == 16


def test_a_class_that_is_declared_twice_or_decorated_has_the_version_of_its_own_text(tmp_path: Path) -> None:
    one = 'class One(Contract):\n    text: str = column("Text", key=True)\n'
    other = one.replace('"Text"', '"Other"')
    either = f"if True:\n{textwrap.indent(one, '    ')}else:\n{textwrap.indent(other, '    ')}"
    assert version_of(tmp_path, either) == version_of(tmp_path, one) != version_of(tmp_path, other)
    same = "def same(declared):\n    return declared\n\n\n"
    assert version_of(tmp_path, f"{same}@same\n{one}") != version_of(tmp_path, one)
    within = f"{same}def made():\n{textwrap.indent(one, '    ')}    return One\n\n\nOne = made()\n"
    assert version_of(tmp_path, within) == version_of(tmp_path, one)


@pytest.mark.parametrize(
    ("code", "is_valid"), [("080193", True), ("430347", True), ("080194", False), ("08019x", False)]
)
def test_the_control_digit_of_a_municipality_code_is_checked(code: str, is_valid: bool) -> None:
    row = {
        "codi": code,
        "nom": "Somewhere",
        "codi_comarca": "13",
        "nom_comarca": "Barcelonès",
        "longitud": "2.1",
        "latitud": "41.4",
    }
    frame = renamed(pl.DataFrame([row]), Municipalities).with_columns(province_id=pl.lit("08")).collect()
    good, bad = split_rows(conform("staging.municipalities", frame, Municipalities), Municipalities)
    assert (good.height, bad.height) == ((1, 0) if is_valid else (0, 1))


def test_totals_that_are_not_the_sum_of_women_and_men_are_quarantined() -> None:
    row = {"any": "2020", "codi": "01", "comarca": "Alt Camp", "total": "10"}
    rows = [
        row | {"dones_total": "4", "homes_total": "6"},
        row | {"dones_total": "4"},
        row | {"dones_total": "4", "homes_total": "7"},
    ]
    good, bad = checked(rows, ServiceUsage)
    assert (good.height, bad.height) == (2, 1)
    assert "totals_are_women_and_men" in bad[REASON][0]
