"""Text that may be shown: without secrets, shortened, and with nothing in it that a terminal, a log or an eye could mistake.

Errors, log lines and what a command prints pass through here. What a source says may hold anything: escape sequences that move
the cursor, line ends that fake a line, marks that turn the direction of reading, ten million characters. Secrets are recognized
by their value (settings register theirs, AWS's are in the environment) and by the form in which clients write them: headers,
query parameters, keys of AWS, passwords in addresses. A module of our own: a Lambda carries nothing that does this, and Airflow's
masker is in Airflow. Not here: data that is written or answered, which stays as it is.
"""

from __future__ import annotations

import json
import os
import re
from urllib.parse import quote

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


HIDDEN = "***"
SHORTEST = 8
"""A shorter value is no secret: to hide it would be to hide every text that it occurs in."""
# Read at the moment of speaking: a task's role is assumed for a while, and taken off again.
_OF_ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")

_known: set[str] = set()

# `name: value`, `name=value`, `"name": "value"`, `<name>value<`, and `(b'name', b'value')` as httpcore has headers.
_IS = r"""\\?["']?\s*(?:[=:>]|,\s*(?=b?["']))\s*b?"""
_VALUE = r"""(?:\\?"[^"\r\n]*"?|'[^'\r\n]*'?|[^\s&,;"'<>{}()\[\]\\]+)"""
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----END)[\s\S])*"), HIDDEN),
    # The rest of the line: a scheme, and any number of parts.
    (re.compile(rf"""(?i)((?:\b|_)(?:authorization|set-cookie|cookie){_IS}\\?["']?)[^\r\n"'\\<>]+"""), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:(?:\b|[_$-])(?:token|secret|api_?key|signature|fernet_?key|secret_?key|credential)|password|passwd"
            rf"|(?:session|security|access|refresh|app)_?token|(?:secret_?)?access_?key(?:_?id)?|client_?secret){_IS}){_VALUE}"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"""(://[^\s/:@?#"']*:)[^\s/@"']+@"""), rf"\1{HIDDEN}@"),
    (re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{12,}"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_\w{30,}|github_pat_\w{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"), HIDDEN),
)


def register_secret(secret: str | None) -> None:
    """Hide this value from now on, wherever this process speaks."""
    if secret and len(secret) >= SHORTEST:
        _known.update({secret, quote(secret, safe="")})


def known_secrets() -> list[str]:
    """The values to hide, longest first: one may be a part of another."""
    environment = (os.environ.get(name, "") for name in _OF_ENVIRONMENT)
    return sorted({*_known, *(value for value in environment if len(value) >= SHORTEST)}, key=len, reverse=True)


def redacted(text: str) -> str:
    """The text without secrets; its length is not bounded, and neither is the time for it."""
    for value in known_secrets():
        text = text.replace(value, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def safe_text(text: object, limit: int = LINE) -> str:
    """What may be said of a text: one line without secrets, safe to show, of at most `limit` characters."""
    said = str(text)
    return legible(redacted(shortened(said, REACH * limit)), limit, size=len(said))


def safe_lines(text: object, limit: int = 10 * LINE) -> str:
    """The same of a text whose lines are meant, such as a traceback."""
    said = str(text)
    return legible_lines(redacted(shortened(said, REACH * limit)), limit, size=len(said))
