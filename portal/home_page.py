"""The home page: what there is, how fresh it is, search, entry by place and by subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from catalunya.assets.graph.spec import Layer
from catalunya.assets.graph.titles import PROJECT, title_of
from catalunya.ops.watching.consumers import Situation
from catalunya.portal import place_map, quality
from catalunya.portal.build import File, Part
from catalunya.portal.declaration import WHOLE
from catalunya.portal.language import Language
from catalunya.portal.place_facts import PlaceFacts
from catalunya.portal.places_page import map_of_links, place_groups
from catalunya.portal.rendering import relative, render_page
from catalunya.portal.site import HOME, Site, place_path, table_path


def parts(site: Site) -> Iterator[Part]:
    """One part."""
    now = quality.now(site)
    marts = [each for each in quality.tables(site, now) if each.asset.layer is Layer.MARTS]
    tables = {each.key: f"{each.updated_at} {each.has_problem} {each.is_unreadable}" for each in marts}
    levels = {level.table: site.version(level.table) for level in site.declared.levels.values()}
    shown = {"notices": str(len(now.notices)), "checked": str(now.is_checked), "geometry": place_map.version(site)}
    yield Part("home", tables | levels | shown, lambda: _files(site, now, marts))


def _files(site: Site, now: Situation, marts: Sequence[quality.TableQuality]) -> Iterable[File]:
    facts = PlaceFacts(site)
    groups = place_groups(facts) if site.declared.levels else []
    for code in site.languages:
        language = Language(code)
        values: dict[str, Any] = {
            "groups": groups,
            "counts": {level: len(facts.at(level)) for level in site.declared.levels},
            "situation": now,
            "subjects": {
                name: [each for each in marts if _is_of(site, name, each.key)] for name in [*site.declared.subjects, ""]
            },
            "index": search_index(facts, language),
            "map": map_of_links(facts, language, HOME) if groups else "",
        }
        body = render_page(
            site,
            language,
            HOME,
            "home.html",
            title=title_of(PROJECT, code),
            description=language.t("home.lead"),
            **values,
        )
        yield File(site.page(code, HOME), body)


def _is_of(site: Site, subject: str, key: str) -> bool:
    return site.declared.subject_of(key, site.graph) == subject


def search_index(facts: PlaceFacts, language: Language) -> Sequence[tuple[str, str, str]]:
    """What can be found by name from the home page: the name, what it is, its address."""
    site, code = facts.site, language.code
    here = site.page(code, HOME)

    def address(path: str) -> str:
        return relative(here, site.page(code, path))

    found = []
    for level in reversed(facts.levels) if site.declared.levels else ():
        kind = title_of(f"level.{level}", code)
        for place in facts.at(level):
            parents = [each.said_in(code) for each in facts.above(place) if each.level != WHOLE]
            detail = " · ".join([kind, *parents]) if level != WHOLE else ""
            found.append((place.said_in(code), detail, address(place_path(level, place.code))))
    tables = [
        (title_of(asset.key, code), language.t("home.table"), address(table_path(asset.key))) for asset in site.marts
    ]
    return [*found, *tables]
