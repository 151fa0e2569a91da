"""A page for each place of each level: what is known of it now and over time, where it is, and what it was.

Here: the parts (one for each level), and what a page shows. Not here: the values (`place_facts.py`), how one figure is written
(`shown_figures.py`), maps (`place_map.py`), the list of all places (`places_page.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from catalunya.assets.graph.titles import title_of
from catalunya.portal import place_map
from catalunya.portal.build import File, Part
from catalunya.portal.declaration import WHOLE
from catalunya.portal.figures import above
from catalunya.portal.forks import cores, in_processes
from catalunya.portal.language import Language
from catalunya.portal.place_facts import Place, PlaceFacts
from catalunya.portal.rendering import relative, render_page
from catalunya.portal.shown_figures import ShownFigures
from catalunya.portal.site import Site, place_path

MANY = 100
"""Places whose pages are worth a second process."""


def parts(site: Site) -> Iterator[Part]:
    """One part for each level, and the picture that their maps share; none if the project declares no places."""
    if not site.declared.levels:
        return
    facts = PlaceFacts(site)
    geometry = place_map.geometry_of(site)
    shapes = {"geometry": place_map.version(site)}
    if geometry:
        yield Part("outlines", shapes, partial(place_map.outlines, site, geometry))
    for level in facts.levels:
        made_from = {key: site.version(key) for key in sorted(tables_of(site, level))}
        yield Part(f"places-{level}", made_from | shapes, partial(_files, facts, level))


def tables_of(site: Site, level: str) -> set[str]:
    """The tables that the pages of a level show something of."""
    below = [each for each in site.declared.levels if above(site, each)[0] == level]
    levels = {level, *below, *(above(site, level) if level != WHOLE else ())}
    of_levels = {site.declared.levels[each].table for each in levels if each != WHOLE}
    series = [series for figure in site.declared.figures.values() for series in figure.levels.items()]
    return of_levels | {each.table for at, each in series if at in levels}


def _files(facts: PlaceFacts, level: str) -> Iterable[File]:
    shown = [ShownFigures(facts, Language(code)) for code in facts.site.languages]

    def pages(places: Sequence[Place]) -> Iterator[File]:
        for place in places:
            for figures in shown:
                yield _page(facts, figures, figures.language, place)

    places = facts.at(level)
    # The first page reads whatever the others show, before they are made in processes that cannot read.
    yield from pages(places[:1])
    together: dict[str, list[Place]] = {}
    for place in places[1:]:
        together.setdefault(place.parent, []).append(place)  # they share what is written of the place above
    yield from in_processes(pages, list(together.values()), cores() if len(places) > MANY else 1)


def _page(facts: PlaceFacts, figures: ShownFigures, language: Language, place: Place) -> File:
    site, path = facts.site, place_path(place.level, place.code)
    name, higher = place.said_in(language.code), facts.above(place)
    own = figures.of(place)
    values: dict[str, Any] = {
        "place": place,
        "trail": higher[::-1],
        "cards": [each for each in own if each.figure.key],
        "charts": [each for each in own if each.over_time or each.parts],
        "unknown": figures.unknown(place),
        "context": figures.context(place),
        "comparisons": list(figures.comparisons(place)),
        "history": facts.versions(place),
        "moves": facts.moves(place),
        "children": figures.children(place),
        "facts": facts,
        "once": figures.once,
        "data": _linked_data(site, language, place, higher),
        **_maps(facts, language, place, higher),
    }
    key = values["cards"][0] if values["cards"] else None
    title = name if place.level == WHOLE else f"{name} · {title_of(f'level.{place.level}', language.code)}"
    description = language.t("place.about", name=name, facts=f" {key.title}: {key.value} {key.unit}." if key else "")
    body = render_page(site, language, path, "place.html", title=title, description=description, name=name, **values)
    return File(site.page(language.code, path), body)


def _maps(facts: PlaceFacts, language: Language, place: Place, higher: Sequence[Place]) -> Mapping[str, Any]:
    """The maps of a place, and the places next to it."""
    site, t = facts.site, language.t
    geometry = place_map.geometry_of(site)
    if geometry is None or place.level not in {*geometry.levels, WHOLE}:
        return {"maps": [], "neighbors": []}
    here = site.page(language.code, place_path(place.level, place.code))
    name, children = place.said_in(language.code), facts.children(place)

    def address(level: str, code: str) -> str:
        return relative(here, site.page(language.code, place_path(level, code)))

    maps = []
    if place.level != WHOLE:
        where = t("place.where_in", name=name, around=higher[-1].said_in(language.code))
        picture = relative(here, place_map.OUTLINES)
        maps.append(place_map.in_territory(site, geometry, place, higher, picture, where))
    if children:
        lower = children[0].level
        names = {each.code: each.said for each in children}
        maps.append(place_map.linked(geometry, lower, names, lambda code: address(lower, code)))
    elif higher and higher[0].level != WHOLE:
        codes = [each.code for each in facts.children(higher[0])]
        where = t("place.where_in", name=name, around=higher[0].said)
        maps.append(place_map.among(geometry, place.level, codes, place.code, where))
    next_to = geometry.neighbors(place.level, place.code) if place.level != WHOLE else ()
    near = [found for code in next_to if (found := facts.place(place.level, code))]
    return {
        "maps": [each for each in maps if each],
        "neighbors": sorted(near, key=lambda each: (each.folded, each.code)),
    }


def _linked_data(site: Site, language: Language, place: Place, higher: Sequence[Place]) -> Mapping[str, Any]:
    """The place in the vocabulary of schema.org."""

    def address(each: Place) -> str:
        return site.absolute(site.page(language.code, place_path(each.level, each.code)))

    declared = site.declared.levels.get(place.level)
    found: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": declared.schema_type if declared else "AdministrativeArea",
        "name": place.said_in(language.code),
        "url": address(place),
    }
    if declared:
        found["identifier"] = {"@type": "PropertyValue", "propertyID": declared.code, "value": place.code}
    if place.name != found["name"]:
        found["alternateName"] = place.name
    if higher:
        found["containedInPlace"] = [
            {"@type": "Place", "name": each.said_in(language.code), "url": address(each)} for each in higher
        ]
    if place.longitude is not None and place.latitude is not None:
        found["geo"] = {"@type": "GeoCoordinates", "longitude": place.longitude, "latitude": place.latitude}
    return found
