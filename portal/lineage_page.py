"""The lineage page: which table is made from which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site

PATH = "lineage"


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        for code in site.languages:
            language = Language(code)
            yield File(
                site.page(code, PATH),
                render_page(site, language, PATH, "lineage.html", title=language.t("lineage.title")),
            )

    yield Part(PATH, {}, files)
