"""Which changes break readers, and how one says that they are meant."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from catalunya.contracts.model.compatibility import Change, compare, undeclared
from catalunya.contracts.model.contract import Contract, column
from catalunya.io.errors import DeclarationError

BASE: dict[str, Any] = {
    "assets": {
        "landing.towns": {
            "schedule": "0 4 * * 1",
            "version": 1,
            "fields": {
                "codi": {"kind": "text", "required": True},
                "nom": {},
                "nif": {"personal": True},
            },
        },
        "marts.dim_towns": {
            "upstream": ["staging.towns"],
            "keep_days": 90,
            "partition_by": ["province_id"],
            "version": 1,
            "columns": {
                "town_id": {"type": "string", "key": True, "unique": True},
                "people": {"type": "integer", "unit": "people"},
                "area": {"type": "double", "nullable": True, "unit": "km2"},
                "province_id": {"type": "string", "accepted": ["08", "17"], "references": "dim_provinces.province_id"},
            },
        },
    }
}
TOWNS, LANDING = "marts.dim_towns", "landing.towns"


def after(**parts: Any) -> dict[str, Any]:
    """The base with parts of it changed: `column__type="x"` of a mart's column, `asset__schedule="x"`; None takes away."""
    now = copy.deepcopy(BASE)
    for path, value in parts.items():
        name, _, part = path.partition("__")
        holder = now["assets"][TOWNS] if name == "asset" else now["assets"][TOWNS]["columns"].setdefault(name, {})
        if not part:
            if value is None:
                del now["assets"][TOWNS]["columns"][name]
            else:
                now["assets"][TOWNS]["columns"][name] = value
        elif value is None:
            del holder[part]
        else:
            holder[part] = value
    return now


def fields_after(**fields: Any) -> dict[str, Any]:
    """The base with fields of the landing contract changed; None takes one away."""
    now = copy.deepcopy(BASE)
    for name, field in fields.items():
        now["assets"][LANDING]["fields"][name] = field
    now["assets"][LANDING]["fields"] = {n: f for n, f in now["assets"][LANDING]["fields"].items() if f is not None}
    return now


def only(now: dict[str, Any]) -> Change:
    changes = compare(BASE, now)
    assert len(changes) == 1, changes
    return changes[0]


def test_a_graph_that_did_not_change_shows_nothing() -> None:
    assert compare(BASE, copy.deepcopy(BASE)) == []


@pytest.mark.parametrize(
    ("parts", "what", "why"),
    [
        ({"people": None}, "column gone", "whoever reads it fails"),
        ({"people__type": "double"}, "type", "casts, comparisons and sums"),
        ({"people__type": "string"}, "type", "casts, comparisons and sums"),
        ({"area__type": "bigint"}, "type", "casts, comparisons and sums"),
        ({"people__nullable": True}, "nullable", "nulls where there were none"),
        ({"town_id__unique": None}, "unique", "a join on it may double rows"),
        ({"people__unit": "thousands"}, "unit", "another amount"),
        ({"people__unit": None}, "unit", "another amount"),
        ({"province_id__accepted": ["08", "17", "25"]}, "accepted", "a reader's cases miss 25"),
        ({"province_id__accepted": ["08"]}, "accepted", "who asks for 17 finds nothing"),
        ({"province_id__accepted": None}, "accepted", "any value may come"),
        ({"province_id__references": None}, "references", "may lose rows"),
        ({"people__personal": True}, "personal", "by law"),
        ({"province_id__key": True}, "key", "joins and counts by the old key"),
        ({"town_id__key": None}, "key", "joins and counts by the old key"),
        ({"asset__partition_by": ["town_id"]}, "partition by", "paths and partition filters"),
        ({"asset__partition_by": None}, "partition by", "paths and partition filters"),
        ({"asset__keep_days": 30}, "keep days", "deleted sooner"),
    ],
)
def test_what_a_reader_was_promised_and_is_no_more_breaks(parts: dict[str, Any], what: str, why: str) -> None:
    change = only(after(**parts))
    assert (change.asset, change.what, change.verdict) == (TOWNS, what, "breaking")
    assert change.breaks
    assert why in change.breaks


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"mayor": {"type": "string"}}, "new column"),
        ({"people__type": "bigint"}, "type"),
        ({"area__nullable": None}, "nullable"),
        ({"people__unique": True}, "unique"),
        ({"town_id__accepted": ["1"]}, "accepted"),
        ({"town_id__references": "dim_towns.town_id"}, "references"),
        ({"people__source": "poblacio"}, "source"),
        ({"asset__keep_days": 120}, "keep days"),
        ({"asset__upstream": ["staging.cities"]}, "upstream"),
        ({"asset__schedule": "@daily"}, "schedule"),
        ({"asset__tolerate": 0.1}, "tolerate"),
        ({"asset__something_new": 5}, "something new"),
    ],
)
def test_what_keeps_every_promise_is_told_and_breaks_nothing(parts: dict[str, Any], what: str) -> None:
    change = only(after(**parts))
    assert (change.what, change.verdict) == (what, "compatible")


