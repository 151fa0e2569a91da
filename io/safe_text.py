"""Text that is safe to show: secrets redacted, length bounded, and nothing in it that could trick a terminal, a log or a reader.

Errors, log lines and command output pass through here. What a source sends may contain anything: escape sequences that move the
cursor, line breaks that fake a log line, characters that reverse the reading direction, ten million characters. Secrets are
recognized here and nowhere else: by their value (settings register theirs, AWS's are in the environment), by the form in which
clients write them (headers, query parameters, AWS keys, passwords in URLs), and by the name of the key they are stored under. It is
a module of our own because nothing in the Lambda package does this, and Airflow's masker needs Airflow. Not here: data that is
written or returned, which stays unchanged.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from urllib.parse import quote

LINE = 2000
"""Maximum length of one value or message, in characters."""
NAME = 80
"""Maximum length of a name (a field, a category) inside a message."""
REACH = 8
"""Of a text over the limit, only this many times the limit is processed: ten megabytes cost no more than that."""

# Control characters (C0, DEL, C1, which include ESC and the one-character CSI), zero-width and bidirectional characters, line
# separators, lone surrogates (which cannot be encoded), tag characters.
_LOW = "\x00-\x08\x0b-\x1f"
_UNSAFE = (
    "\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_LINE = re.compile(f"[\t\n{_LOW}{_UNSAFE}]")
_IN_LINES = re.compile(f"[{_LOW}{_UNSAFE}]")
_IN_JSON = re.compile(f"[{_UNSAFE}]")  # JSON escapes the low ones itself


def legible(text: object, limit: int = LINE, *, size: int | None = None) -> str:
    """The text as one line of at most `limit` characters, safe to show. `size`: its original length, if it was cut before."""
    full = str(text)
    line = escaped(" ".join(shortened(full, REACH * limit).split()))
    return shortened(line, limit, size=max(size or len(full), len(line)))


def legible_lines(text: object, limit: int = 10 * LINE, *, size: int | None = None) -> str:
    """Like `legible`, for a text that keeps its line breaks, such as a traceback."""
    full = str(text)
    lines = escaped(shortened(full, REACH * limit).expandtabs(4), lines=True)
    return shortened(lines, limit, size=max(size or len(full), len(lines)))


def few(names: Sequence[str], most: int = 10) -> str:
    """Names, of a source's fields for example, as one text for a message: `a, b and 3 more`."""
    shown = ", ".join(legible(name, NAME) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown or "none"


def is_pattern(name: str) -> bool:
    """Whether polars takes the name of a column for a pattern of names, wherever it is given: also in the methods of the column itself."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def escaped(text: str, *, lines: bool = False) -> str:
    r"""The text with `\x1b` or `\u202e` in place of unsafe characters; line breaks stay if `lines` is set."""
    return (_IN_LINES if lines else _IN_LINE).sub(_escape, text)


def escaped_json(document: str) -> str:
    """The same JSON document, with characters that JSON allows but a terminal interprets written as escapes."""
    return _IN_JSON.sub(lambda found: json.dumps(found[0])[1:-1], document)


def shortened(text: str, limit: int, *, size: int | None = None) -> str:
    """The text, or its beginning, its length and its end (where the advice is): at most `limit` characters."""
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
"""A shorter value does not count as a secret: redacting it would garble unrelated text."""
# Read each time: a task's role is assumed only for a while.
_IN_ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")

# Key names whose values are secrets: one of these words, or the whole name, as in `AWS_SECRET_ACCESS_KEY` and `SecretAccessKey`.
_SECRET_WORDS = frozenset(
    [
        "token",
        "secret",
        "password",
        "passwd",
        "authorization",
        "cookie",
        "apikey",
        "credential",
        "credentials",
        "signature",
    ]
)
_SECRET_KEYS = re.compile(
    r"(aws|x-?amz|temporary|temp)?(secret)?(access|private|fernet|secret|api)key(id)?|\w*(session|security|access|refresh)token"
)

_known: set[str] = set()

# `name: value`, `name=value`, `"name": "value"`, `<name>value<`, and `(b'name', b'value')` as httpcore has headers.
_IS = r"""\\?["']?\s*(?:[=:>]|,\s*(?=b?["']))\s*b?"""
_VALUE = r"""(?:\\?"[^"\r\n]*"?|'[^'\r\n]*'?|[^\s&,;"'<>{}()\[\]\\]+)"""
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:(?!-----END)[\s\S])*"), HIDDEN),
    # The rest of the line: a scheme, then any number of fields.
    (re.compile(rf"""(?i)((?:\b|_)(?:authorization|set-cookie|cookie){_IS}\\?["']?)[^\r\n"'\\<>]+"""), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"(?i)((?:(?<=[?&])sig|(?:\b|[_$-])(?:token|secret|api_?key|signature|fernet_?key|secret_?key|credential)|password|passwd"
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
    """Redact this value from now on, in everything this process shows or logs."""
    if secret and len(secret) >= SHORTEST:
        _known.update({secret, quote(secret, safe="")})


def known_secrets() -> list[str]:
    """The values to redact, longest first because one may contain another."""
    environment = (os.environ.get(name, "") for name in _IN_ENVIRONMENT)
    return sorted({*_known, *(value for value in environment if len(value) >= SHORTEST)}, key=len, reverse=True)


def is_secret_key(key: str) -> bool:
    """Whether a key of this name (in a log line, a mapping) holds a secret."""
    name = key[:LINE].lower()
    words = re.split(r"[^a-z]+", name)
    return not _SECRET_WORDS.isdisjoint(words) or bool(_SECRET_KEYS.fullmatch("".join(words)))


def redacted(text: str) -> str:
    """The text without secrets. Neither its length nor the time it takes is bounded: see `safe_text`."""
    for value in known_secrets():
        text = text.replace(value, HIDDEN)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def safe_text(text: object, limit: int = LINE) -> str:
    """Any text as one line without secrets, safe to show, of at most `limit` characters."""
    full = str(text)
    return legible(redacted(shortened(full, REACH * limit)), limit, size=len(full))


def safe_lines(text: object, limit: int = 10 * LINE) -> str:
    """Like `safe_text`, for a text that keeps its line breaks, such as a traceback."""
    full = str(text)
    return legible_lines(redacted(shortened(full, REACH * limit)), limit, size=len(full))
