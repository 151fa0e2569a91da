"""What must be said of a table by those who reuse it: the licence of the site, and what the publishers of its sources ask for.

Here: which rights statements a table has, from where its sources are read (`assets/portal.toml`, `[rights.NAME]`). Not here: their texts
(`assets/titles.toml`), how pages and catalogues show them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from catalunya.assets.graph.spec import Asset, Layer
from catalunya.assets.graph.titles import title_of
from catalunya.io.base_url import host_of
from catalunya.portal.site import Site


@dataclass(frozen=True, slots=True)
class RightsStatement:
    """What one publisher asks for. `url`: its terms of use."""

    name: str
    url: str

    def text(self, language: str) -> str:
        """The statement in a language."""
        return title_of(f"rights.{self.name}", language)


def rights_of(site: Site, asset: Asset) -> tuple[RightsStatement, ...]:
    """The rights statements of a table, in the order of the declaration: one for each publisher with data in it; none for a calendar."""
    return _of(site, sources_of(site, asset))


def all_rights(site: Site) -> tuple[RightsStatement, ...]:
    """The rights statements of all tables that have a page."""
    return _of(site, (source for asset in site.published for source in sources_of(site, asset)))


def sources_of(site: Site, asset: Asset) -> tuple[Asset, ...]:
    """The landing tables that a table is made from, directly or not, in dependency order."""
    found = site.graph.ancestors(asset.key) | {asset.key}
    return tuple(each for each in site.graph if each.key in found and each.layer is Layer.LANDING)


def _of(site: Site, sources: Iterable[Asset]) -> tuple[RightsStatement, ...]:
    hosts = {host_of(source.portal) for source in sources if source.portal}
    return tuple(
        RightsStatement(name, rights.url)
        for name, rights in site.declared.rights.items()
        if hosts.intersection(rights.hosts)
    )
