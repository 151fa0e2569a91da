"""The parts of the site that describe it for machines, and what each is made from.

They come after all pages and files, because they list them. Here: the parts. Not here: what is in each (the other modules of this folder).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from catalunya.portal.build import File, Part
from catalunya.portal.descriptions import places
from catalunya.portal.descriptions.datasets import CATALOG, contract_path, datasets, described, made_from
from catalunya.portal.descriptions.sitemap import ROBOTS, pages, robots, sitemaps
from catalunya.portal.place_map import geometry_of
from catalunya.portal.site import Site, feed_path


def parts(site: Site) -> Iterator[Part]:
    """Contracts, catalogues, feeds, and what search engines look for."""
    contracts = {asset.key: described(asset) for asset in site.published}
    yield Part("contracts", contracts, partial(_contracts, site))
    yield Part("catalog", made_from(site) | places.made_from(site), partial(_catalog, site))
    yield Part("feeds", made_from(site), partial(_feeds, site))
    yield Part("sitemap", _pages_made_from(site), partial(_sitemap, site))


def _pages_made_from(site: Site) -> dict[str, str]:
    """What decides which pages there are."""
    tables = {level.table: site.version(level.table) for level in site.declared.levels.values()}
    return {"sections": " ".join(site.sections), "tables": " ".join(asset.key for asset in site.published), **tables}


def _contracts(site: Site) -> Iterable[File]:
    from catalunya.portal.descriptions.odcs import odcs

    for asset in site.published:
        yield File(contract_path(asset.key), odcs(site, asset))


def _catalog(site: Site) -> Iterable[File]:
    from catalunya.portal.descriptions.datapackage import DATA_PACKAGE, data_package
    from catalunya.portal.descriptions.dcat import JSON_LD, catalog, json_ld, turtle

    found, geometry = [*datasets(site), *places.places_dataset(site)], geometry_of(site)
    graph = catalog(site, found, geometry.box(geometry.levels[0]) if geometry else None)
    yield File(CATALOG, turtle(graph))
    yield File(JSON_LD, json_ld(graph))
    yield File(DATA_PACKAGE, data_package(site, found))


def _feeds(site: Site) -> Iterable[File]:
    from catalunya.portal.descriptions.feed import feed

    for language in site.languages:
        yield File(feed_path(language), feed(site, language))


def _sitemap(site: Site) -> Iterable[File]:
    yield from sitemaps(site, pages(site))
    yield File(ROBOTS, robots(site))
