"""The page for the people who use the published tables: what is wrong now, in their words, one page for each language.

A page needs no script and asks for nothing else; it follows the reader's light or dark setting. Here: HTML, and writing it. Not here: what is
published, and in which words (`consumers.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from html import escape
from pathlib import Path

from catalunya.assets.graph.titles import title_of
from catalunya.io.errors import UsageError
from catalunya.io.safe_text import safe_text
from catalunya.ops.watching.consumers import Notice, PageWords, Published, Situation, texts

INDEX = "index.html"
"""The page in the first language, for those who name none."""
_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --soft: #555; --back: #fff; --line: #c8c8c8; --mark: #8a3b00; --card: #fbf4ec; --link: #0b57a4 }
@media (prefers-color-scheme: dark) {
  :root { --text: #ececec; --soft: #b4b4b4; --back: #161616; --line: #4a4a4a; --mark: #ffb877; --card: #26211b; --link: #8ec2ff }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.55 system-ui, sans-serif }
header, main, footer { max-width: 52rem; margin: 0 auto; padding: 0 1rem }
header { padding-top: 1rem } main { padding-bottom: 3rem }
nav ul { display: flex; flex-wrap: wrap; gap: 1rem; padding: 0; margin: 0; list-style: none }
a { color: var(--link) } a:focus-visible { outline: 3px solid currentColor; outline-offset: 2px }
.skip { position: absolute; left: -99rem; background: var(--back); padding: .25rem } .skip:focus { left: .75rem; top: 0 }
[aria-current] { font-weight: bold; color: inherit; text-decoration: none }
h1 { line-height: 1.2; margin: 1.5rem 0 .5rem } h2 { margin-top: 2.5rem }
.soft { color: var(--soft) }
article { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--mark); padding: .25rem 1rem 1rem; margin: 1rem 0 }
h3 { margin: .75rem 0 .25rem } dt { font-weight: bold; margin-top: .5rem } dd { margin: 0 } dd ul { margin: 0; padding-left: 1.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% } caption { text-align: left; color: var(--soft); padding-bottom: .5rem }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line) } th[scope=row] { font-weight: normal }
.hit { color: var(--mark); font-weight: bold }
""".strip()


def write(folder: Path, found: Situation) -> list[Path]:
    """Write the page in every language, and the first one as the index. Readers see an old page or a new one. Raises UsageError."""
    languages = list(texts().page)
    pages = {f"{language}.html": render(found, language) for language in languages}
    pages[INDEX] = pages[f"{languages[0]}.html"]
    made = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            beside = folder / f".{name}.{os.getpid()}"
            beside.write_text(text, encoding="utf-8")
            beside.replace(folder / name)
            made.append(folder / name)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}; name another folder") from None
    return made


def render(found: Situation, language: str) -> str:
    """The page in one language."""
    words = texts().page[language]
    return "\n".join([*_head(words, language), *_body(found, words, language), "</html>", ""])


def _head(words: PageWords, language: str) -> Iterator[str]:
    yield "<!doctype html>"
    yield f'<html lang="{language}">'
    yield '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
    yield '<link rel="icon" href="data:,">'  # or the browser asks for one
    yield f"<title>{_text(words.title)} · {_text(title_of('project', language))}</title>"
    for each in texts().page:
        yield f'<link rel="alternate" hreflang="{each}" href="{each}.html">'
    yield f'<link rel="alternate" hreflang="x-default" href="{INDEX}">'
    yield f"<style>{_STYLE}</style></head>"


def _body(found: Situation, words: PageWords, language: str) -> Iterator[str]:
    yield f'<body><a class="skip" href="#content">{_text(words.skip)}</a>'
    yield f'<header><p class="soft">{_text(title_of("project", language))}</p><nav aria-label="{_text(words.languages)}"><ul>'
    for each, other in texts().page.items():
        current = ' aria-current="page"' if each == language else ""
        yield f'<li><a href="{each}.html" lang="{each}" hreflang="{each}"{current}>{_text(other.language)}</a></li>'
    yield "</ul></nav></header>"
    yield f'<main id="content"><h1>{_text(words.title)}</h1>'
    yield from _summary(found, words)
    if found.notices:
        yield f"<section><h2>{_text(words.problems)}</h2>"
        for notice in found.notices:
            yield from _notice(notice, words, language)
        yield "</section>"
    yield from _tables(found.tables, words, language)
    yield "</main></body>"


def _summary(found: Situation, words: PageWords) -> Iterator[str]:
    count = len(found.notices)
    text = words.many.format(count=count) if count > 1 else words.one if count else words.fine
    if count or found.is_checked:  # without a look, that no problem is known means nothing
        yield f"<p><strong>{_text(text)}</strong></p>"
    if found.checked_at:
        shown = _text(words.checked).replace("{time}", _time(found.checked_at, words.moment(found.checked_at)))
        yield f'<p class="soft">{shown}</p>'
    if not found.is_checked:
        yield f'<p class="hit">{_text(words.unchecked if found.checked_at else words.never_checked)}</p>'


def _notice(notice: Notice, words: PageWords, language: str) -> Iterator[str]:
    notice_words = texts().texts[notice.text][language]
    since = _text(words.since).replace("{date}", _time(notice.since, words.day(notice.since)))
    yield f'<article><h3>{_text(notice_words.title)}</h3><p class="soft">{since}</p><p>{_text(notice_words.what)}</p>'
    yield f"<dl><dt>{_text(words.rely)}</dt><dd>{_text(notice_words.meanwhile)}</dd><dt>{_text(words.tables)}</dt><dd>"
    if notice.tables:
        yield f"<ul>{''.join(f'<li>{_text(title_of(key, language))}</li>' for key in notice.tables)}</ul></dd>"
    else:
        yield f"{_text(words.all_tables)}</dd>"
    if notice.source:
        yield f"<dt>{_text(words.source)}</dt><dd>{_text(notice.source)}</dd>"
    yield "</dl></article>"


def _tables(tables: tuple[Published, ...], words: PageWords, language: str) -> Iterator[str]:
    yield f'<section><h2>{_text(words.state)}</h2><div class="wide" tabindex="0" role="region" aria-label="{_text(words.state)}">'
    yield f"<table><caption>{_text(words.state_caption)}</caption><thead><tr>"
    yield "".join(f'<th scope="col">{_text(name)}</th>' for name in (words.table, words.updated, words.problem))
    yield "</tr></thead><tbody>"
    for table in tables:
        at = table.updated_at
        updated = _time(at, words.day(at)) if at else _text(words.never)
        problem = f'<td class="hit">{_text(words.yes)}</td>' if table.has_problem else f"<td>{_text(words.no)}</td>"
        yield f'<tr><th scope="row">{_text(title_of(table.key, language))}</th><td>{updated}</td>{problem}</tr>'
    yield "</tbody></table></div></section>"


def _time(at: datetime, text: str) -> str:
    return f'<time datetime="{at:%Y-%m-%dT%H:%MZ}">{_text(text)}</time>'


def _text(text: str) -> str:
    """A text as HTML: names of sources come from declarations and may hold anything."""
    return escape(safe_text(text))
