"""A table's dimensions are found by role, id and label, and its categories by code and label, or the difference is named."""

from __future__ import annotations

from typing import Any

import pytest

from catalunya.io.errors import DeclarationError
from catalunya.io.sources.dimensions import By, bind, by
from catalunya.io.sources.idescat import Idescat
from catalunya.io.sources.jsonstat import Dataset, decode, read_cells

SECTIONS = by("secció", "activitat", codes="[A-V]", labels={"TOTAL": ["^total"]})
MEASURES = by(labels={"change": ["variació"], "index": ["^índex"], "value": ["milions d'euros"]}, only="value")


def table(roles: dict[str, list[str]] | None = None, **dimensions: tuple[str, dict[str, str]]) -> bytes:
    """A dataset with these dimensions: label, and label by code. The first is time, the second geo unless roles are given."""
    import msgspec

    names = list(dimensions)
    found: dict[str, Any] = {
        "version": "2.0",
        "class": "dataset",
        "href": "https://api.idescat.cat/taules/v2/afic/1/2/com/data",
        "updated": "2026-01-29",
        "id": names,
        "size": [len(categories) for _, categories in dimensions.values()],
        "role": {"time": names[:1], "geo": names[1:2], **(roles or {})},
        "dimension": {
            name: {"label": label, "category": {"index": list(categories), "label": categories}}
            for name, (label, categories) in dimensions.items()
        },
    }
    count = 1
    for size in found["size"]:
        count *= size
    return msgspec.json.encode(found | {"value": list(range(count))})


def cells(body: bytes, **declared: By) -> dict[str, list[Any]]:
    return read_cells(body, lambda dataset: bind(dataset, declared)).to_dict(as_series=False)


MONTH = ("mes", {"2021M03": "03/2021"})
COM = ("comarca", {"01": "Alt Camp"})
LETTERS = ("secció", {"A": "A Agricultura", "B": "B Indústries", "TOTAL": "Total"})


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("SECTION", "x"),
        ("section", "x"),
        ("SECCIO", "x"),
        ("X", "Secció d'activitat econòmica (CCAE-2009)"),
        ("X", "SECCIO"),
        ("SEC_ACTIVITAT_G", "x"),
    ],
)
def test_a_dimension_is_found_by_its_id_or_by_words_of_its_label_in_any_case(name: str, label: str) -> None:
    found = cells(
        table(MONTH=MONTH, COM=COM, OTHER=("altra", {"1": "u"}), **{name: (label, LETTERS[1])}), SECTION=SECTIONS
    )
    assert found["SECTION"] == ["A", "B", "TOTAL"]
    assert found["SECTION_label"] == ["Agricultura", "Indústries", "Total"]
    assert (found["time"], found["geo"]) == (["2021-03"] * 3, ["01"] * 3)


def test_a_dimension_without_a_known_name_is_found_by_the_labels_of_its_categories() -> None:
    sectors = by("sector", labels={"gdp": ["^pib"], "industry": ["indústria"]})
    found = cells(
        table(MONTH=MONTH, COM=COM, SEX=("sexe", {"M": "homes"}), X=("x", {"1": "PIB", "2": "Indústria"})),
        SECTOR=sectors,
    )
    assert found["SECTOR"] == ["gdp", "industry"]
    assert found["SEX"] == ["M"] * 2


@pytest.mark.parametrize(
    "categories",
    [
        {"A": "A Agricultura", "T": "T Llars", "TOTAL": "total"},
        {"A": "Agricultura", "T": "Llars", "X": "TOTAL de seccions"},
        {"01": "A Agricultura", "20": "T. Llars", "00": "Total"},
        {"x1": "A - Agricultura", "x2": "T – Llars", "T": "Total"},
    ],
)
def test_a_code_may_be_the_sources_or_stand_before_the_label(categories: dict[str, str]) -> None:
    found = cells(table(MONTH=MONTH, COM=COM, S=("secció", categories)), SECTION=SECTIONS)
    assert found["SECTION"] == ["A", "T", "TOTAL"]
    assert found["SECTION_label"][:2] == ["Agricultura", "Llars"]


def test_the_beginning_of_a_name_is_not_taken_for_a_code() -> None:
    categories = {"A": "Agricultura", "G": "G A l'engròs i al detall"}
    found = cells(table(MONTH=MONTH, COM=COM, S=("secció", categories)), SECTION=SECTIONS)
    assert found["SECTION_label"] == ["Agricultura", "A l'engròs i al detall"]


METRICS: list[tuple[dict[str, list[str]], dict[str, tuple[str, dict[str, str]]]]] = [
    ({"metric": ["C"]}, {"C": ("concepte", {"I": "Índex", "V": "Variació (%)"})}),
    ({"metric": ["C"]}, {"C": ("concepte", {"index": "x", "CHANGE": "y"})}),
    (
        {"metric": ["C", "I"]},
        {"C": ("concepte", {"GDP": "PIB"}), "I": ("indicador", {"1": "ÍNDEX", "2": "VARIACIÓ"})},
    ),
    (
        {"metric": ["C", "I"]},
        {"C": ("concepte", {"G": "índex de volum"}), "I": ("indicador", {"1": "Índex", "2": "Variació"})},
    ),
]


