"""Small charts: what is drawn is what is known, in the language's own numbers, and whoever does not see it is told the same."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalunya.portal.charts import HEIGHT, WIDTH, Line, bar_chart, line_chart, ticks, years
from catalunya.portal.language import Language

CATALAN, ENGLISH = Language("ca"), Language("en")
YEARS = ("2020", "2021", "2022", "2023", "2024", "2025")


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in drawn(svg).iter("text")]


def strokes(svg: str) -> list[list[tuple[float, float]]]:
    """The points of each stretch of the lines."""
    paths = [path.get("d", "") for path in drawn(svg).iter("path") if "line" in path.get("class", "")]
    numbers = [[float(number) for number in re.findall(r"[\d.]+", path)] for path in paths if "h" not in path]
    return [list(zip(each[::2], each[1::2], strict=True)) for each in numbers]


def marks(svg: str, kind: str) -> int:
    return sum(kind in circle.get("class", "").split() for circle in drawn(svg).iter("circle"))


def population(*values: float | None, marked: tuple[str, ...] = ()) -> Line:
    return Line("Population", YEARS[: len(values)], values, marked)


def test_nothing_is_drawn_across_an_unknown_value() -> None:
    svg = line_chart(ENGLISH, [population(10, 11, None, 12, 13)], name="a", title="Population")
    assert [len(stroke) for stroke in strokes(svg)] == [2, 2]


def test_nothing_is_drawn_across_a_missing_period() -> None:
    line = Line("Jobs", ["2024-Q1", "2024-Q2", "2024-Q3", "2025-Q1", "2025-Q2"], [1, 2, 3, 4, 5])
    assert [len(stroke) for stroke in strokes(line_chart(ENGLISH, [line], name="a", title="Jobs"))] == [3, 2]


def test_events_at_uneven_times_are_joined_if_asked() -> None:
    line = Line("Rows", ["2026-01-01", "2026-01-02", "2026-01-03T14:05:00", "2026-03-01"], [1, 2, 3, 4])
    assert [len(each) for each in strokes(line_chart(ENGLISH, [line], name="a", title="Rows"))] == [3]
    assert [len(each) for each in strokes(line_chart(ENGLISH, [line], name="a", title="Rows", is_joined=True))] == [4]


def test_a_value_between_two_gaps_is_a_dot() -> None:
    svg = line_chart(ENGLISH, [population(10, None, 12, None, 13, 14)], name="a", title="Population")
    assert marks(svg, "dot") == 3  # 2020, 2022 and the last


def test_values_that_are_not_final_have_an_open_mark() -> None:
    svg = line_chart(ENGLISH, [population(10, 11, 12, marked=("2021", "2022"))], name="a", title="Population")
    assert (marks(svg, "open"), marks(svg, "dot")) == (2, 0)


def test_higher_values_are_higher_up_and_later_ones_further_right() -> None:
    (stroke,) = strokes(line_chart(ENGLISH, [population(10, 11, 12)], name="a", title="Population"))
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(stroke))


@pytest.mark.parametrize(("language", "expected"), [(CATALAN, "1.234.567,5"), (ENGLISH, "1,234,567.5")])
def test_the_last_value_is_written_as_the_language_does(language: Language, expected: str) -> None:
    svg = line_chart(language, [population(1234000, 1234567.5)], name="a", title="Population", digits=1)
    assert expected in texts(svg)


def test_the_description_says_what_is_seen() -> None:
    svg = line_chart(ENGLISH, [population(12, 10, 15, 14)], name="a", title="Population", unit="people")
    (about,) = drawn(svg).iter("desc")
    assert about.text == "First: 12 (2020). Last: 14 (2023). Lowest: 10 (2021). Highest: 15 (2022). Unit: people."


def test_the_description_of_quarters_needs_no_article_that_its_language_would_contract() -> None:
    """`De 4t trimestre a 2n trimestre` would have to be `Del`, `al`: after a colon or in parentheses, a period has neither."""
    quarters = Line("PIB", ("2025-Q4", "2026-Q1"), [12, 14])
    (about,) = drawn(line_chart(CATALAN, [quarters], name="a", title="PIB")).iter("desc")
    assert (about.text or "").startswith(
        "Primer valor: 12 (4t trimestre del 2025). Darrer valor: 14 (1r trimestre del 2026)."
    )


def test_lines_in_one_chart_are_named_and_differ_in_their_class() -> None:
    svg = line_chart(CATALAN, [population(1, 2), Line("Catalonia", YEARS[:2], [3, 4])], name="a", title="x")
    assert {"Population", "Catalonia"} <= set(texts(svg))
    assert {path.get("class") for path in drawn(svg).iter("path")} >= {"line line-1", "line line-2"}


def test_a_small_change_is_not_drawn_as_a_large_one() -> None:
    (stroke,) = strokes(line_chart(ENGLISH, [population(100_000, 100_100)], name="a", title="Population"))
    assert abs(stroke[0][1] - stroke[1][1]) < 0.05 * HEIGHT


def test_nothing_known_is_no_chart() -> None:
    assert line_chart(ENGLISH, [population(None, None)], name="a", title="x") == ""
    assert bar_chart(ENGLISH, ["a"], [None], name="a", title="x") == ""


def test_bars_are_as_long_as_their_values_and_an_unknown_one_is_a_dash() -> None:
    svg = bar_chart(ENGLISH, ["a", "b", "c"], [40, 10, None], name="a", title="x", strong=[0])
    long, short = (float(bar.get("width", "")) for bar in drawn(svg).iter("rect"))
    assert long == pytest.approx(4 * short, abs=0.5)
    assert texts(svg)[-2:] == ["c", "–"]


def test_names_cannot_break_out_of_a_chart() -> None:
    hostile = '</text></svg><script>alert(1)</script>"'
    for svg in (
        bar_chart(ENGLISH, [hostile], [1], name="a", title=hostile, unit=hostile),
        line_chart(ENGLISH, [Line(hostile, YEARS[:1], [1]), population(2)], name="a", title=hostile, unit=hostile),
    ):
        assert not list(drawn(svg).iter("script"))


@pytest.mark.parametrize(
    ("period", "expected"),
    [("2025", 2025), ("2025-Q3", 2025.5), ("2025-H2", 2025.5), ("2025-07", 2025.5), ("2025-01-01", 2025)],
)
def test_a_period_has_its_place_in_time(period: str, expected: float) -> None:
    assert years(period) == expected
    assert years("2024-12-31T23:59:00") < 2025


THOUSANDTHS = st.integers(-(10**10), 10**10).map(lambda number: number / 1000)


@given(THOUSANDTHS, THOUSANDTHS.map(abs))
@example(0.0, 0.0)
@example(8_025_838.0, 12.0)
def test_an_axis_has_few_round_numbers_around_its_values(low: float, span: float) -> None:
    high = low + span
    found = ticks(low, high)
    steps = {round((b - a) / (found[1] - found[0]), 3) for a, b in pairwise(found)}
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert 2 <= len(found) <= 6
    assert steps == {1.0}
    assert found[0] <= low + slack
    assert found[-1] >= high - slack


@given(st.lists(st.none() | THOUSANDTHS, min_size=1, max_size=40), st.sampled_from(["ca", "es", "en"]))
def test_every_drawing_is_within_its_frame(values: list[float | None], code: str) -> None:
    line = Line("x", [str(1990 + number) for number in range(len(values))], values)
    svg = line_chart(Language(code), [line], name="a", title="x")
    if svg:
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for stroke in strokes(svg) for x, y in stroke)
