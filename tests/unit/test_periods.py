"""Periods as sources and people write them, the codes of a table read together, and the window between two periods."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest

from catalunya.io.errors import ContractError, UsageError
from catalunya.io.periods import PeriodKind, Window, period, read_periods, window

YEAR = Window(date(2014, 1, 1), date(2014, 12, 31))
FIRST_HALF = Window(date(2014, 1, 1), date(2014, 6, 30))
THIRD_QUARTER = Window(date(2014, 7, 1), date(2014, 9, 30))
JUNE = Window(date(2014, 6, 1), date(2014, 6, 30))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2014", YEAR),
        (" 2014 ", YEAR),
        ("2014-H1", FIRST_HALF),
        ("2014-h1", FIRST_HALF),
        ("2014S1", FIRST_HALF),
        ("S1/2014", FIRST_HALF),
        ("2014-Q3", THIRD_QUARTER),
        ("2014T3", THIRD_QUARTER),
        ("T3/2014", THIRD_QUARTER),
        ("2014-06", JUNE),
        ("2014M06", JUNE),
        ("2014M6", JUNE),
        ("06/2014", JUNE),
        ("201406", JUNE),
        ("2014-06-30", Window(date(2014, 6, 30), date(2014, 6, 30))),
        ("2014-H2", Window(date(2014, 7, 1), date(2014, 12, 31))),
        ("2014-Q4", Window(date(2014, 10, 1), date(2014, 12, 31))),
        ("2014-12", Window(date(2014, 12, 1), date(2014, 12, 31))),
        ("2024-02", Window(date(2024, 2, 1), date(2024, 2, 29))),
        ("1999", Window(date(1999, 1, 1), date(1999, 12, 31))),
        ("122012", Window(date(2012, 12, 1), date(2012, 12, 31))),
        ("202012", Window(date(2020, 12, 1), date(2020, 12, 31))),
    ],
)
def test_a_period_is_read_as_sources_and_people_write_it(text: str, days: Window) -> None:
    assert period(text) == days


@pytest.mark.parametrize(
    "text",
    ["", "TOTAL", "14", "H1", "2014-H3", "2014-H0", "2014S3", "2014-Q5", "2014-13", "2014-00", "201413", "2014-02-30",
     "2014-06-30T00:00:00", "2014-X1", "2014-W23", "2014-2015", "1814", "2014-H1-x", "2014'; drop"],
)  # fmt: skip
def test_anything_but_a_period_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match=r"a year \(2014\), a half-year \(2014-H1\), .*, found ") as caught:
        period(text)
    assert repr(text) in str(caught.value)


def test_half_years_quarters_and_months_each_cover_a_year_without_gaps() -> None:
    for codes in (["H1", "H2"], ["Q1", "Q2", "Q3", "Q4"], [f"{month:02}" for month in range(1, 13)]):
        spans = [period(f"2024-{code}") for code in codes]
        assert (spans[0].first, spans[-1].last) == (date(2024, 1, 1), date(2024, 12, 31))
        assert all((after.first - before.last).days == 1 for before, after in pairwise(spans))


def test_a_window_goes_from_the_first_day_of_one_period_to_the_last_day_of_another() -> None:
    assert window("2014", "2016-Q1") == Window(date(2014, 1, 1), date(2016, 3, 31))
    assert window("2014-06-30", "2014-06-30") == Window(date(2014, 6, 30), date(2014, 6, 30))


def test_a_window_is_shown_by_its_ends() -> None:
    assert str(window("2014", "2014")) == "from 2014-01-01 to 2014-12-31"
    assert str(window("2014", None)) == "from 2014-01-01"
    assert str(window(None, "2014")) == "to 2014-12-31"


def test_a_window_may_be_open_at_either_end_and_is_none_if_neither_is_given() -> None:
    assert window("2014", None) == Window(date(2014, 1, 1), date.max)
    assert window(None, "2014") == Window(date.min, date(2014, 12, 31))
    assert window(None, None) is None
    assert window("", "") is None


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageError, match="the window must begin before it ends, found 2015 to 2014-H2"):
        window("2015", "2014-H2")


def test_a_window_covers_what_lies_entirely_in_it() -> None:
    span = Window(date(2014, 1, 1), date(2015, 6, 30))
    assert span.covers(span)
    assert span.covers(period("2014"))
    assert span.covers(period("2015-H1"))
    assert not span.covers(period("2015"))
    assert not span.covers(period("2013-12"))
    assert Window(date.min, date.max).covers(period("2015"))


def test_periods_sort_by_time() -> None:
    codes = ["2015", "2014S2", "2014-02", "2014S1"]
    assert sorted(codes, key=period) == ["2014S1", "2014-02", "2014S2", "2015"]


# The codes of a table's time dimension


def read(*codes: str, name: str = "TIME període", labels: str = "", declared: PeriodKind | None = None) -> list[str]:
    """What the codes become; `labels`: the label of each, between bars."""
    labeled = dict(zip(codes, labels.split("|") if labels else codes, strict=True))
    return list(read_periods(labeled, name, declared).values())


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("2021M03 2021M06", "2021-03 2021-06"),
        ("2021-03 2021-06", "2021-03 2021-06"),
        ("2021-04", "2021-04"),
        ("2021Q1 2021Q2", "2021-Q1 2021-Q2"),
        ("2021T1 T2/2021", "2021-Q1 2021-Q2"),
        ("2025S1 2025H2", "2025-H1 2025-H2"),
        ("2023 2024", "2023 2024"),
        ("2024-06-30", "2024-06-30"),
    ],
)
def test_a_code_that_says_what_it_counts_needs_nothing_else(codes: str, expected: str) -> None:
    assert read(*codes.split()) == expected.split()
    assert [code for each in codes.split() for code in read(each, name="QUARTER trimestre")] == expected.split()


def test_codes_in_one_spelling_are_read_as_they_are() -> None:
    codes = ["2014", "2014-H1", "2014-Q3", "2014-06", "2014-06-30"]
    assert read(*codes) == codes


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("202012 202103 202106", "2020-12 2021-03 2021-06"),
        ("202003 202106", "2020-03 2021-06"),
        ("06/2021", "2021-06"),
        ("202004 202101 202102 202103 202104 202201", "2020-Q4 2021-Q1 2021-Q2 2021-Q3 2021-Q4 2022-Q1"),
        ("202002 202101 202102 202201", "2020-H2 2021-H1 2021-H2 2022-H1"),
    ],
)
def test_bare_numbers_are_read_by_the_highest_and_by_the_steps_between_all_of_them(codes: str, expected: str) -> None:
    assert read(*codes.split()) == expected.split()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MONTH", "2021-04"),
        ("T mes", "2021-04"),
        ("QUARTER", "2021-Q4"),
        ("TEMPS Trimestre", "2021-Q4"),
    ],
)
def test_the_name_of_the_dimension_decides_what_its_numbers_count(name: str, expected: str) -> None:
    assert read("202104", name=name) == [expected]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("12/2021", "2021-Q4"),
        ("04/2021", "2021-04"),
        ("4t trimestre 2021", "2021-Q4"),
        ("4T 2021", "2021-Q4"),
        ("T4/2021", "2021-Q4"),
        ("IV trimestre de 2021", "2021-Q4"),
        ("Quart trimestre del 2021", "2021-Q4"),
        ("DESEMBRE DE 2021", "2021-Q4"),
        ("des. 2021", "2021-Q4"),
        ("diciembre de 2021", "2021-Q4"),
        ("April 2021", "2021-04"),
        ("abril 2021", "2021-04"),
    ],
)
def test_a_label_decides_what_a_number_counts_whatever_the_dimension_is_called(label: str, expected: str) -> None:
    for name in ("TIME", "MONTH mes", "QUARTER trimestre"):
        assert read("202104", name=name, labels=label) == [expected]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("2021m3|2021m6", "2021-03 2021-06"),
        ("1T 2021|2T2021|2021 3T|4T/2021", "2021-Q1 2021-Q2 2021-Q3 2021-Q4"),
        ("2021TR1|2021TRIM2", "2021-Q1 2021-Q2"),
        ("III/2021|2021-IV|2022 I", "2021-Q3 2021-Q4 2022-Q1"),
        ("20210331|20210630", "2021-03-31 2021-06-30"),
        ("Març 2021|jun-2021|2021_09", "2021-03 2021-06 2021-09"),
        ("31 de març de 2021", "2021-03-31"),
    ],
)
def test_other_spellings_of_codes_are_read_too(codes: str, expected: str) -> None:
    assert read(*codes.split("|")) == expected.split()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("desembre de 2020|març de 2021", "2020-12 2021-03"),
        ("diciembre 2020|marzo 2021", "2020-12 2021-03"),
        ("Fourth quarter of 2020|First quarter of 2021", "2020-Q4 2021-Q1"),
        ("Cuarto trimestre de 2020|Primer trimestre de 2021", "2020-Q4 2021-Q1"),
        ("T4/2020|1T 2021", "2020-Q4 2021-Q1"),
        ("12/2020|03/2021", "2020-12 2021-03"),
    ],
)
def test_codes_that_say_nothing_are_read_by_their_labels(labels: str, expected: str) -> None:
    assert read("1", "P2", labels=labels) == expected.split()


def test_a_roman_number_alone_is_no_period_for_a_person() -> None:
    with pytest.raises(UsageError, match="expected a period"):
        period("II/2021")


QUARTERLY = ("2020-04", "2021-01", "2021-02", "2021-03", "2021-04")


def test_iso_months_are_no_months_where_labels_or_name_and_steps_say_so() -> None:
    quarters = ["2020-Q4", "2021-Q1", "2021-Q2", "2021-Q3", "2021-Q4"]
    assert read(*QUARTERLY, name="QUARTER trimestre") == quarters
    assert read(*QUARTERLY, labels="T4/2020|T1/2021|T2/2021|T3/2021|T4/2021") == quarters
    assert read(*QUARTERLY) == list(QUARTERLY)
    assert read("2021-03", "2021-06", "2021-09", name="QUARTER trimestre") == ["2021-03", "2021-06", "2021-09"]


def test_labels_that_only_repeat_the_numbers_do_not_make_quarters_months() -> None:
    """Read as months, the five would not follow each other in equal steps."""
    codes = [code.replace("-", "") for code in QUARTERLY]
    labels = "|".join(f"{code[-2:]}/{code[:4]}" for code in codes)
    with pytest.raises(ContractError, match=r"may be 2021-04 \(a month\) or 2021-Q4 \(a quarter\)"):
        read(*codes, labels=labels)
    assert read(*codes, labels=labels, declared="quarter")[0] == "2020-Q4"


@pytest.mark.parametrize(
    "label", ["2021", "període 4", "4/2020-2021", "13/2021", "0t trimestre 2021", "quart any 2021"]
)
def test_a_label_that_names_no_period_decides_nothing(label: str) -> None:
    with pytest.raises(ContractError, match=r"may be 2021-04 \(a month\) or 2021-Q4 \(a quarter\)"):
        read("202104", labels=label)


def test_what_is_declared_decides() -> None:
    assert read("202101", declared="month") == ["2021-01"]
    assert read("202101", declared="quarter", name="MONTH") == ["2021-Q1"]
    assert read("202101", declared="half-year", labels="gener 2021") == ["2021-H1"]
    assert read("2021M01", declared="quarter") == ["2021-01"]


@pytest.mark.parametrize("codes", ["202104", "202003 202104", "202101 202102 202103 202104", "202101 202103"])
def test_an_ambiguous_set_is_refused_with_its_readings(codes: str) -> None:
    with pytest.raises(
        ContractError, match=r"dimension TIME període: .* found '202\d0\d' .*-0\d \(a month\) or .*-Q\d"
    ):
        read(*codes.split())


def test_evidence_that_contradicts_itself_is_refused_with_the_readings_of_the_numbers() -> None:
    with pytest.raises(ContractError, match=r"'202201' which may be 2022-01 \(a month\) or 2022-Q1 \(a quarter\)"):
        read("202103", "202104", "202201", name="MONTH mes")
    with pytest.raises(ContractError, match=r"'202112' which may be 2021-12 \(a month\)$"):
        read("202112", name="QUARTER trimestre")
    with pytest.raises(ContractError, match="'202104', labeled 'maig 2021', which may be"):
        read("202104", labels="maig 2021")
    with pytest.raises(ContractError, match="'202112' which may be"):
        read("202112", declared="quarter")


def test_codes_that_are_no_periods_are_left_out() -> None:
    assert read_periods(dict.fromkeys(["2021M03", "TOTAL", "2021M13", "2021T5", "1821"], ""), "MONTH") == {
        "2021M03": "2021-03"
    }
