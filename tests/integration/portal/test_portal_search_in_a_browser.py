"""Searching places and tables on the home page and in the list of places, in Chromium: as people type, not as names are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small.browser import chromium, window


@pytest.fixture(scope="module")
def page(portal: Path) -> Iterator[Any]:
    """A page of the browser. The site is opened from its folder."""
    with chromium() as browser, window(browser, portal.as_uri()) as found:
        yield found.page
        assert found.said == []


@pytest.fixture
def home(page: Any, portal: Path) -> Any:
    page.goto((portal / "ca/index.html").as_uri())
    return page


@pytest.fixture
def places(page: Any, portal: Path) -> Any:
    page.goto((portal / "ca/places.html").as_uri())
    return page


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("ripoll", "Ripoll"),
        ("RIPOLL", "Ripoll"),
        ("l hospitalet", "l'Hospitalet de Llobregat"),
        ("bisbal emporda", "la Bisbal d'Empordà"),
        ("puigdalber", "Puigdàlber"),
        ("com ha canviat la població de Ripoll", "Ripoll"),
        ("PIB", "PIB per sector i trimestre"),
    ],
)
def test_what_is_typed_is_found_first(typed: str, first: str, home: Any) -> None:
    home.get_by_role("searchbox").fill(typed)
    assert home.locator("#find-found a").first.inner_text() == first


def test_enter_opens_what_was_found_first(home: Any) -> None:
    home.get_by_role("searchbox").fill("puigdalber")
    home.keyboard.press("Enter")
    home.wait_for_url("**/ca/municipality/081748.html")
    assert home.locator("h1").inner_text() == "Puigdàlber"


def test_arrows_walk_through_what_was_found(home: Any) -> None:
    home.get_by_role("searchbox").fill("sant")
    home.keyboard.press("ArrowDown")
    home.keyboard.press("ArrowDown")
    second = home.locator("#find-found a").nth(1)
    assert second.evaluate("link => link === document.activeElement")


def test_nothing_found_is_said(home: Any) -> None:
    home.get_by_role("searchbox").fill("xyzzy")
    assert "No hem trobat res" in home.get_by_role("status").inner_text()


def test_the_list_of_places_shows_only_what_fits(places: Any) -> None:
    places.get_by_role("searchbox").fill("bisbal")
    shown = [each.inner_text() for each in places.locator("#places li:visible").all()]
    assert sorted(shown) == ["la Bisbal d'Empordà", "la Bisbal de Montsant", "la Bisbal del Penedès"]
    places.get_by_role("searchbox").fill("")
    assert places.locator("#places li:visible").count() == 947


def test_a_comarca_is_found_with_all_its_municipalities(places: Any) -> None:
    places.get_by_role("searchbox").fill("ripolles")
    assert "Ripoll" in [each.inner_text() for each in places.locator("#places li:visible").all()]
