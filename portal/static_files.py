"""The files that every page uses: the style sheet, the scripts, the icon; and the page at the root, which leads to the first language.

`styles/*.css` become one sheet, in the order of their names. Not here: what is made from data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from catalunya.portal.build import File, Part
from catalunya.portal.rendering import STYLE, environment
from catalunya.portal.site import Site

HERE = Path(__file__).parent


def parts(site: Site) -> Iterator[Part]:
    """One part."""

    def files() -> Iterable[File]:
        styles = sorted((HERE / "styles").glob("*.css"))
        yield File(STYLE, b"\n".join(path.read_bytes() for path in styles))
        for path in sorted((HERE / "static").iterdir()):
            yield File(f"static/{path.name}", path)
        root = environment().get_template("root.html").render(languages=site.languages)
        yield File("index.html", root.encode())

    yield Part("static", {"languages": " ".join(site.languages)}, files)
