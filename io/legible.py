"""Text of others made safe to show: shortened, and with nothing in it that a terminal, a log or an eye could mistake.

What a source says may end up in a message, a log line or a table on a screen, and may hold anything: escape sequences that
move the cursor, line ends that fake a line, marks that turn the direction of reading, ten million characters. Here: how it is
shown. Not here: what must not be shown at all (`redaction.py`). Data that is written or answered stays as it is.
"""

from __future__ import annotations

import json
import re

LINE = 2000
"""Characters of one value or message."""
NAME = 80
"""Characters of a name (a field, a category) within a message."""
REACH = 8
"""Of a text over the limit, so many times the limit is looked at, at either end: the cost of ten megabytes is that of these."""

# Control characters (C0, DEL, C1: among them ESC and the one-character CSI), what has no width or turns the direction of
# reading, separators of lines, halves of surrogate pairs (which no encoder takes), tags.
_LOW = "\x00-\x08\x0b-\x1f"
_UNSAFE = (
    "\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_LINE = re.compile(f"[\t\n{_LOW}{_UNSAFE}]")
_IN_LINES = re.compile(f"[{_LOW}{_UNSAFE}]")
_IN_JSON = re.compile(f"[{_UNSAFE}]")  # the low ones it escapes by itself


def legible(text: object, limit: int = LINE, *, size: int | None = None) -> str:
    """The text on one line of at most `limit` characters, safe to show. `size`: how long it was, if it was cut before."""
    told = str(text)
    line = escaped(" ".join(shortened(told, REACH * limit).split()))
    return shortened(line, limit, size=max(size or len(told), len(line)))


def legible_lines(text: object, limit: int = 10 * LINE, *, size: int | None = None) -> str:
    """The same of a text whose lines are meant, such as a traceback."""
    told = str(text)
    lines = escaped(shortened(told, REACH * limit).expandtabs(4), lines=True)
    return shortened(lines, limit, size=max(size or len(told), len(lines)))


def escaped(text: str, *, lines: bool = False) -> str:
    r"""The text with `\x1b` or `\u202e` in place of what would not show as itself; line ends stay where `lines` are meant."""
    return (_IN_LINES if lines else _IN_LINE).sub(_escape, text)


def escaped_json(document: str) -> str:
    """The JSON document, equal to whoever parses it, with escapes in its strings for what JSON allows and a terminal obeys."""
    return _IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], document)


def shortened(text: str, limit: int, *, size: int | None = None) -> str:
    """The text, or its beginning and its end (which says what to do) with how long it was: at most `limit` characters."""
    if len(text) <= limit:
        return text
    gap = f" … [{size or len(text):,} characters] … "
    room = limit - len(gap)
    if room < len(gap):
        return f"{text[: limit - 1]}…"
    return f"{text[: room - room // 3]}{gap}{text[len(text) - room // 3 :]}"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