@pytest.mark.parametrize(("roles", "dimensions"), METRICS)
def test_one_or_two_dimensions_of_metrics_become_the_same_column(roles: Any, dimensions: Any) -> None:
    found = cells(table(roles, MONTH=MONTH, COM=COM, **dimensions), metric=MEASURES)
    assert found["metric"] == ["index", "change"]
    assert set(found) == {"time", "geo", "metric", "value", "status", "table", "updated"}


@pytest.mark.parametrize(
    ("roles", "dimensions"),
    [
        ({}, {}),
        ({"metric": ["C"]}, {"C": ("concepte", {"VALUE": "valor"})}),
        ({"metric": ["C", "I"]}, {"C": ("concepte", {"GDP": "PIB"}), "I": ("indicador", {"VALUE_EK": "milers"})}),
    ],
)
def test_the_only_metric_of_a_table_needs_no_name(roles: Any, dimensions: Any) -> None:
    assert cells(table(roles, MONTH=MONTH, COM=COM, **dimensions), metric=MEASURES)["metric"] == ["value"]


def test_a_dimension_of_metrics_may_be_what_a_column_is_declared_for() -> None:
    sectors = by("sector", labels={"gdp": ["^pib"], "industry": ["indústria"]})
    body = table(
        {"metric": ["C", "I"]},
        QUARTER=("trimestre", {"2021T1": "T1/2021"}),
        CAT=("Catalunya", {"TOTAL": "Catalunya"}),
        C=("concepte", {"1": "PIB", "2": "Indústria"}),
        I=("indicador", {"1": "Índex", "2": "Variació"}),
    )
    found = cells(body, SECTOR=sectors, metric=MEASURES)
    assert found["SECTOR"] == ["gdp", "gdp", "industry", "industry"]
    assert found["metric"] == ["index", "change"] * 2
    assert found["value"] == ["0", "1", "2", "3"]


def test_a_table_without_roles_has_those_of_its_ids() -> None:
    dataset = decode(table(time=MONTH, geo=COM, sex=("sex", {"M": "men"})), Dataset)
    dataset.role = None
    assert {name: axis.column for name, axis in dataset.axes().items()} == {"time": "time", "geo": "geo", "sex": "sex"}


# What does not fit


@pytest.mark.parametrize(
    ("dimensions", "declared", "message"),
    [
        (
            {"SEX": ("sexe", {"M": "homes", "F": "dones"})},
            {"SECTION": SECTIONS},
            r"dimensions\['SECTION'\]: expected one dimension called SECTION or secció or activitat, "
            r"found MONTH \(mes, time, 1 category\), COM .*, SEX \(sexe, 2 categories\)",
        ),
        (
            {"S": ("secció", LETTERS[1]), "D": ("secció d'abans", LETTERS[1])},
            {"SECTION": SECTIONS},
            r"expected one dimension called SECTION .*, found S \(secció, 3 categories\), D \(secció d'abans, 3 categories\)",
        ),
        (
            {"S": ("secció", {"A": "Agricultura", "ZZ": "No consta"})},
            {"SECTION": SECTIONS},
            r"expected all categories of S to be declared, found 'ZZ' \(No consta\); add them to its labels or codes",
        ),
        (
            {"S": ("secció", {"A": "Agricultura", "1": "A Altra agricultura"})},
            {"SECTION": SECTIONS},
            r"expected one category of S for A, found 'A' \(Agricultura\), '1' \(A Altra agricultura\)",
        ),
        (
            {"C": ("concepte", {"1": "Índex", "2": "Contribució"})},
            {"metric": MEASURES},
            r"dimensions\['metric'\]: expected .* the categories change, index, value, found C \(concepte, metric, 2 categories\)",
        ),
        (
            {"C": ("concepte", {"1": "Índex", "2": "Variació"}), "I": ("indicador", {"1": "Índex", "2": "Variació"})},
            {"metric": MEASURES},
            r"dimensions\['metric'\]: expected one dimension of metrics .*, found C .*, I ",
        ),
        (
            {"C": ("concepte", {"1": "Índex", "2": "Variació"}), "I": ("indicador", {"EUR": "euros", "USD": "dòlars"})},
            {"metric": MEASURES},
            r"dimensions\['metric'\]: expected one dimension of metrics .*, found C ",
        ),
        (
            {"S": LETTERS, "SEX": ("sexe", {"M": "homes", "F": "dones"})},
            {"SECTION": SECTIONS},
            r"expected each dimension of several categories to be a column, found SEX \(sexe, 2 categories\)",
        ),
    ],
)
def test_what_is_not_found_once_is_refused_with_what_there_is(dimensions: Any, declared: Any, message: str) -> None:
    roles = {"metric": [name for name in dimensions if name in {"C", "I"}]}
    with pytest.raises(DeclarationError, match=message):
        cells(table(roles, MONTH=MONTH, COM=COM, **dimensions), **declared)


def test_periods_are_declared_as_one_of_the_kinds() -> None:
    with pytest.raises(DeclarationError, match="expected periods as half-year, quarter, month, found 'quarters'"):
        Idescat("afic/1/2/com", periods="quarters")  # type: ignore[arg-type]


def test_a_table_without_the_role_of_a_declared_column_is_refused() -> None:
    with pytest.raises(
        DeclarationError, match=r"dimensions\['geo'\]: expected one dimension with the role geo, found MONTH"
    ):
        cells(table({"geo": []}, MONTH=MONTH, COM=COM), geo=by(codes="[0-9]{2}"))
