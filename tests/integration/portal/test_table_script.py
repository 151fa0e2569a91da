"""What the script of table pages does in a browser: it sorts by value, filters, and says how many rows are left; with the keyboard, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small.browser import chromium

HEAD = '<table class="preview" data-sorts><caption>Rows</caption><thead><tr>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A page with five rows, in the order b, C, a, à, unknown, as the portal writes them in Catalan."""
    script = Path(__file__).parents[3] / "portal" / "static" / "table.js"
    rows = [("b", "9", "9,0"), ("C", "10", "10,0"), ("a", "-1.5", "-1,5"), ("à", "1000", "1.000,0"), ("–", "", "–")]
    cells = "".join(
        f'<tr><td{" data-value=" + chr(34) * 2 if name == "–" else ""}>{name}</td><td data-value="{value}">{text}</td></tr>'
        for name, value, text in rows
    )
    (tmp_path / "page.html").write_text(
        '<!doctype html><html lang="ca"><meta charset="utf-8"><title>Rows</title>'
        '<div data-filters=".preview tbody tr" data-shown="{shown} de {all} files" hidden>'
        '<label>Filtra <input type="search"></label><span role="status"></span></div>'
        f'{HEAD}<th scope="col" data-kind="text">name</th><th scope="col" data-kind="number">value</th></tr></thead>'
        f"<tbody>{cells}</tbody></table><script>{script.read_text(encoding='utf-8')}</script>",
        encoding="utf-8",
    )
    found = browser.new_page()
    found.goto((tmp_path / "page.html").as_uri())
    yield found
    found.close()


def names(page: Any) -> list[str]:
    """The rows that can be seen, by their first cell."""
    return [row.locator("td").first.inner_text() for row in page.locator("tbody tr:visible").all()]


def test_numbers_are_sorted_by_value_and_unknown_ones_are_last(page: Any) -> None:
    page.get_by_role("button", name="value").click()
    assert names(page) == ["a", "b", "C", "à", "–"]
    page.get_by_role("button", name="value").click()
    assert names(page) == ["à", "C", "b", "a", "–"]


def test_texts_are_sorted_as_the_language_does(page: Any) -> None:
    page.get_by_role("button", name="name").click()
    assert names(page) == ["a", "à", "b", "C", "–"]


def test_a_column_is_sorted_with_the_keyboard_and_its_heading_says_so(page: Any) -> None:
    page.get_by_role("button", name="value").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="value").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    assert page.get_by_role("columnheader", name="value").get_attribute("aria-sort") == "descending"
    assert page.get_by_role("columnheader", name="name").get_attribute("aria-sort") is None


def test_a_filter_shows_the_rows_with_all_its_words_and_says_how_many(page: Any) -> None:
    page.get_by_role("searchbox").fill("A")
    page.get_by_role("status").filter(has_text="2 de 5 files").wait_for()
    assert names(page) == ["a", "à"]
    page.get_by_role("searchbox").fill("a 1.000")
    page.get_by_role("status").filter(has_text="1 de 5 files").wait_for()
    assert names(page) == ["à"]
    page.get_by_role("searchbox").fill("")
    page.get_by_role("status").filter(has_text="5 de 5 files").wait_for()
    assert len(names(page)) == 5
