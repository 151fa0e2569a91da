"""The home page: what there is, how fresh it is, search, entry by place and by subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalunya.assets.graph.titles import PROJECT, title_of
from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.rendering import render_page
from catalunya.portal.site import HOME, Site


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        for code in site.languages:
            language = Language(code)
            title = title_of(PROJECT, code)
            yield File(site.page(code, HOME), render_page(site, language, HOME, "home.html", title=title))

    yield Part("home", {asset.key: site.version(asset.key) for asset in site.published}, files)
