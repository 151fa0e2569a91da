"""The files that every page uses: the style sheet, the scripts, the icon; the page at the root, which leads to the first language; and the
page that is shown in place of one that does not exist.

`styles/*.css` become one sheet, in the order of their names. Not here: what is made from data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from catalunya.portal.build import File, Part
from catalunya.portal.language import Language
from catalunya.portal.rendering import STYLE, environment
from catalunya.portal.site import Site

HERE = Path(__file__).parent
MISSING = "404.html"
"""Served at any address, so that it links to whole addresses and has no style."""


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        styles = sorted((HERE / "styles").glob("*.css"))
        yield File(STYLE, b"\n".join(path.read_bytes() for path in styles))
        for path in sorted((HERE / "static").iterdir()):
            yield File(f"static/{path.name}", path)
        root = environment().get_template("root.html").render(languages=site.languages)
        yield File("index.html", root.encode())
        missing = environment().get_template("404.html").render(site=site, languages=[*map(Language, site.languages)])
        yield File(MISSING, missing.encode())

    yield Part("static", {"languages": " ".join(site.languages), "base": site.base}, files)
