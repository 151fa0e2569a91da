"""The files generated from contracts match the contracts, and the committed ones are up to date."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalunya.assets.graph import discovery
from catalunya.contracts.model.contract import Contract, LandingContract, column, raw
from catalunya.contracts.model.derive import MODELS, SOURCES, data_dictionary, dbt_models_yaml, dbt_sources_yaml, render
from catalunya.io.warehouse.glue_table import GLUE_TYPES

ROOT = Path(__file__).parents[2]


class RawShops(LandingContract):
    """Shops as their source has them."""

    codi: str = raw("Code | number", kind="text", required=True)
    telefon: str = raw("Telephone", personal=True)


class Towns(Contract):
    """Towns."""

    town_id: str = column("Code of the town", key=True, isin=["08", "17"])


class Shops(Contract):
    """Shops by day and town."""

    open_date: str = column("The day", key=True)
    town_id: str = column("The town", key=True, references="towns.town_id")
    people: int = column("People", nullable=True, unit="people")


def columns_of(text: str, table: str) -> dict[str, dict[str, Any]]:
    read = yaml.safe_load(text)
    tables = read["models"] if "models" in read else read["sources"][0]["tables"]
    found = next(t for t in tables if t["name"] == table)
    return {c["name"]: c for c in found["columns"]} | {"": found}


@pytest.mark.parametrize("path", [SOURCES, MODELS, "docs/data-dictionary.md"])
def test_the_committed_files_are_up_to_date(path: str) -> None:
    contracts = discovery.contracts()
    assert (ROOT / path).read_text() == render(contracts)[path], f"{path} is out of date: run make generate"


def test_types_and_nullability_become_data_types_and_tests() -> None:
    found = columns_of(dbt_models_yaml({"shops": Shops, "towns": Towns}), "shops")
    assert found["people"] == {"name": "people", "description": "People", "data_type": "bigint"}
    assert found["open_date"]["data_tests"] == ["not_null"]


def test_a_datetime_is_a_timestamp_in_dbt_in_the_dictionary_and_in_glue() -> None:
    class Visits(Contract):
        """Visits."""

        visited_at: datetime = column("When, UTC", key=True)

    assert columns_of(dbt_models_yaml({"visits": Visits}), "visits")["visited_at"]["data_type"] == "timestamp"
    assert "| `visited_at` | timestamp |" in data_dictionary({"marts.visits": Visits})
    assert [GLUE_TYPES[found.type] for found in Visits.columns()] == ["timestamp"]


def test_a_key_of_one_column_is_tested_as_unique() -> None:
    assert "unique" in columns_of(dbt_models_yaml({"towns": Towns}), "towns")["town_id"]["data_tests"]


def test_a_key_of_several_columns_is_tested_as_unique_together() -> None:
    table = columns_of(dbt_models_yaml({"shops": Shops, "towns": Towns}), "shops")[""]
    assert table["data_tests"] == [{"unique_together": {"arguments": {"columns": ["open_date", "town_id"]}}}]


def test_accepted_values_are_text_in_yaml() -> None:
    text = dbt_models_yaml({"towns": Towns})
    tests = columns_of(text, "towns")["town_id"]["data_tests"]
    assert {"accepted_values": {"arguments": {"values": ["08", "17"]}}} in tests
    assert "- '08'" in text


def test_a_reference_is_no_test_of_dbt_because_the_engine_checks_it() -> None:
    contracts = {"shops": Shops, "towns": Towns}
    for text in (dbt_models_yaml(contracts), dbt_sources_yaml(contracts)):
        assert columns_of(text, "shops")["town_id"]["data_tests"] == ["not_null"]


def test_the_dictionary_has_the_constraints_and_the_description_of_every_column() -> None:
    text = data_dictionary({"marts.shops": Shops, "marts.towns": Towns, "landing.shops": RawShops})
    assert "### marts.shops\n\nShops by day and town.\n" in text
    assert "| `town_id` | string | key; references `towns.town_id` | The town |  |" in text
    assert "| `people` | bigint | nullable; unit: people | People |  |" in text
    assert "| `town_id` | string | key; one of `08`, `17` | Code of the town |  |" in text


def test_the_dictionary_marks_personal_fields_and_escapes_pipes() -> None:
    text = data_dictionary({"landing.shops": RawShops})
    assert "| `telefon` |  | personal | Telephone |" in text
    assert "| `codi` | text | required | Code &#124; number |" in text
