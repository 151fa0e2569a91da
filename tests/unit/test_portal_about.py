"""The page on the portal itself: what the operator has set is on it, what is not set is left out, and it moves with what it shows."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from catalunya.assets.record.project import Project
from catalunya.io.environment import Settings
from catalunya.ops.watching.findings import Board
from catalunya.portal.about_page import parts
from catalunya.portal.declaration import Declaration, Licence, declaration
from catalunya.portal.language import words
from catalunya.portal.rights import all_rights
from catalunya.portal.site import Site, read_site
from small.shops import declare

SET = {
    "publisher": "Ajuntament d'<b>Enlloc</b> & Cia",
    "publisher_dir3": "A09006152",
    "publisher_email": "dades@example.org",
    "publisher_phone": "+34 930 000 000",
    "publisher_url": "https://example.org/",
}


def site_of(settings: Settings, compiled: Path, **changes: Any) -> Site:
    return read_site(Project(settings.model_copy(update={"cache": compiled} | changes)))


def html(site: Site, language: str = "ca") -> str:
    (part,) = parts(site)
    (found,) = [file for file in part.files() if file.path == f"{language}/about.html"]
    assert isinstance(found.body, bytes)
    return found.body.decode()


@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_what_the_operator_has_not_set_is_left_out(settings: Settings, compiled: Path, language: str) -> None:
    page = html(site_of(settings, compiled), language)
    assert 'id="contact"' not in page
    assert "mailto:" not in page
    assert str(words(language)["about.accessibility_report"]) not in unescape(page)
    assert "DIR3" not in page


@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_the_publisher_and_how_to_reach_it_are_on_the_page(settings: Settings, compiled: Path, language: str) -> None:
    page = html(site_of(settings, compiled, **SET), language)
    assert "Ajuntament d&#39;&lt;b&gt;Enlloc&lt;/b&gt; &amp; Cia" in page
    assert page.count('href="mailto:dades@example.org"') == 2, "as contact, and to report what is hard to use"
    assert 'href="tel:+34930000000"' in page
    assert 'href="https://example.org/"' in page
    assert "A09006152" in page


@pytest.mark.parametrize("language", ["ca", "es", "en"])
def test_the_statements_that_the_publishers_of_the_sources_ask_for_are_on_the_page(
    settings: Settings, compiled: Path, language: str
) -> None:
    site = site_of(settings, compiled)
    text = unescape(html(site, language))
    assert all_rights(site)
    for each in all_rights(site):
        assert each.text(language) in text
    assert site.declared.licence.url in text


def test_a_project_of_another_region_without_a_declaration_has_the_page(settings: Settings, tmp_path: Path) -> None:
    project = Project(settings, declare(tmp_path / "source")[1])
    page = html(Site(project, Declaration(), project.state(), Board(), "http://localhost"), "en")
    assert "CC BY 4.0" in page
    assert "Boundaries on maps" not in page


def test_an_address_that_no_browser_should_follow_is_no_link(settings: Settings, tmp_path: Path) -> None:
    project = Project(settings.model_copy(update={"publisher_url": "javascript:alert(1)"}), declare(tmp_path / "s")[1])
    declared = Declaration(licence=Licence(name='"><img onerror=x>', url="javascript:alert(2)"))
    page = html(Site(project, declared, project.state(), Board(), "http://localhost"), "en")
    assert not re.search(r'href="javascript:', page)
    assert "<img" not in page


@pytest.mark.parametrize("name", SET)
def test_the_page_moves_with_each_setting_of_the_publisher(settings: Settings, compiled: Path, name: str) -> None:
    versions = [parts(site_of(settings, compiled, **change)) for change in ({}, {}, {name: SET[name]})]
    before, again, after = (dict(next(each).made_from) for each in versions)
    assert before == again != after


def test_the_page_moves_with_the_licence(settings: Settings, compiled: Path) -> None:
    site = site_of(settings, compiled)
    found = declaration(site.graph)
    other = Site(site.project, Declaration(licence=Licence(name="ODbL")), site.state, Board(), site.base)
    assert dict(next(parts(site)).made_from)["licence"] != dict(next(parts(other)).made_from)["licence"]
    assert found.licence == site.declared.licence
