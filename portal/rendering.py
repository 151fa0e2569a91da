"""HTML from templates (jinja2), which know the language, the page they are on, and how to link from it.

Every value is escaped, whatever it comes from; an address from outside is a link only if it is http(s) or mailto. Here: the environment, and one
page. Not here: what pages show (`*_page.py`).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.runtime import Context
from markupsafe import Markup, escape

from catalunya.assets.graph.titles import PROJECT
from catalunya.io.safe_text import legible, safe_text
from catalunya.portal.language import Language
from catalunya.portal.prose import first_sentence, inline_prose, prose
from catalunya.portal.site import HOME, Site, feed_path, place_path, table_path

TEMPLATES = Path(__file__).parent / "templates"
STYLE, ICON = "static/site.css", "static/icon.svg"
POLICY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
)


class _Context(Context):
    """What a template calls gets its arguments only. Jinja looks first whether it wants the context too, which none of ours does; that takes
    longer than most calls, of which the page of a place has a hundred."""

    def call(
        self,
        called: Callable[..., Any],
        /,
        *arguments: Any,
        _loop_vars: Any = None,
        _block_vars: Any = None,
        **named: Any,
    ) -> Any:
        return called(*arguments, **named)


@cache
def environment() -> Environment:
    """The templates, with what they may call beside what a page is given."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.context_class = _Context
    found.filters |= {"clean": safe_text, "legible": legible, "web_address": web_address}
    found.filters |= {"prose": prose, "inline_prose": inline_prose, "first_sentence": first_sentence}
    found.globals["table_rows"] = table_rows
    del found.filters["safe"]  # it would switch escaping off
    return found


def web_address(url: str | None) -> str:
    """The address if a browser may follow it; empty for any other, such as javascript:…"""
    try:
        return url if url and urlsplit(url).scheme in {"http", "https", "mailto"} else ""
    except ValueError:  # not even an address: http://[
        return ""


def relative(here: str, target: str) -> str:
    """The address of one file of the site as another one links to it."""
    return _relative(posixpath.dirname(here), target)


@lru_cache(100_000)
def _relative(folder: str, target: str) -> str:
    return posixpath.relpath(target, folder)


def table_rows(rows: Sequence[Sequence[str]]) -> Markup:
    """Rows of a table of numbers, which all have as many cells; the first names its row. Half of a place's page is such rows: a template
    takes four times as long."""
    # No text on a page has a NUL, so that all cells can be escaped at once.
    cells = iter(str(escape("\0".join(cell for row in rows for cell in row))).split("\0"))
    lines = (
        f'<tr><th scope="row">{next(cells)}</th>{"".join(f"""<td class="number">{next(cells)}</td>""" for _ in row[1:])}</tr>'
        for row in rows
    )
    return Markup("\n".join(lines))  # noqa: S704  every cell is escaped


def embedded_json(value: object) -> Markup:
    """A value as JSON inside `<script type="application/ld+json">`, from which no text of the value can break out."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704  nothing is left to escape


def render_page(
    site: Site, language: Language, path: str, template: str, *, title: str, description: str = "", **values: Any
) -> bytes:
    """One page (`path` without language and ending) in one language, as the bytes of its file.

    `title` and `description` are the page's own, in its language. What each template gets besides `values`: `t`, `lang` (the Language), `link`
    (another page), `file` (any other file of the site), `table_link`, `place_link`, `title_of`.
    """
    here = site.page(language.code, path)
    folder = posixpath.dirname(here)

    def file(target: str) -> str:
        return _relative(folder, target)

    def link(target: str, code: str = language.code) -> str:
        return file(site.page(code, target))

    shared: Mapping[str, Any] = {
        "site": site,
        "lang": language,
        "t": language.t,
        "path": path,
        "here": here,
        "title": title,
        "description": description,
        "file": file,
        "link": link,
        "home": link(HOME),
        "table_link": lambda key: link(table_path(key)),
        "place_link": lambda level, code: link(place_path(level, code)),
        "title_of": lambda name: site.title_of(name, language.code),
        "project_title": site.title_of(PROJECT, language.code),
        "languages": [Language(code) for code in site.languages],
        "policy": POLICY,
        "style": file(STYLE),
        "icon": file(ICON),
        "feed": file(feed_path(language.code)),
        "embedded_json": embedded_json,
        "legible": legible,
    }
    return environment().get_template(template).render(**shared, **values).encode()
