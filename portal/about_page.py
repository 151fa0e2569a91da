"""The page on the portal itself: how the data are made, how to reuse and cite them, accessibility, privacy, who publishes it.

What only the operator can know (`publisher.py`) is left out if it is not set; what publishers of sources ask for is declared (`rights.py`). Here:
the page. Not here: its texts (`words/*.toml`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from catalunya.io.project_folder import active
from catalunya.portal.build import File, Part
from catalunya.portal.geometry import Geometry
from catalunya.portal.language import Language
from catalunya.portal.publisher import publisher_of
from catalunya.portal.rendering import render_page
from catalunya.portal.rights import all_rights
from catalunya.portal.site import Site, feed_path

PATH = "about"
METHOD = ("read", "check", "apart", "publish")
TERMS = ("provisional", "advance", "estimate", "interpolated", "missing", "apart")


def parts(site: Site) -> Iterator[Part]:
    """One part."""
    publisher, rights = publisher_of(site.project.settings), all_rights(site)
    shapes = _attribution(site)

    def files() -> Iterable[File]:
        from catalunya.portal.descriptions.datapackage import DATA_PACKAGE
        from catalunya.portal.descriptions.datasets import CATALOG
        from catalunya.portal.descriptions.dcat import JSON_LD

        machine = {"DCAT-AP, Turtle": CATALOG, "DCAT-AP, JSON-LD": JSON_LD, "Frictionless Data Package": DATA_PACKAGE}
        for code in site.languages:
            language = Language(code)
            body = render_page(
                site,
                language,
                PATH,
                "about.html",
                title=language.t("about.title"),
                description=language.t("about.intro"),
                publisher=publisher,
                rights=rights,
                licence=site.declared.licence,
                shapes=shapes,
                machine=machine | {"Atom": feed_path(code)},
                method=METHOD,
                terms=TERMS,
            )
            yield File(site.page(code, PATH), body)

    shown = {"publisher": publisher, "rights": rights, "licence": site.declared.licence, "shapes": shapes}
    yield Part(PATH, {name: msgspec.json.encode(value).decode() for name, value in shown.items()}, files)


def _attribution(site: Site) -> str:
    """Whose the shapes of places are; "" if the project shows none."""
    return Geometry(active().folder / site.declared.geometry).attribution if site.declared.geometry else ""
