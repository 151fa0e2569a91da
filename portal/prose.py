"""Descriptions of contracts as HTML: paragraphs, and names between backticks as code. Everything is escaped.

Here: that little markup. Not here: which language a description is in (`translations.py`).
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from catalunya.io.safe_text import legible

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-ZÀ-Ý])")


def prose(text: str) -> Markup:
    """A text with empty lines between its paragraphs."""
    paragraphs = (paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip())
    return Markup("\n").join(Markup("<p>{}</p>").format(inline_prose(paragraph)) for paragraph in paragraphs)


def inline_prose(text: str) -> Markup:
    """A text in one line."""
    pieces = legible(text).split("`")
    if len(pieces) % 2 == 0:  # a backtick without its pair is no markup
        pieces = [legible(text)]
    written = (Markup("<code>{}</code>").format(p) if at % 2 else escape(p) for at, p in enumerate(pieces))
    return Markup("").join(written)


def first_sentence(text: str) -> str:
    """The first sentence of a text."""
    return _SENTENCE.split(text.split("\n\n", maxsplit=1)[0].strip(), maxsplit=1)[0]
