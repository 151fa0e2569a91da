"""The list of all places: each of the largest level with those in it, alphabetically, and a field that filters it.

Here: the list. Not here: the page of one place (`place_page.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from catalunya.portal import place_map
from catalunya.portal.build import File, Part
from catalunya.portal.declaration import WHOLE
from catalunya.portal.language import Language
from catalunya.portal.place_facts import Place, PlaceFacts
from catalunya.portal.rendering import relative, render_page
from catalunya.portal.site import Site, place_path

PATH = "places"


@dataclass(frozen=True, slots=True)
class Group:
    """A place and those in it, alphabetically; `place` is None for those that are in none."""

    place: Place
    children: Sequence[Place]


def parts(site: Site) -> Iterator[Part]:
    """One part; none if the project declares no places."""
    if site.declared.levels:
        tables = sorted({level.table for level in site.declared.levels.values()})
        made_from = {key: site.version(key) for key in tables} | {"geometry": place_map.version(site)}
        yield Part(PATH, made_from, lambda: _files(site))


def _files(site: Site) -> Iterable[File]:
    facts = PlaceFacts(site)
    groups = place_groups(facts)
    for code in site.languages:
        language = Language(code)
        title = language.t("place.all")
        values: dict[str, Any] = {
            "groups": groups,
            "whole": facts.at(WHOLE)[0],
            "map": map_of_links(facts, language, PATH),
        }
        yield File(site.page(code, PATH), render_page(site, language, PATH, "places.html", title=title, **values))


def place_groups(facts: PlaceFacts) -> list[Group]:
    """The places directly in the whole territory, alphabetically, each with those in it."""
    (whole,) = facts.at(WHOLE)
    return [Group(place, facts.children(place)) for place in facts.children(whole)]


def map_of_links(facts: PlaceFacts, language: Language, path: str) -> object:
    """The places directly in the whole territory as a map of links, for the page of that path; empty without geometry."""
    site, geometry = facts.site, place_map.geometry_of(facts.site)
    (whole,) = facts.at(WHOLE)
    children = facts.children(whole)
    if geometry is None or not children:
        return ""
    level, here = children[0].level, site.page(language.code, path)
    names = {each.code: each.said for each in children}
    return place_map.linked(
        geometry, level, names, lambda code: relative(here, site.page(language.code, place_path(level, code)))
    )
