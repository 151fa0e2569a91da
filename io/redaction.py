"""What must never be shown: the values of secrets that this process knows, and whatever has the shape of one.

Errors, log lines and what a command prints of either pass through here. Secrets are told by their value (settings register
theirs, AWS's are in the environment) and by the form in which clients write them: headers, query parameters, keys of AWS,
passwords in addresses. A module of our own: a Lambda carries nothing that does this, and Airflow's masker is in Airflow.
Here: text. Not here: making what is left safe to show (`legible.py`), keys and nested values of log lines (`ops/logging.py`).
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from catalunya.io.legible import LINE, REACH, legible, legible_lines, shortened

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


def know(secret: str | None) -> None:
    """Hide this value from now on, wherever this process speaks."""
    if secret and len(secret) >= SHORTEST:
        _known.update({secret, quote(secret, safe="")})


def known() -> list[str]:
    """The values to hide, longest first: one may be a part of another."""
    environment = (os.environ.get(name, "") for name in _OF_ENVIRONMENT)
    return sorted({*_known, *(value for value in environment if len(value) >= SHORTEST)}, key=len, reverse=True)


def redacted(text: str) -> str:
    """The text without secrets; its length is not bounded, and neither is the time for it."""
    for value in known():
        text = text.replace(value, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def told(text: object, limit: int = LINE) -> str:
    """What may be said of a text: one line without secrets, safe to show, of at most `limit` characters."""
    said = str(text)
    return legible(redacted(shortened(said, REACH * limit)), limit, size=len(said))


def told_lines(text: object, limit: int = 10 * LINE) -> str:
    """The same of a text whose lines are meant, such as a traceback."""
    said = str(text)
    return legible_lines(redacted(shortened(said, REACH * limit)), limit, size=len(said))
