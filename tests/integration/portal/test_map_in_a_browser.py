"""The map in Chromium: what readers choose is shown in map, legend and table, and kept in the address; by mouse, keyboard, finger and without scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from catalunya.portal.language import Language
from small.reading import DESKTOP, PHONE, Reader, reader

RIPOLL = "171479"
SHOWN = """() => {
  const level = document.querySelector('.level:not([display=none])').dataset.level;
  const links = document.querySelectorAll('.level:not([display=none]) a');
  const cells = document.querySelectorAll(`#table-${level} tbody td:last-child`);
  return {
    title: document.getElementById('map-title').textContent,
    column: document.querySelector(`#table-${level} thead th:last-child`).textContent,
    legend: [...document.querySelectorAll('#map-legend li:not([hidden])')].map((item) => item.textContent.trim()),
    places: [...links].map((link) => [link.getAttribute('href'), link.getAttribute('class'), link.querySelector('title').textContent]),
    cells: [...cells].map((cell) => cell.textContent),
    source: document.getElementById('map-source').getAttribute('href'),
    classes: document.getElementById('map-classes').textContent,
    scale: document.querySelector('.map-and-table').dataset.scale,
  };
}"""


def choose(found: Reader, figure: str, period: str = "") -> None:
    """Choose as a reader does, and wait until the page says what it shows."""
    news = found.page.locator("#map-news")
    before = news.text_content()
    found.page.select_option("select[name=figure]", figure)
    expect(news).not_to_have_text(before)
    if period:
        found.page.select_option("select[name=period]", period)
        found.page.wait_for_url(f"**period={period}*")


@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_another_figure_and_period_are_shown_and_announced(found: Reader, portal: Path, language: str) -> None:
    values = json.loads((portal / "data/map/growth.municipality.json").read_text())
    period = min(values["values"])
    written = Language(language)
    page = found.open(f"{language}/map.html")
    choose(found, "growth", period)
    shown = page.evaluate(SHOWN)
    assert shown["title"] == page.locator("#map-news").text_content()
    assert period in shown["title"]
    assert shown["scale"] == "change"
    known = dict(zip(values["places"], values["values"][period], strict=True))
    expected = {
        f"municipality/{code}.html": "–" if value is None else written.percent(value, 1, signed=True)
        for code, value in known.items()
    }
    assert {href: said.rpartition(": ")[2] for href, _, said in shown["places"] if href in expected} == expected
    limits = [each for each in values["limits"][period] if each]
    assert len(shown["legend"]) == len(limits) + 1
    assert shown["legend"][0].endswith(written.percent(limits[0][1], 1, signed=True))
    for width in (DESKTOP, PHONE):  # the script asks for no width: only the styles do
        found.resize(width)
        assert found.width <= width


def test_what_is_chosen_is_kept_in_the_address_also_in_another_language(found: Reader, portal: Path) -> None:
    period = min(json.loads((portal / "data/map/growth.municipality.json").read_text())["values"])
    page = found.open("ca/map.html")
    choose(found, "growth", period)
    shown = page.evaluate(SHOWN)

    page.reload()
    expect(page.locator("#map-title")).to_have_text(shown["title"])
    assert page.evaluate(SHOWN) == shown
    page.click(".languages a[hreflang=en]")
    expect(page.locator(".map-and-table")).to_have_attribute("data-scale", "change")
    assert page.locator("select[name=period]").input_value() == period


@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_back_at_the_first_figure_everything_is_as_the_page_came(found: Reader, language: str) -> None:
    page = found.open(f"{language}/map.html")
    before = page.evaluate(SHOWN)
    choose(found, "density")
    assert page.evaluate(SHOWN) != before
    choose(found, "population")
    assert page.evaluate(SHOWN) == before


def test_the_level_follows_the_figure(found: Reader) -> None:
    page = found.open("ca/map.html")
    choose(found, "services")
    assert page.locator("select[name=level]").input_value() == "comarca"
    assert page.locator("select[name=level]").is_disabled()
    assert page.evaluate(
        "[...document.querySelectorAll('.map-tables > :not([hidden])')].map((each) => each.dataset.level)"
    ) == ["comarca"]
    choose(found, "population")
    page.select_option("select[name=level]", "municipality")
    page.wait_for_url("**level=municipality*")
    assert (
        page.locator("#map .level:not([display=none]) a").count()
        == page.locator("#table-municipality tbody tr").count()
    )


def test_an_address_that_names_what_is_not_there_shows_the_first_figure(found: Reader) -> None:
    page = found.open("ca/map.html?figure=toString&level=__proto__&period=%3Cscript%3E")
    assert page.locator("select[name=figure]").input_value() == "population"
    assert page.locator("#map .level:not([display=none]) a.c4").count() > 0


def test_a_place_is_named_when_it_is_pointed_at_and_opened_when_it_is_clicked(found: Reader) -> None:
    page = found.open("ca/map.html")
    ripoll = page.locator(f'#map a[href="municipality/{RIPOLL}.html"]')
    ripoll.hover()
    said = page.locator("#map-pointed").text_content()
    assert said.startswith("Ripoll: ")
    assert page.locator("#map-mark path").count() == 1
    ripoll.click()
    page.wait_for_url(f"**/ca/municipality/{RIPOLL}.html")


def test_the_map_is_one_stop_of_the_tab_key_and_arrow_keys_go_to_the_next_place(found: Reader) -> None:
    page = found.open("ca/map.html")
    page.locator("select[name=period]").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('href')"
    first = page.evaluate(focused)
    assert first.startswith("municipality/")
    middle = """(() => { const box = document.activeElement.getBBox(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"""
    for key, axis, way in (("ArrowDown", 1, 1), ("ArrowRight", 0, 1), ("ArrowUp", 1, -1), ("ArrowLeft", 0, -1)):
        before = page.evaluate(middle)
        page.keyboard.press(key)
        assert way * (page.evaluate(middle)[axis] - before[axis]) > 0
        assert page.locator("#map-pointed").text_content() == page.evaluate("document.activeElement.textContent")
    place = page.evaluate(focused)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#map')") is None
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) == place
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ca/{place}")


def test_a_finger_names_a_place_first_and_then_opens_it(browser: Any, site_url: str) -> None:
    with reader(browser, site_url, width=PHONE, has_touch=True) as found:
        page = found.open("ca/map.html")
        ripoll = page.locator(f'#map a[href="municipality/{RIPOLL}.html"]')
        ripoll.tap()
        assert page.locator("#map-pointed").text_content().startswith("Ripoll: ")
        assert found.path == "ca/map.html"
        ripoll.tap()
        page.wait_for_url(f"**/ca/municipality/{RIPOLL}.html")


def test_the_table_is_filtered_and_sorted(found: Reader) -> None:
    page = found.open("es/map.html")
    first = page.locator("#table-municipality tbody tr:not([hidden]) th").first
    page.locator("#table-municipality thead button").last.click()
    page.locator("#table-municipality thead button").last.click()
    assert first.text_content() == "Barcelona"
    page.locator("#filter-municipality").fill("puigdalber")
    expect(page.locator("#table-municipality tbody tr:not([hidden])")).to_have_count(1)
    assert first.text_content() == "Puigdàlber"


def test_without_scripts_there_are_the_map_its_table_and_links(browser: Any, site_url: str) -> None:
    with reader(browser, site_url, java_script_enabled=False) as found:
        page = found.open("ca/map.html")
        assert not page.locator("#map-choice").is_visible()
        assert not page.locator("#map-pointed").is_visible()
        assert page.locator("#map .level a.c4").first.is_visible()
        page.locator("#table-municipality").get_by_role("link", name="Ripoll", exact=True).click()
        page.wait_for_url(f"**/ca/municipality/{RIPOLL}.html")


def test_values_that_cannot_be_loaded_are_announced_and_the_map_stays(browser: Any, site_url: str) -> None:
    with reader(browser, site_url) as found:
        page = found.open("en/map.html")
        before = page.evaluate(SHOWN)
        page.route("**/data/map/*", lambda route: route.abort())
        choose(found, "growth")
        assert page.locator("#map-news").text_content() == "The values could not be loaded. Try again later."
        assert page.evaluate(SHOWN) == before
        page.unroute("**/data/map/*")
        choose(found, "density")
        assert page.locator("#map-title").text_content().startswith("Population density")
        found.problems[:] = [each for each in found.problems if "ERR_FAILED" not in each]


def test_what_is_printed_is_the_map_with_its_legend(found: Reader) -> None:
    page = found.open("ca/map.html")
    page.emulate_media(media="print")
    assert page.locator("#map").is_visible()
    assert page.locator("#map-legend").is_visible()
    assert not page.locator("#map-choice").is_visible()
    assert not page.locator("#table-municipality").is_visible()
