"""Which changes break readers, and how a breaking change is declared."""

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


def after(**changes: Any) -> dict[str, Any]:
    """The base with changes: `column__type="x"` for a column of the mart, `asset__schedule="x"` for the asset; None removes."""
    now = copy.deepcopy(BASE)
    for path, value in changes.items():
        name, _, attribute = path.partition("__")
        holder = now["assets"][TOWNS] if name == "asset" else now["assets"][TOWNS]["columns"].setdefault(name, {})
        if not attribute:
            if value is None:
                del now["assets"][TOWNS]["columns"][name]
            else:
                now["assets"][TOWNS]["columns"][name] = value
        elif value is None:
            del holder[attribute]
        else:
            holder[attribute] = value
    return now


def fields_after(**fields: Any) -> dict[str, Any]:
    """The base with fields of the landing contract changed; None removes one."""
    now = copy.deepcopy(BASE)
    for name, field in fields.items():
        now["assets"][LANDING]["fields"][name] = field
    now["assets"][LANDING]["fields"] = {n: f for n, f in now["assets"][LANDING]["fields"].items() if f is not None}
    return now


def only(now: dict[str, Any]) -> Change:
    changes = compare(BASE, now)
    assert len(changes) == 1, changes
    return changes[0]


def test_an_unchanged_graph_has_no_changes() -> None:
    assert compare(BASE, copy.deepcopy(BASE)) == []


@pytest.mark.parametrize(
    ("changes", "what", "why"),
    [
        ({"people": None}, "column removed", "queries on it fail"),
        ({"people__type": "double"}, "type", "casts, comparisons and sums"),
        ({"people__type": "string"}, "type", "casts, comparisons and sums"),
        ({"area__type": "bigint"}, "type", "casts, comparisons and sums"),
        ({"people__nullable": True}, "nullable", "nulls where there were none"),
        ({"town_id__unique": None}, "unique", "a join on it may duplicate rows"),
        ({"people__unit": "thousands"}, "unit", "a different amount"),
        ({"people__unit": None}, "unit", "a different amount"),
        ({"province_id__accepted": ["08", "17", "25"]}, "accepted", "a reader's cases miss 25"),
        ({"province_id__accepted": ["08"]}, "accepted", "a filter on 17 finds nothing"),
        ({"province_id__accepted": None}, "accepted", "any value may appear"),
        ({"province_id__references": None}, "references", "may lose rows"),
        ({"people__personal": True}, "personal", "data protection law"),
        ({"province_id__key": True}, "key", "joins and counts by the old key"),
        ({"town_id__key": None}, "key", "joins and counts by the old key"),
        ({"asset__partition_by": ["town_id"]}, "partition by", "paths and partition filters"),
        ({"asset__partition_by": None}, "partition by", "paths and partition filters"),
        ({"asset__keep_days": 30}, "keep days", "deleted sooner"),
    ],
)
def test_withdrawing_a_promise_to_readers_is_breaking(changes: dict[str, Any], what: str, why: str) -> None:
    change = only(after(**changes))
    assert (change.asset, change.what, change.verdict) == (TOWNS, what, "breaking")
    assert change.breaks
    assert why in change.breaks


