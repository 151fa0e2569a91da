"""The quality page: what is wrong now, what was refused or set apart, and how each table and source is, in words that every reader knows.

It is written from what the watch found (`ops/watching/consumers.py`) and from the ledger. No time of the build is on it: how old something is is
shown by its date. Here: the page. Not here: what it shows, as data (`quality.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from catalunya.assets.graph.spec import digest
from catalunya.ops.watching.consumers import Situation, texts
from catalunya.portal import quality
from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.rendering import render_page
from catalunya.portal.site import Site

PATH = "quality"


def parts(site: Site) -> Iterator[Part]:
    """One part."""
    found = quality.now(site)

    def files() -> Iterable[File]:
        tables, sources = quality.tables(site, found), quality.tables(site, found, of_sources=True)
        refusals = quality.refusals(site)
        for code in site.languages:
            language = Language(code)
            body = render_page(
                site,
                language,
                PATH,
                "quality.html",
                title=language.t("quality.title"),
                description=language.t("quality.intro"),
                found=found,
                texts={name: by_language[code] for name, by_language in texts().texts.items()},
                newest=quality.NEWEST,
                tables=tables,
                sources=sources,
                refusals=refusals,
            )
            yield File(site.page(code, PATH), body)

    yield Part(PATH, _made_from(site, found), files)


def _made_from(site: Site, found: Situation) -> dict[str, str]:
    entries = {
        asset.key: "unreadable"
        if site.state.unreadable(asset.key)
        else f"{entry.sequence}"
        if (entry := site.entry(asset.key))
        else ""
        for asset in site.graph
    }
    # Of the last look, the page shows the day only: looks are taken every ten minutes.
    day = f"{found.checked_at:%Y-%m-%d}" if found.checked_at else ""
    open_now = digest(msgspec.json.encode((found.notices, found.resolved, found.is_checked)).decode())
    words = digest(msgspec.json.encode(texts().texts).decode())
    return entries | {"findings": open_now, "texts": words, "checked": day, "refused": quality.failed_attempts(site)}
