"""The quality page: what was refused, set apart or is overdue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site

PATH = "quality"


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        for code in site.languages:
            language = Language(code)
            yield File(
                site.page(code, PATH),
                render_page(site, language, PATH, "quality.html", title=language.t("quality.title")),
            )

    yield Part(PATH, {asset.key: site.version(asset.key) for asset in site.graph}, files)