def test_columns_in_another_order_are_told_and_break_nothing() -> None:
    now = copy.deepcopy(BASE)
    columns = now["assets"][TOWNS]["columns"]
    now["assets"][TOWNS]["columns"] = dict(reversed(columns.items()))
    change = only(now)
    assert (change.what, change.verdict) == ("order of columns", "compatible")


@pytest.mark.parametrize(
    ("fields", "what", "why"),
    [
        ({"nom": None}, "field gone", "whoever reads it fails"),
        ({"nom": {"required": True}}, "required", "an extraction fails"),
        ({"codi": {"kind": "text"}}, "required", "staging meets nulls"),
        ({"codi": {"kind": "number", "required": True}}, "kind", "in another way"),
        ({"nif": {}}, "personal", "personal data leaves landing"),
        ({"nom": {"personal": True}}, "personal", "does not leave landing any more"),
        ({"cp": {"required": True}}, "new field", "an extraction fails"),
    ],
)
def test_what_asks_more_of_a_source_or_gives_staging_less_breaks(fields: dict[str, Any], what: str, why: str) -> None:
    change = only(fields_after(**fields))
    assert (change.asset, change.what, change.verdict) == (LANDING, what, "breaking")
    assert change.breaks
    assert why in change.breaks


@pytest.mark.parametrize("fields", [{"cp": {}}, {"nom": {"kind": "text"}}, {"codi": {"required": True}}])
def test_a_field_more_or_one_less_checked_breaks_nothing(fields: dict[str, Any]) -> None:
    assert only(fields_after(**fields)).verdict == "compatible"


def test_a_column_that_went_while_one_of_its_type_came_may_be_renamed_and_still_breaks() -> None:
    changes = compare(BASE, after(people=None, inhabitants={"type": "integer", "unit": "people"}))
    assert [(c.what, c.column, c.verdict) for c in changes] == [
        ("column gone (renamed to inhabitants?)", "people", "breaking"),
        ("new column", "inhabitants", "compatible"),
    ]


def test_a_key_column_that_is_renamed_is_told_as_a_column_and_as_a_key() -> None:
    changes = compare(BASE, after(town_id=None, municipality_id={"type": "string", "key": True}))
    assert {"key", "column gone (renamed to municipality_id?)"} <= {c.what for c in undeclared(changes)}
    assert next(c for c in changes if c.what == "key").now == ["municipality_id"]


def test_raising_the_contracts_version_declares_its_breaking_changes() -> None:
    changes = compare(BASE, after(people=None, asset__version=2))
    assert [(c.what, c.verdict) for c in changes] == [("version", "compatible"), ("column gone", "declared")]
    assert undeclared(changes) == []


def test_a_version_declares_nothing_of_other_tables() -> None:
    now = after(asset__version=2)
    now["assets"][LANDING]["fields"]["nom"] = {"required": True}
    assert [c.asset for c in undeclared(compare(BASE, now))] == [LANDING]


def test_a_version_that_goes_back_breaks_whatever_else_there_is() -> None:
    was = after(asset__version=3)
    changes = compare(was, after(asset__version=2))
    assert [(c.what, c.verdict) for c in changes] == [("version", "breaking")]


def test_a_new_table_breaks_nothing() -> None:
    now = copy.deepcopy(BASE)
    now["assets"]["marts.dim_roads"] = {"columns": {"road_id": {"type": "string"}}}
    assert only(now) == Change("marts.dim_roads", "new table")


def test_a_table_that_goes_breaks_until_it_is_named_as_retired() -> None:
    now = copy.deepcopy(BASE)
    del now["assets"][TOWNS]
    assert only(now).verdict == "breaking"
    assert only(now | {"retired": {TOWNS: "read staging.towns"}}).verdict == "declared"


def test_a_table_that_comes_back_under_another_name_is_seen() -> None:
    now = copy.deepcopy(BASE)
    now["assets"]["marts.dim_municipalities"] = now["assets"].pop(TOWNS)
    gone = undeclared(compare(BASE, now))
    assert [c.what for c in gone] == ["table gone (renamed to marts.dim_municipalities?)"]


def test_a_contract_has_version_1_until_it_says_otherwise_and_none_below() -> None:
    class Towns(Contract):
        """Towns."""

        town_id: str = column("Code of the town", key=True)

    class Cities(Contract, version=2):
        """Cities."""

        city_id: str = column("Code of the city", key=True)

    assert (Towns.terms().version, Cities.terms().version) == (1, 2)
    with pytest.raises(DeclarationError, match="version is 1 or more; found"):

        class Nothing(Contract, version=0):
            """Nothing."""
