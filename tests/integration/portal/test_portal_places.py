"""The pages of all places, as built from the mock's data: all are there, small, and answer what people ask first."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from catalunya.portal.rendering import STYLE

BUDGET = 100_000
"""Bytes of a page of a municipality with all that it loads, not compressed."""
RIPOLL, PUIGDALBER = "municipality/171479.html", "municipality/081748.html"
TAG = re.compile(r"<[^>]+>")


def words(page: Path) -> str:
    main = page.read_text(encoding="utf-8").partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(TAG.sub(" ", main)).split())


def test_every_place_has_a_page_in_each_language(portal: Path) -> None:
    for language in ("ca", "es", "en"):
        counts = [
            len(list((portal / language / level).glob("*.html"))) for level in ("municipality", "comarca", "whole")
        ]
        assert counts == [947, 43, 1], language


def test_a_page_of_a_municipality_is_small_with_all_that_it_loads(portal: Path) -> None:
    pages = sorted((portal / "ca/municipality").glob("*.html"), key=lambda path: path.stat().st_size)
    largest = pages[-1].read_text(encoding="utf-8")
    loaded = {STYLE, *re.findall(r'<image href="\.\./\.\./([^"]+)"', largest), "static/icon.svg"}
    assert len(loaded) == 3
    assert "<script src" not in largest
    assert len(largest.encode()) + sum((portal / path).stat().st_size for path in loaded) < BUDGET


@pytest.mark.parametrize(
    ("language", "expected"),
    [("ca", "respecte al 2024"), ("es", "respecto a 2024"), ("en", "compared with 2024")],
)
def test_how_the_population_of_ripoll_changed(language: str, expected: str, portal: Path) -> None:
    shown = words(portal / language / RIPOLL)
    assert expected in shown
    assert shown.index("Ripoll") < shown.index(expected) < shown.index("2012")


def test_what_is_known_of_a_place_that_is_only_a_point(portal: Path) -> None:
    page = portal / "ca" / PUIGDALBER
    shown = words(page)
    assert "Puigdàlber" in shown
    assert "Alt Penedès" in shown
    assert "habitants" in shown
    assert page.read_text(encoding="utf-8").count('<circle class="here"') == 1


def test_names_are_written_as_they_are_said(portal: Path) -> None:
    assert "<h1>la Bisbal d&#39;Empordà</h1>" in (portal / "ca/municipality/170221.html").read_text(encoding="utf-8")


def test_no_figure_is_without_a_name_a_unit_or_words_for_its_parts(portal: Path) -> None:
    for page in ("ca/comarca/31.html", "es/whole/index.html", f"en/{RIPOLL}"):
        assert not re.search(r"\b(figure|unit|value|level|levels|neighbors|note)\.\w", words(portal / page)), page
