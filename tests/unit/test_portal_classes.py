"""The classes of a map: every known value is in exactly one, and the limits in the legend are values that are there."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalunya.portal.classes import CLASSES, classified, limits

numbers = st.one_of(
    st.none(), st.floats(-1e9, 1e9), st.integers(-3, 3).map(float), st.sampled_from([math.nan, math.inf])
)
rows = st.lists(st.tuples(st.sampled_from(["2024", "2025"]), numbers), max_size=60)


def table(found: list[tuple[str, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(found, schema={"period": pl.String, "value": pl.Float64}, orient="row")


def classes(values: list[float | None], *, diverging: bool = False) -> list[int | None]:
    return classified(table([("2025", value) for value in values]), 0, diverging=diverging)["class"].to_list()


@given(found=rows, digits=st.integers(0, 2), diverging=st.booleans())
def test_every_known_value_is_within_the_limits_of_exactly_one_class(
    found: list[tuple[str, float | None]], digits: int, diverging: bool
) -> None:
    shown = classified(table(found), digits, diverging=diverging)
    by_period = limits(shown)
    for period, value, number in shown.select("period", "value", "class").iter_rows():
        within = [
            at
            for at, each in enumerate(by_period.get(period, []))
            if value is not None and each and each[0] <= value <= each[1]
        ]
        assert within == ([] if value is None else [number])


@given(found=rows, diverging=st.booleans())
def test_the_limits_rise_and_no_two_classes_touch(found: list[tuple[str, float | None]], diverging: bool) -> None:
    for each in limits(classified(table(found), 1, diverging=diverging)).values():
        assert len(each) == CLASSES
        edges = [edge for pair in each if pair for edge in pair]
        assert edges == sorted(edges)
        assert len({pair for pair in each if pair}) == sum(pair is not None for pair in each)


def test_values_are_divided_into_fifths() -> None:
    assert classes([float(value) for value in range(10)]) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([None, math.nan, math.inf], [None, None, None]),
        ([7.0], [0]),
        ([7.0, 7.0, 7.0], [0, 0, 0]),
        ([0.0] * 6 + [1.0, 2.0, 3.0], [0] * 6 + [3, 3, 4]),
    ],
)
def test_equal_values_are_in_one_class(values: list[float | None], expected: list[int | None]) -> None:
    assert classes(values) == expected


def test_changes_are_divided_at_zero() -> None:
    assert classes([-9.0, -2.0, -0.4, 0.0, 0.3, 1.0, 5.0], diverging=True) == [0, 1, 2, 2, 2, 3, 4]
    assert classes([1.0, 5.0], diverging=True) == [3, 4]


def test_each_period_has_its_own_classes() -> None:
    shown = classified(table([("2024", 1.0), ("2024", 2.0), ("2025", 2.0)]), 0, diverging=False)
    assert shown["class"].to_list() == [0, 2, 0]