@pytest.mark.parametrize(
    ("changes", "what"),
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
def test_a_change_that_keeps_every_promise_is_reported_as_compatible(changes: dict[str, Any], what: str) -> None:
    change = only(after(**changes))
    assert (change.what, change.verdict) == (what, "compatible")


def test_reordered_columns_are_reported_as_compatible() -> None:
    now = copy.deepcopy(BASE)
    columns = now["assets"][TOWNS]["columns"]
    now["assets"][TOWNS]["columns"] = dict(reversed(columns.items()))
    change = only(now)
    assert (change.what, change.verdict) == ("order of columns", "compatible")


@pytest.mark.parametrize(
    ("fields", "what", "why"),
    [
        ({"nom": None}, "field removed", "queries on it fail"),
        ({"nom": {"required": True}}, "required", "the extraction fails"),
        ({"codi": {"kind": "text"}}, "required", "staging meets nulls"),
        ({"codi": {"kind": "number", "required": True}}, "kind", "differently"),
        ({"nif": {}}, "personal", "personal data leaves landing"),
        ({"nom": {"personal": True}}, "personal", "no longer leaves landing"),
        ({"cp": {"required": True}}, "new field", "the extraction fails"),
    ],
)
def test_requiring_more_of_a_source_or_giving_staging_less_is_breaking(
    fields: dict[str, Any], what: str, why: str
) -> None:
    change = only(fields_after(**fields))
    assert (change.asset, change.what, change.verdict) == (LANDING, what, "breaking")
    assert change.breaks
    assert why in change.breaks


@pytest.mark.parametrize("fields", [{"cp": {}}, {"nom": {"kind": "text"}}, {"codi": {"required": True}}])
def test_an_optional_field_or_a_change_of_its_checks_is_compatible(fields: dict[str, Any]) -> None:
    assert only(fields_after(**fields)).verdict == "compatible"


def test_a_removed_column_and_a_new_one_of_its_type_are_a_likely_rename_and_still_breaking() -> None:
    changes = compare(BASE, after(people=None, inhabitants={"type": "integer", "unit": "people"}))
    assert [(c.what, c.column, c.verdict) for c in changes] == [
        ("column removed (renamed to inhabitants?)", "people", "breaking"),
        ("new column", "inhabitants", "compatible"),
    ]


def test_a_renamed_key_column_is_reported_as_a_column_and_as_a_key() -> None:
    changes = compare(BASE, after(town_id=None, municipality_id={"type": "string", "key": True}))
    assert {"key", "column removed (renamed to municipality_id?)"} <= {c.what for c in undeclared(changes)}
    assert next(c for c in changes if c.what == "key").now == ["municipality_id"]


def test_raising_a_contracts_version_declares_its_breaking_changes() -> None:
    changes = compare(BASE, after(people=None, asset__version=2))
    assert [(c.what, c.verdict) for c in changes] == [("version", "compatible"), ("column removed", "declared")]
    assert undeclared(changes) == []


def test_raising_a_version_declares_nothing_for_other_tables() -> None:
    now = after(asset__version=2)
    now["assets"][LANDING]["fields"]["nom"] = {"required": True}
    assert [c.asset for c in undeclared(compare(BASE, now))] == [LANDING]


def test_lowering_a_version_is_breaking() -> None:
    was = after(asset__version=3)
    changes = compare(was, after(asset__version=2))
    assert [(c.what, c.verdict) for c in changes] == [("version", "breaking")]


def test_a_new_table_is_compatible() -> None:
    now = copy.deepcopy(BASE)
    now["assets"]["marts.dim_roads"] = {"columns": {"road_id": {"type": "string"}}}
    assert only(now) == Change("marts.dim_roads", "new table")


def test_removing_a_table_is_breaking_until_it_is_declared_retired() -> None:
    now = copy.deepcopy(BASE)
    del now["assets"][TOWNS]
    assert only(now).verdict == "breaking"
    assert only(now | {"retired": {TOWNS: "read staging.towns"}}).verdict == "declared"


def test_a_renamed_table_is_recognized() -> None:
    now = copy.deepcopy(BASE)
    now["assets"]["marts.dim_municipalities"] = now["assets"].pop(TOWNS)
    breaking = undeclared(compare(BASE, now))
    assert [c.what for c in breaking] == ["table removed (renamed to marts.dim_municipalities?)"]


def test_a_contract_has_version_1_by_default_and_never_a_lower_one() -> None:
    class Towns(Contract):
        """Towns."""

        town_id: str = column("Code of the town", key=True)

    class Cities(Contract, version=2):
        """Cities."""

        city_id: str = column("Code of the city", key=True)

    assert (Towns.terms().version, Cities.terms().version) == (1, 2)
    with pytest.raises(DeclarationError, match="version 1 or more, found 0"):

        class Nothing(Contract, version=0):
            """Nothing."""
