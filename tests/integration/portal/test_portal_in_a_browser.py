"""The portal as readers meet it, in Chromium: three questions of a new user, and what every kind of page must keep.

How did the population of Ripoll change? What is known of Puigdàlber? Give me the GDP table in Excel and in DuckDB. Each from the home page, by what a page
offers to click and to type, in each language, on a desktop or on a phone. And every kind of page: nothing that axe-core objects to, nothing from any other
host, nothing on the console, nothing to scroll sideways.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from catalunya.assets.graph.titles import title_of
from catalunya.cdk import node
from catalunya.io.errors import ConfigurationError
from catalunya.portal.language import Language
from small.reading import DESKTOP, PHONE, Reader, reader

LANGUAGES = ("ca", "es", "en")
WALKS = [("ca", DESKTOP), ("es", PHONE), ("en", DESKTOP)]
RIPOLL, PUIGDALBER = "171479", "081748"
GDP = "marts.fact_gdp_quarterly"
BUDGET = 100_000
"""Of a municipality's page, in bytes, as it is served: with everything that it loads."""
KINDS = (
    "index",
    "places",
    "tables",
    "map",
    "quality",
    "lineage",
    "about",
    f"municipality/{PUIGDALBER}",
    "comarca/31",
    "whole/index",
    f"table/{GDP}",
    "table/staging.population",
)
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
CONTRAST = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
    "resultTypes": ["violations"],
}
# Colors are the same in each language: to compute them takes half of the time.
IN_ANOTHER_LANGUAGE = RULES | {"rules": {"color-contrast": {"enabled": False}}}
# Of rows, links and shapes, which a template writes alike, the first dozen: axe-core takes seconds for thousands of elements.
THIN = """() => {
  for (const parent of document.querySelectorAll('svg, svg g, tbody, ul, #places')) {
    [...parent.children].slice(12).forEach((child) => child.remove());
  }
}"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which finds what keeps people with disabilities from using a page."""
    try:
        return (node.modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    except ConfigurationError as error:
        pytest.skip(f"axe-core is not installed: {error}")


def violations(page: Any, axe: str, rules: dict[str, Any]) -> list[str]:
    page.evaluate(THIN)
    page.evaluate(axe)
    found = page.evaluate("(rules) => axe.run(document, rules).then((found) => found.violations)", rules)
    return [
        f"{each['id']}: {node['target']} {node.get('failureSummary', '')}"
        for each in found
        for node in each["nodes"][:3]
    ]


def population(portal: Path, code: str) -> dict[str, float]:
    """The population of a municipality by year, as the site's data have it."""
    table = portal / "data/marts/agg_population_trends_yearly/latest.parquet"
    rows = pl.read_parquet(table).filter(pl.col("municipality_id") == code).sort("year_number")
    return {str(year): value for year, value in rows.select("year_number", "population").iter_rows()}


def look_up(found: Reader, language: str, typed: str) -> None:
    """From the home page, to the first thing found by what is typed."""
    page = found.open(f"{language}/index.html")
    page.locator("#find").press_sequentially(typed)
    page.locator("#find-found a").first.click()
    page.wait_for_load_state()


@pytest.mark.parametrize(("language", "width"), WALKS)
def test_how_did_the_population_of_ripoll_change(found: Reader, portal: Path, language: str, width: int) -> None:
    written, known = Language(language), population(portal, RIPOLL)
    first, last = min(known), max(known)
    found.resize(width)
    look_up(found, language, "ripoll")
    page = found.page
    assert found.path == f"{language}/municipality/{RIPOLL}.html"
    assert page.locator("h1").text_content() == "Ripoll"
    card = page.locator(
        ".cards li", has=page.get_by_role("heading", name=title_of("figure.population", language), exact=True)
    )
    said = card.first.inner_text()
    assert written.number(known[last]) in said
    assert last in said
    before = sorted(known)[-2]
    assert written.signed(known[last] - known[before]) in said, "the change since the year before"
    chart = page.locator("#figure-population svg[role=img]").first
    assert chart.is_visible()
    assert chart.get_attribute("aria-labelledby") or chart.get_attribute("aria-label")
    numbers = page.locator("#figure-population table").first
    if not numbers.is_visible():
        page.locator("#figure-population summary").first.click()
    assert numbers.is_visible()
    text = numbers.inner_text()
    assert all(year in text and written.number(known[year]) in text for year in (first, last))
    assert found.width <= width


@pytest.mark.parametrize(("language", "width"), WALKS)
def test_what_is_known_of_puigdalber(found: Reader, portal: Path, language: str, width: int) -> None:
    places = json.loads((portal / "data/places/municipality.geojson").read_text(encoding="utf-8"))["features"]
    about = next(each["properties"] for each in places if each["id"] == PUIGDALBER)
    written = Language(language)
    found.resize(width)
    look_up(found, language, "puigdalber")  # a reader may type no accent
    page = found.page
    assert found.path == f"{language}/municipality/{PUIGDALBER}.html"
    cards = page.locator(".cards").first.inner_text()
    assert written.percent(about["growth"], 1, signed=True) in cards
    for figure, digits in {"population": 0, "density": 1, "area": 1}.items():
        assert title_of(f"figure.{figure}", language) in cards
        assert written.number(about[figure], digits) in cards
    assert page.locator("main svg").first.is_visible(), "a map that shows where it is"
    comarca = page.locator(f"main a[href*='comarca/{about['parent']}.html']").first
    assert comarca.text_content() == "Alt Penedès"
    assert page.locator("#neighbors + ul a").count() > 0
    assert found.width <= width
    comarca.click()
    page.wait_for_url(f"**/{language}/comarca/{about['parent']}.html")
    assert page.locator(f"main a[href*='{PUIGDALBER}.html']").first.text_content() == "Puigdàlber"


@pytest.mark.parametrize(("language", "width"), WALKS)
def test_the_gdp_table_in_excel_and_in_duckdb(
    found: Reader, site_url: str, portal: Path, tmp_path: Path, language: str, width: int
) -> None:
    found.resize(width)
    page = found.open(f"{language}/index.html")
    page.locator("header nav").first.get_by_role(
        "link", name=Language(language).t("common.section_tables"), exact=True
    ).click()
    page.wait_for_url(f"**/{language}/tables.html")
    page.locator("main").get_by_role("link", name=title_of(GDP, language), exact=True).first.click()
    page.wait_for_url(f"**/{language}/table/{GDP}.html")
    assert page.locator("h1").text_content() == title_of(GDP, language)
    rows = pl.read_parquet(portal / "data/marts/fact_gdp_quarterly/latest.parquet").height
    with page.expect_download() as started:
        page.locator("#download + ul").get_by_role("link", name="Excel", exact=True).click()
    workbook = tmp_path / started.value.suggested_filename
    started.value.save_as(workbook)
    assert workbook.suffix == ".xlsx"
    with zipfile.ZipFile(workbook) as parts:
        sheets = [parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/worksheets/sheet")]
    assert max(sheet.count("<row ") for sheet in sheets) == rows + 1

    snippet = page.get_by_role("region", name="DuckDB").inner_text()
    address = re.search(r"https?://[^/]+/(data/[^']+)", snippet)
    assert address
    # Reading it over HTTP needs an extension that DuckDB downloads: the statement is run on the file that is at this address.
    assert len(duckdb.sql(snippet.replace(address[0], str(portal / address[1]))).fetchall()) == rows
    assert page.request.get(f"{site_url}/{address[1]}").body() == (portal / address[1]).read_bytes()
    assert found.width <= width


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_and_a_page_scrolls_only_down(found: Reader, axe: str, kind: str) -> None:
    for language in LANGUAGES:
        page = found.open(f"{language}/{kind}.html")
        for width in (DESKTOP, PHONE):
            found.resize(width)
            assert found.width <= width
        assert violations(page, axe, RULES if language == "ca" else IN_ANOTHER_LANGUAGE) == []
    found.resize(DESKTOP)
    page.emulate_media(color_scheme="dark")
    assert violations(page, axe, CONTRAST) == []


def test_the_page_of_a_municipality_is_light(browser: Any, site_url: str, portal: Path) -> None:
    largest = max((portal / "ca/municipality").iterdir(), key=lambda page: page.stat().st_size)
    with reader(browser, site_url) as found:
        found.open(f"ca/municipality/{largest.name}")
        found.page.wait_for_load_state("networkidle")
        assert sum(found.transferred.values()) < BUDGET, found.transferred
        blocking = found.page.evaluate(
            "[...document.querySelectorAll('script[src]:not([defer])')].map((each) => each.src)"
        )
        assert blocking == [], "no script keeps the page from being painted"


def test_the_keyboard_reaches_the_content_and_what_has_the_focus_is_seen(found: Reader) -> None:
    page = found.open(f"ca/municipality/{RIPOLL}.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").is_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
