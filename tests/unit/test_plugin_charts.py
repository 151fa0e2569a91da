"""The charts of the pages in Airflow's UI: what is drawn, and what a screen reader says."""

from __future__ import annotations

from catalunya.dags.plugin.charts import HEIGHT, WIDTH, Point, chart


def test_bars_are_proportional_from_zero_and_end_at_the_right() -> None:
    drawn = chart("Rows", [Point(50, "a"), Point(100, "b")])

    first, last = drawn.bars
    assert (first.height, last.height) == (HEIGHT / 2, HEIGHT)
    assert first.y == HEIGHT / 2
    assert first.x + first.width < last.x < last.x + last.width <= WIDTH
    assert (first.newest, last.newest) == (False, True)


def test_the_chart_is_also_one_sentence() -> None:
    failed = Point(0, "failed", failed=True)
    drawn = chart("Rows", [Point(1200, "a"), failed, Point(1000, "b")])

    assert drawn.alternative == (
        "Rows of the last 2 materializations: between 1,000 and 1,200, the newest 1,000, 1 failed attempt in between."
    )
    assert (drawn.newest, drawn.span, drawn.scale) == ("1,000", "last 3", "0 to 1,200")


def test_a_failed_attempt_is_drawn_over_the_whole_height_and_counts_for_no_scale() -> None:
    drawn = chart("Rows", [Point(10, "a"), Point(999, "failed", failed=True)])

    assert [bar.height for bar in drawn.bars] == [HEIGHT, HEIGHT]
    assert [bar.failed for bar in drawn.bars] == [False, True]
    assert drawn.scale == "0 to 10"


def test_nothing_is_drawn_for_zero_and_something_for_the_smallest_value() -> None:
    drawn = chart("Quarantined rows", [Point(0, "a"), Point(1, "b"), Point(1_000_000, "c")])

    none, little, all_of_it = (bar.height for bar in drawn.bars)
    assert none == 0
    assert 0 < little < all_of_it == HEIGHT


def test_a_table_that_was_never_made_has_an_empty_chart() -> None:
    drawn = chart("Rows", [])

    assert drawn.bars == ()
    assert drawn.alternative == "Rows: no materialization yet."


def test_a_thousand_bars_stay_within_the_chart() -> None:
    drawn = chart("Rows", [Point(number, "") for number in range(1000)])

    assert min(bar.x for bar in drawn.bars) >= 0
    assert max(bar.x + bar.width for bar in drawn.bars) <= WIDTH
